// A skip connection and a gate together, conventions 9.3: y = (x + skip v) silu(gate).
#include "runtime/core/FastMath.h"
#include "runtime/core/Launch.h"
#include "runtime/core/Scratch.h"
#include "runtime/core/SumTiles.h"
#include "runtime/core/ThreadPool.h"

#include <algorithm>

using namespace megacc::runtime;

static constexpr int64_t tile_rows = 64;

extern "C" {

int32_t mg_skip_gate(const MgLaunch *launch) {
  MG_ENTER(mg_skip_gate);
  int64_t rows = launch->ints[number::rows], cols = launch->ints[number::cols];
  float *y = output(launch, at::y);
  const float *x = input(launch, at::x), *v = input(launch, at::v), *gate = input(launch, at::gate), *skip = input(launch, at::skip);
  parallelRanges(rows, tile_rows, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t)
      for (int64_t j = 0; j < cols; ++j)
        y[t * cols + j] = (x[t * cols + j] + skip[j] * v[t * cols + j]) * silu(gate[t * cols + j]);
  });
  return 0;
}

int32_t mg_skip_gate_grad(const MgLaunch *launch) {
  MG_ENTER(mg_skip_gate_grad);
  int64_t rows = launch->ints[number::rows], cols = launch->ints[number::cols], tiles = (rows + tile_rows - 1) / tile_rows;
  bool add = addsToOutput(launch, launch->ints[number::accumulate]);
  float *d_x = output(launch, at::d_x), *d_v = output(launch, at::d_v), *d_gate = output(launch, at::d_gate);
  const float *d_y = input(launch, at::d_y), *x = input(launch, at::x), *v = input(launch, at::v), *gate = input(launch, at::gate);
  const float *skip = input(launch, at::skip);
  Scratch scratch(launch, at::scratch);
  float *partial = scratch.take<float>(tiles * cols);
  if (int32_t status = scratch.check("mg_skip_gate_grad"))
    return status;
  parallelRanges(rows, tile_rows, [&](int64_t begin, int64_t end) {
    float *sum = partial + begin / tile_rows * cols;
    std::fill(sum, sum + cols, 0.0f);
    for (int64_t t = begin; t < end; ++t)
      for (int64_t j = 0; j < cols; ++j) {
        int64_t at = t * cols + j;
        float g = gate[at], s = sigmoid(g), d_inner = d_y[at] * g * s;
        d_gate[at] = d_y[at] * (x[at] + skip[j] * v[at]) * (s + g * s * (1.0f - s));
        d_x[at] = d_inner;
        d_v[at] = d_inner * skip[j];
        sum[j] += d_inner * v[at];
      }
  });
  sumTiles(partial, tiles, cols, add, output(launch, at::d_skip));
  return 0;
}
}
