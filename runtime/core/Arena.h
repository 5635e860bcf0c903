// The memory of a step: every planned segment, to the byte, each ending at a page that cannot be touched.
#pragma once
#include "megacc/StepABI.h"

#include <cstddef>

namespace megacc::runtime {

class Arena {
public:
  /// Reserves the segments; sizes are multiples of 256 bytes, so every segment starts at one. Throws std::runtime_error with the size
  /// where the system has not that much.
  explicit Arena(const int64_t (&sizes)[MG_SEGMENT_COUNT]);
  ~Arena();
  Arena(const Arena &) = delete;
  Arena &operator=(const Arena &) = delete;

  std::byte *segment(int index) const { return segments[index]; }
  /// Bytes that can be touched: the sum of the sizes.
  int64_t reserved() const { return total; }
  /// Fills every byte with 0xFF, a NaN in every float: what is read before it is written shows.
  void poison();

private:
  std::byte *base = nullptr, *segments[MG_SEGMENT_COUNT] = {};
  int64_t sizes[MG_SEGMENT_COUNT] = {}, total = 0;
  size_t mapped = 0;
};

} // namespace megacc::runtime
