// A skip connection and a gate together, conventions 9.3: y = (x + skip v) silu(gate).
#include "runtime/core/FastMath.h"
#include "runtime/core/Launch.h"
#include "runtime/core/SumTiles.h"
#include "runtime/core/ThreadPool.h"

#include <algorithm>

using namespace megacc::runtime;

static constexpr int64_t tile_rows = 64;

extern "C" {

int32_t mg_skip_gate(const MgLaunch *launch) {
  int64_t rows = launch->ints[0], cols = launch->ints[1];
  float *y = output(launch, 0);
  const float *x = input(launch, 1), *v = input(launch, 2), *gate = input(launch, 3), *skip = input(launch, 4);
  parallelRanges(rows, tile_rows, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t)
      for (int64_t j = 0; j < cols; ++j)
        y[t * cols + j] = (x[t * cols + j] + skip[j] * v[t * cols + j]) * silu(gate[t * cols + j]);
  });
  return 0;
}

int32_t mg_skip_gate_grad(const MgLaunch *launch) {
  int64_t rows = launch->ints[0], cols = launch->ints[1];
  bool add = addsToOutput(launch, launch->ints[2]);
  float *d_x = output(launch, 0), *d_v = output(launch, 1), *d_gate = output(launch, 2), *d_skip = output(launch, 3);
  const float *d_y = input(launch, 4), *x = input(launch, 5), *v = input(launch, 6), *gate = input(launch, 7), *skip = input(launch, 8);
  float *partial = output(launch, 9);
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
  sumTiles(partial, (rows + tile_rows - 1) / tile_rows, cols, add, d_skip);
  return 0;
}
}
