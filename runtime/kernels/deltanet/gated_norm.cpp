// The norm of every head and its gate, conventions 19.5: y = x rstd weight silu(gate).
#include "runtime/core/Dot.h"
#include "runtime/core/FastMath.h"
#include "runtime/core/Launch.h"
#include "runtime/core/Scratch.h"
#include "runtime/core/SumTiles.h"
#include "runtime/core/ThreadPool.h"

#include <algorithm>
#include <cmath>

using namespace megacc::runtime;

static constexpr int64_t tile_rows = 64;

extern "C" {

int32_t mg_gated_norm(const MgLaunch *launch) {
  MG_ENTER(mg_gated_norm);
  int64_t rows = launch->ints[number::rows], cols = launch->ints[number::cols];
  float eps = float(launch->doubles[real::eps]);
  float *y = output(launch, at::y);
  const float *x = input(launch, at::x), *gate = input(launch, at::gate), *weight = input(launch, at::weight);
  parallelRanges(rows, tile_rows, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const float *from = x + row * cols;
      float rstd = 1.0f / std::sqrt(dot(from, from, cols) / float(cols) + eps);
      for (int64_t j = 0; j < cols; ++j)
        y[row * cols + j] = from[j] * rstd * weight[j] * silu(gate[row * cols + j]);
    }
  });
  return 0;
}

int32_t mg_gated_norm_grad(const MgLaunch *launch) {
  MG_ENTER(mg_gated_norm_grad);
  int64_t rows = launch->ints[number::rows], cols = launch->ints[number::cols], tiles = (rows + tile_rows - 1) / tile_rows;
  float eps = float(launch->doubles[real::eps]);
  bool add = addsToOutput(launch, launch->ints[number::accumulate]);
  float *d_x = output(launch, at::d_x), *d_gate = output(launch, at::d_gate);
  const float *d_y = input(launch, at::d_y), *x = input(launch, at::x), *gate = input(launch, at::gate),
              *weight = input(launch, at::weight);
  Scratch scratch(launch, at::scratch);
  float *partial = scratch.take<float>(tiles * cols);
  if (int32_t status = scratch.check("mg_gated_norm_grad"))
    return status;
  parallelRanges(rows, tile_rows, [&](int64_t begin, int64_t end) {
    float *sum = partial + begin / tile_rows * cols;
    std::fill(sum, sum + cols, 0.0f);
    for (int64_t row = begin; row < end; ++row) {
      int64_t first = row * cols;
      const float *from = x + first;
      float rstd = 1.0f / std::sqrt(dot(from, from, cols) / float(cols) + eps);
      // d_x holds g until its mean with the norm is known.
      for (int64_t j = 0; j < cols; ++j) {
        float n = from[j] * rstd, z = gate[first + j], e = d_y[first + j] * silu(z);
        sum[j] += e * n;
        d_gate[first + j] = d_y[first + j] * n * weight[j] * siluSlope(z);
        d_x[first + j] = e * weight[j];
      }
      float along = dot(d_x + first, from, cols) * rstd / float(cols);
      for (int64_t j = 0; j < cols; ++j)
        d_x[first + j] = rstd * (d_x[first + j] - from[j] * rstd * along);
    }
  });
  sumTiles(partial, tiles, cols, add, output(launch, at::d_weight));
  return 0;
}
}
