// RMSNorm with a weight, conventions section 5: y = x * rstd * weight, rstd = 1/sqrt(mean(x^2) + eps).
#include "runtime/core/Dot.h"
#include "runtime/core/Launch.h"
#include "runtime/core/Scratch.h"
#include "runtime/core/SumTiles.h"
#include "runtime/core/ThreadPool.h"

#include <atomic>
#include <cmath>

using namespace megacc::runtime;

static constexpr int64_t tile_rows = 64;

/// rstd of a row. Not inlined: forward and backward must get the same bits.
[[gnu::noinline]] static float computeRstd(const float *row, int64_t cols, double eps) {
  return float(1.0 / std::sqrt(double(dot(row, row, cols)) / cols + eps));
}

extern "C" {

int32_t mg_rms_norm(const MgLaunch *launch) {
  MG_ENTER(mg_rms_norm);
  int64_t rows = launch->ints[number::rows], cols = launch->ints[number::cols];
  double eps = launch->doubles[real::eps];
  float *y = output(launch, at::y), *rstd = output(launch, at::rstd), *sum = output(launch, at::sum);
  const float *x = input(launch, at::x), *addend = input(launch, at::addend), *weight = input(launch, at::weight);
  std::atomic<bool> nonfinite = false;
  parallelRanges(rows, tile_rows, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      const float *row = x + t * cols;
      if (addend) {
        float *to = (sum ? sum : y) + t * cols;
        for (int64_t i = 0; i < cols; ++i)
          to[i] = row[i] + addend[t * cols + i];
        row = to;
      }
      float scale = computeRstd(row, cols, eps);
      // A square that is infinite makes rstd 0, one that is NaN makes it NaN.
      if (!(scale > 0))
        nonfinite.store(true, std::memory_order_relaxed);
      if (rstd)
        rstd[t] = scale;
      for (int64_t i = 0; i < cols; ++i)
        y[t * cols + i] = row[i] * scale * weight[i];
    }
  });
  raiseFlag(launch, output(launch, at::nonfinite), nonfinite);
  return 0;
}

// With g = d_y * weight: d_x = rstd * (g - x * rstd^2 * mean(g * x)) + addend, d_weight = sum over rows of d_y * x * rstd.
int32_t mg_rms_norm_grad(const MgLaunch *launch) {
  MG_ENTER(mg_rms_norm_grad);
  int64_t rows = launch->ints[number::rows], cols = launch->ints[number::cols], tiles = (rows + tile_rows - 1) / tile_rows;
  double eps = launch->doubles[real::eps];
  bool add = addsToOutput(launch, launch->ints[number::accumulate]);
  float *d_x = output(launch, at::d_x);
  const float *d_y = input(launch, at::d_y), *x = input(launch, at::x), *rstd = input(launch, at::rstd);
  const float *weight = input(launch, at::weight), *addend = input(launch, at::addend);
  Scratch scratch(launch, at::scratch);
  float *partial = scratch.take<float>(tiles * cols);
  if (int32_t status = scratch.check("mg_rms_norm_grad"))
    return status;
  parallelRanges(rows, tile_rows, [&](int64_t begin, int64_t end) {
    float *sum = partial + begin / tile_rows * cols;
    for (int64_t j = 0; j < cols; ++j)
      sum[j] = 0;
    for (int64_t t = begin; t < end; ++t) {
      const float *g = d_y + t * cols, *row = x + t * cols;
      float r = rstd ? rstd[t] : computeRstd(row, cols, eps);
      float product = sumOf(cols, [&](int64_t j) { return g[j] * weight[j] * row[j]; });
      float shift = product / float(cols) * r * r;
      // d_x may be an operand itself, element for element: no dependence between elements.
#pragma clang loop vectorize(assume_safety)
      for (int64_t j = 0; j < cols; ++j) {
        sum[j] += g[j] * row[j] * r;
        d_x[t * cols + j] = r * (g[j] * weight[j] - row[j] * shift) + (addend ? addend[t * cols + j] : 0.0f);
      }
    }
  });
  sumTiles(partial, tiles, cols, add, output(launch, at::d_weight));
  return 0;
}
}
