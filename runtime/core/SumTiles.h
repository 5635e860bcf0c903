// The end of a reduction over rows: what every tile of rows left, added in the order of the tiles.
#pragma once
#include "runtime/core/ThreadPool.h"

#include <cstdint>

namespace megacc::runtime {

/// result[cols] = sum over tiles of partial[tiles, cols]; added to what is there with `add`.
inline void sumTiles(const float *partial, int64_t tiles, int64_t cols, bool add, float *result) {
  parallelRanges(cols, 64, [&](int64_t begin, int64_t end) {
    for (int64_t j = begin; j < end; ++j) {
      float sum = add ? result[j] : 0.0f;
      for (int64_t tile = 0; tile < tiles; ++tile)
        sum += partial[tile * cols + j];
      result[j] = sum;
    }
  });
}

} // namespace megacc::runtime
