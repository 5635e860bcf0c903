// RMSNorm with a weight, conventions section 5: y = x * rstd * weight, rstd = 1/sqrt(mean(x^2) + eps).
#include "runtime/core/Dot.h"
#include "runtime/core/Launch.h"
#include "runtime/core/SumTiles.h"
#include "runtime/core/ThreadPool.h"

#include <algorithm>
#include <cmath>

using namespace megacc::runtime;

static constexpr int64_t tile_rows = 64;

extern "C" {

int32_t mg_rms_norm(const MgLaunch *launch) {
  int64_t rows = launch->ints[0], cols = launch->ints[1];
  double eps = launch->doubles[0];
  float *y = output(launch, 0), *rstd = output(launch, 1);
  float *nonfinite = output(launch, 2);
  const float *x = input(launch, 3), *weight = input(launch, 4);
  parallelRanges(rows, tile_rows, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      const float *row = x + t * cols;
      float scale = float(1.0 / std::sqrt(double(dot(row, row, cols)) / cols + eps));
      rstd[t] = scale;
      for (int64_t i = 0; i < cols; ++i)
        y[t * cols + i] = row[i] * scale * weight[i];
    }
  });
  if (nonfinite) {
    bool before = addsToOutput(launch, launch->ints[2]) && *nonfinite != 0;
    // A square that is infinite makes rstd 0, one that is no number makes it NaN.
    *nonfinite = before || !std::all_of(rstd, rstd + rows, [](float scale) { return scale > 0; });
  }
  return 0;
}

// With g = d_y * weight: d_x = rstd * (g - x * rstd^2 * mean(g * x)), d_weight = sum over rows of d_y * x * rstd.
int32_t mg_rms_norm_grad(const MgLaunch *launch) {
  int64_t rows = launch->ints[0], cols = launch->ints[1];
  bool add = addsToOutput(launch, launch->ints[2]);
  float *d_x = output(launch, 0), *d_weight = output(launch, 1), *partial = output(launch, 6);
  const float *d_y = input(launch, 2), *x = input(launch, 3), *rstd = input(launch, 4), *weight = input(launch, 5);
  parallelRanges(rows, tile_rows, [&](int64_t begin, int64_t end) {
    float *sum = partial + begin / tile_rows * cols;
    for (int64_t j = 0; j < cols; ++j)
      sum[j] = 0;
    for (int64_t t = begin; t < end; ++t) {
      const float *g = d_y + t * cols, *row = x + t * cols;
      float product = sumOf(cols, [&](int64_t j) { return g[j] * weight[j] * row[j]; });
      float r = rstd[t], shift = product / float(cols) * r * r;
      for (int64_t j = 0; j < cols; ++j) {
        sum[j] += g[j] * row[j] * r;
        d_x[t * cols + j] = r * (g[j] * weight[j] - row[j] * shift);
      }
    }
  });
  sumTiles(partial, (rows + tile_rows - 1) / tile_rows, cols, add, d_weight);
  return 0;
}
}
