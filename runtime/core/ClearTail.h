// Rows of experts that no token fills.
#pragma once
#include "runtime/core/ThreadPool.h"

#include <cstdint>
#include <cstring>

namespace megacc::runtime {

/// Zeros from row `used` to row `capacity`.
inline void clearTail(float *rows, int64_t used, int64_t capacity, int64_t cols) {
  parallelRanges(capacity - used, 64,
                 [&](int64_t begin, int64_t end) { std::memset(rows + (used + begin) * cols, 0, (end - begin) * cols * sizeof(float)); });
}

} // namespace megacc::runtime
