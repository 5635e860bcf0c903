// Products of sizes that cannot wrap.
#ifndef MEGACC_DIALECTS_INTERFACES_SIZE_H
#define MEGACC_DIALECTS_INTERFACES_SIZE_H

#include "llvm/Support/MathExtras.h"

#include <cstdint>
#include <limits>

namespace megacc {

/// A size, not negative. Sums and products that 64 bits cannot hold stay at the largest number, so that one comparison at the end finds
/// them.
class Size {
public:
  static constexpr int64_t kLargest = std::numeric_limits<int64_t>::max();

  Size(int64_t value) : value(value) {}

  int64_t get() const { return value; }
  friend Size operator*(Size a, Size b) {
    int64_t result;
    return llvm::MulOverflow(a.value, b.value, result) ? kLargest : result;
  }
  friend Size operator+(Size a, Size b) {
    int64_t result;
    return llvm::AddOverflow(a.value, b.value, result) ? kLargest : result;
  }

private:
  int64_t value;
};

/// The most elements of one tensor: whatever is derived from two of them fits into 64 bits.
constexpr int64_t kMostElements = int64_t(1) << 40;
/// The most bytes of a buffer or a segment.
constexpr int64_t kMostBytes = int64_t(1) << 60;

} // namespace megacc

#endif
