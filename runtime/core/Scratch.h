// Handing out a kernel's scratch. Its size is the record's (lib/Kernels); a kernel takes what it needs and checks once that it was there.
#pragma once
#include "runtime/core/Launch.h"

#include <cstddef>

namespace megacc::runtime {

class Scratch {
public:
  Scratch(const MgLaunch *launch, int operand)
      : begin(static_cast<std::byte *>(launch->operands[operand])), bytes(launch->bytes[operand]) {}

  /// The next `count` elements, at a multiple of 64 bytes. Not to be used before check() has returned 0.
  template <typename T> T *take(int64_t count) {
    T *taken = reinterpret_cast<T *>(begin + used);
    used += (count * int64_t(sizeof(T)) + 63) / 64 * 64;
    return taken;
  }

  /// 0 if exactly what was taken is there, else an error with both numbers.
  int32_t check(const char *kernel) const {
    if (used == bytes)
      return 0;
    return mg_fail("%s: its scratch has %lld bytes, it needs %lld; fix: compile the declaration again", kernel, (long long)bytes,
                   (long long)used);
  }

private:
  std::byte *begin;
  int64_t bytes, used = 0;
};

} // namespace megacc::runtime
