// LayerNorm with weight and bias, conventions section 5: y = z * weight + bias, z = (x - mean) * rstd, rstd = 1/sqrt(variance + eps).
#include "runtime/core/Dot.h"
#include "runtime/core/Launch.h"
#include "runtime/core/Scratch.h"
#include "runtime/core/SumTiles.h"
#include "runtime/core/ThreadPool.h"

#include <cmath>

using namespace megacc::runtime;

static constexpr int64_t tile_rows = 64;

/// Mean and rstd of a row. Not inlined: forward and backward must get the same bits.
struct Statistics {
  float mean, rstd;

  [[gnu::noinline]] Statistics(const float *row, int64_t cols, double eps)
      : mean(sumOf(cols, [&](int64_t j) { return row[j]; }) / float(cols)) {
    float variance = sumOf(cols, [&](int64_t j) { return (row[j] - mean) * (row[j] - mean); }) / float(cols);
    rstd = float(1.0 / std::sqrt(double(variance) + eps));
  }
};

extern "C" {

int32_t mg_layer_norm(const MgLaunch *launch) {
  MG_ENTER(mg_layer_norm);
  int64_t rows = launch->ints[number::rows], cols = launch->ints[number::cols];
  double eps = launch->doubles[real::eps];
  float *y = output(launch, at::y);
  const float *x = input(launch, at::x), *weight = input(launch, at::weight), *bias = input(launch, at::bias);
  parallelRanges(rows, tile_rows, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      const float *row = x + t * cols;
      Statistics of(row, cols, eps);
      for (int64_t j = 0; j < cols; ++j)
        y[t * cols + j] = (row[j] - of.mean) * of.rstd * weight[j] + bias[j];
    }
  });
  return 0;
}

// With g = d_y * weight: d_x = rstd * (g - mean(g) - z * mean(g * z)), d_weight = sum over rows of d_y * z, d_bias = sum over rows of d_y.
int32_t mg_layer_norm_grad(const MgLaunch *launch) {
  MG_ENTER(mg_layer_norm_grad);
  int64_t rows = launch->ints[number::rows], cols = launch->ints[number::cols], tiles = (rows + tile_rows - 1) / tile_rows;
  double eps = launch->doubles[real::eps];
  float *d_x = output(launch, at::d_x);
  const float *d_y = input(launch, at::d_y), *x = input(launch, at::x), *weight = input(launch, at::weight);
  Scratch scratch(launch, at::scratch);
  float *weight_sums = scratch.take<float>(tiles * cols), *bias_sums = scratch.take<float>(tiles * cols);
  if (int32_t status = scratch.check("mg_layer_norm_grad"))
    return status;
  parallelRanges(rows, tile_rows, [&](int64_t begin, int64_t end) {
    float *weight_sum = weight_sums + begin / tile_rows * cols, *bias_sum = bias_sums + begin / tile_rows * cols;
    for (int64_t j = 0; j < cols; ++j)
      weight_sum[j] = bias_sum[j] = 0;
    for (int64_t t = begin; t < end; ++t) {
      const float *g = d_y + t * cols, *row = x + t * cols;
      Statistics of(row, cols, eps);
      float mean = sumOf(cols, [&](int64_t j) { return g[j] * weight[j]; }) / float(cols);
      float product = sumOf(cols, [&](int64_t j) { return g[j] * weight[j] * (row[j] - of.mean); }) / float(cols);
      float shift = product * of.rstd * of.rstd;
      for (int64_t j = 0; j < cols; ++j) {
        weight_sum[j] += g[j] * (row[j] - of.mean) * of.rstd;
        bias_sum[j] += g[j];
        d_x[t * cols + j] = of.rstd * (g[j] * weight[j] - mean - (row[j] - of.mean) * shift);
      }
    }
  });
  sumTiles(weight_sums, tiles, cols, /*add=*/false, output(launch, at::d_weight));
  sumTiles(bias_sums, tiles, cols, /*add=*/false, output(launch, at::d_bias));
  return 0;
}
}
