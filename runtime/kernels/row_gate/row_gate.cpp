// A row times a number of its own: the sigmoid of a gate, or a scale.
#include "runtime/core/Dot.h"
#include "runtime/core/FastMath.h"
#include "runtime/core/Launch.h"
#include "runtime/core/ThreadPool.h"

using namespace megacc::runtime;

namespace {

constexpr int64_t tile_rows = 64;

/// y = x * factor(row)
template <typename Factor> void scaleRows(float *y, const float *x, int64_t rows, int64_t cols, Factor &&factor) {
  parallelRanges(rows, tile_rows, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      float value = factor(t);
      for (int64_t j = 0; j < cols; ++j)
        y[t * cols + j] = x[t * cols + j] * value;
    }
  });
}

/// d_x = d_y * factor(row); finish(row, factor, sum of d_y * x over the row) has the gradient of what the factor is made of.
template <typename Factor, typename Finish>
void scaleRowsGrad(float *d_x, const float *d_y, const float *x, int64_t rows, int64_t cols, Factor &&factor, Finish &&finish) {
  parallelRanges(rows, tile_rows, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      float value = factor(t);
      finish(t, value, dot(d_y + t * cols, x + t * cols, cols)); // before d_x takes the place of an operand
      for (int64_t j = 0; j < cols; ++j)
        d_x[t * cols + j] = d_y[t * cols + j] * value;
    }
  });
}

} // namespace

extern "C" {

int32_t mg_row_gate(const MgLaunch *launch) {
  MG_ENTER(mg_row_gate);
  const float *gate = input(launch, at::gate);
  scaleRows(output(launch, at::y), input(launch, at::x), launch->ints[number::rows], launch->ints[number::cols],
            [=](int64_t t) { return sigmoid(gate[t]); });
  return 0;
}

int32_t mg_row_gate_grad(const MgLaunch *launch) {
  MG_ENTER(mg_row_gate_grad);
  const float *gate = input(launch, at::gate);
  float *d_gate = output(launch, at::d_gate);
  scaleRowsGrad(
      output(launch, at::d_x), input(launch, at::d_y), input(launch, at::x), launch->ints[number::rows], launch->ints[number::cols],
      [=](int64_t t) { return sigmoid(gate[t]); },
      [=](int64_t t, float factor, float product) { d_gate[t] = product * factor * (1.0f - factor); });
  return 0;
}

int32_t mg_row_scale(const MgLaunch *launch) {
  MG_ENTER(mg_row_scale);
  const float *scale = input(launch, at::scale);
  scaleRows(output(launch, at::y), input(launch, at::x), launch->ints[number::rows], launch->ints[number::cols],
            [=](int64_t t) { return scale[t]; });
  return 0;
}

int32_t mg_row_scale_grad(const MgLaunch *launch) {
  MG_ENTER(mg_row_scale_grad);
  const float *scale = input(launch, at::scale);
  float *d_scale = output(launch, at::d_scale);
  scaleRowsGrad(
      output(launch, at::d_x), input(launch, at::d_y), input(launch, at::x), launch->ints[number::rows], launch->ints[number::cols],
      [=](int64_t t) { return scale[t]; }, [=](int64_t t, float, float product) { d_scale[t] = product; });
  return 0;
}
}
