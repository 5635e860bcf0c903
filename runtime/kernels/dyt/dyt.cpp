// Dynamic tanh in place of a norm, conventions 5.7: y = weight * tanh(alpha x) + bias.
#include "runtime/core/Dot.h"
#include "runtime/core/FastMath.h"
#include "runtime/core/Launch.h"
#include "runtime/core/Scratch.h"
#include "runtime/core/SumTiles.h"
#include "runtime/core/ThreadPool.h"

#include <atomic>

using namespace megacc::runtime;

static constexpr int64_t tile_rows = 64;

extern "C" {

int32_t mg_dyt(const MgLaunch *launch) {
  MG_ENTER(mg_dyt);
  int64_t rows = launch->ints[number::rows], cols = launch->ints[number::cols];
  float *y = output(launch, at::y), alpha = *input(launch, at::alpha);
  const float *x = input(launch, at::x), *weight = input(launch, at::weight), *bias = input(launch, at::bias);
  std::atomic<bool> nonfinite = false;
  parallelRanges(rows, tile_rows, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      const float *row = x + t * cols;
      // The tanh of an infinite number is finite; zero times one that is not finite is NaN.
      if (!(sumOf(cols, [&](int64_t i) { return 0.0f * row[i]; }) == 0))
        nonfinite.store(true, std::memory_order_relaxed);
      for (int64_t i = 0; i < cols; ++i)
        y[t * cols + i] = weight[i] * fastTanh(alpha * row[i]) + bias[i];
    }
  });
  raiseFlag(launch, output(launch, at::nonfinite), nonfinite);
  return 0;
}

// With t = tanh(alpha x), s = (1 - t^2) * weight * d_y: d_x = alpha s; sums: d_weight of t d_y, d_bias of d_y, d_alpha of x s.
int32_t mg_dyt_grad(const MgLaunch *launch) {
  MG_ENTER(mg_dyt_grad);
  int64_t rows = launch->ints[number::rows], cols = launch->ints[number::cols], tiles = (rows + tile_rows - 1) / tile_rows;
  float *d_x = output(launch, at::d_x), alpha = *input(launch, at::alpha);
  const float *d_y = input(launch, at::d_y), *x = input(launch, at::x), *weight = input(launch, at::weight);
  Scratch scratch(launch, at::scratch);
  float *weight_sums = scratch.take<float>(tiles * cols), *bias_sums = scratch.take<float>(tiles * cols);
  double *alpha_sums = scratch.take<double>(tiles);
  if (int32_t status = scratch.check("mg_dyt_grad"))
    return status;
  parallelRanges(rows, tile_rows, [&](int64_t begin, int64_t end) {
    int64_t tile = begin / tile_rows;
    float *weight_sum = weight_sums + tile * cols, *bias_sum = bias_sums + tile * cols;
    double alpha_sum = 0;
    for (int64_t j = 0; j < cols; ++j)
      weight_sum[j] = bias_sum[j] = 0;
    for (int64_t t = begin; t < end; ++t) {
      const float *g = d_y + t * cols, *row = x + t * cols;
      float *to = d_x + t * cols; // may be either of them: each element is read before it is written
      alpha_sum += sumOf(cols, [&](int64_t j) {
        float gradient = g[j], value = row[j], squashed = fastTanh(alpha * value);
        float slope = (1.0f - squashed * squashed) * weight[j] * gradient;
        weight_sum[j] += squashed * gradient;
        bias_sum[j] += gradient;
        to[j] = alpha * slope;
        return value * slope;
      });
    }
    alpha_sums[tile] = alpha_sum;
  });
  sumTiles(weight_sums, tiles, cols, /*add=*/false, output(launch, at::d_weight));
  sumTiles(bias_sums, tiles, cols, /*add=*/false, output(launch, at::d_bias));
  double sum = 0;
  for (int64_t tile = 0; tile < tiles; ++tile)
    sum += alpha_sums[tile];
  *output(launch, at::d_alpha) = float(sum);
  return 0;
}
}
