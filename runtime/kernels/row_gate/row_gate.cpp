// A row times the sigmoid of its own gate: y = x * sigmoid(gate[row]).
#include "runtime/core/Dot.h"
#include "runtime/core/FastMath.h"
#include "runtime/core/Launch.h"
#include "runtime/core/ThreadPool.h"

using namespace megacc::runtime;

static constexpr int64_t tile_rows = 64;

extern "C" {

int32_t mg_row_gate(const MgLaunch *launch) {
  MG_ENTER(mg_row_gate);
  int64_t rows = launch->ints[number::rows], cols = launch->ints[number::cols];
  const float *x = input(launch, at::x), *gate = input(launch, at::gate);
  parallelRanges(rows, tile_rows, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      float *y = output(launch, at::y) + t * cols, factor = sigmoid(gate[t]);
      for (int64_t j = 0; j < cols; ++j)
        y[j] = x[t * cols + j] * factor;
    }
  });
  return 0;
}

int32_t mg_row_gate_grad(const MgLaunch *launch) {
  MG_ENTER(mg_row_gate_grad);
  int64_t rows = launch->ints[number::rows], cols = launch->ints[number::cols];
  float *d_gate = output(launch, at::d_gate);
  const float *d_y = input(launch, at::d_y), *x = input(launch, at::x), *gate = input(launch, at::gate);
  parallelRanges(rows, tile_rows, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      const float *g = d_y + t * cols;
      float *d_x = output(launch, at::d_x) + t * cols, factor = sigmoid(gate[t]);
      d_gate[t] = dot(g, x + t * cols, cols) * factor * (1.0f - factor);
      for (int64_t j = 0; j < cols; ++j)
        d_x[j] = g[j] * factor;
    }
  });
  return 0;
}
}
