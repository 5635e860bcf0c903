// Offsets for buffers with lifetimes, so that few bytes hold them all.
#pragma once
#include <cstdint>
#include <span>
#include <vector>

namespace megacc {

/// A buffer that holds something from step `first` to step `last`, both included.
struct Buffer {
  int64_t bytes = 0;
  int64_t first = 0, last = 0;
};

struct Packing {
  std::vector<int64_t> offsets; // in the order of the buffers
  int64_t bytes = 0;            // end of the highest buffer
  int64_t lowerBound = 0;       // the most bytes alive at one step, every size rounded up to the alignment
};

/// Places buffers so that no two with a common step share a byte. Best fit in the order of size and in that of first use; where these take
/// more than `enough` bytes, in orders of how long buffers live and of how many live beside them, changed by what did not fit. The smallest
/// result is kept. Every offset is a multiple of `alignment`, and the answer depends on the arguments alone.
Packing packBuffers(std::span<const Buffer> buffers, int64_t alignment = 64, int64_t enough = 0);

} // namespace megacc
