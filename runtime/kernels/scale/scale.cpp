// y = x * scale, by column or by one number.
#include "runtime/core/Dot.h"
#include "runtime/core/Launch.h"
#include "runtime/core/Scratch.h"
#include "runtime/core/SumTiles.h"
#include "runtime/core/ThreadPool.h"

#include <algorithm>

using namespace megacc::runtime;

static constexpr int64_t tile_rows = 64;

extern "C" {

int32_t mg_scale(const MgLaunch *launch) {
  MG_ENTER(mg_scale);
  int64_t rows = launch->ints[number::rows], cols = launch->ints[number::cols];
  bool by_column = launch->ints[number::scales] == cols;
  float *y = output(launch, at::y);
  const float *x = input(launch, at::x), *scale = input(launch, at::scale);
  parallelRanges(rows, tile_rows, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t)
      for (int64_t j = 0; j < cols; ++j)
        y[t * cols + j] = x[t * cols + j] * scale[by_column ? j : 0];
  });
  return 0;
}

// d_x = d_y * scale; d_scale = the sum of d_y x over what shares a scale.
int32_t mg_scale_grad(const MgLaunch *launch) {
  MG_ENTER(mg_scale_grad);
  int64_t rows = launch->ints[number::rows], cols = launch->ints[number::cols], scales = launch->ints[number::scales];
  int64_t tiles = (rows + tile_rows - 1) / tile_rows;
  bool by_column = scales == cols;
  float *d_x = output(launch, at::d_x);
  const float *d_y = input(launch, at::d_y), *x = input(launch, at::x), *scale = input(launch, at::scale);
  Scratch scratch(launch, at::scratch);
  float *partial = scratch.take<float>(tiles * scales);
  if (int32_t status = scratch.check("mg_scale_grad"))
    return status;
  parallelRanges(rows, tile_rows, [&](int64_t begin, int64_t end) {
    float *sum = partial + begin / tile_rows * scales;
    std::fill(sum, sum + scales, 0.0f);
    for (int64_t t = begin; t < end; ++t) {
      const float *g = d_y + t * cols, *row = x + t * cols;
      if (by_column)
        for (int64_t j = 0; j < cols; ++j)
          sum[j] += g[j] * row[j];
      else
        sum[0] += dot(g, row, cols);
      for (int64_t j = 0; j < cols; ++j)
        d_x[t * cols + j] = g[j] * scale[by_column ? j : 0];
    }
  });
  sumTiles(partial, tiles, scales, /*add=*/false, output(launch, at::d_scale));
  return 0;
}
}
