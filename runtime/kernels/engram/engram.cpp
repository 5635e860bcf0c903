// Sums over the last tokens, norms without a weight, and the gate between two rows (conventions 10.3).
#include "runtime/core/Documents.h"
#include "runtime/core/Dot.h"
#include "runtime/core/Launch.h"
#include "runtime/core/ThreadPool.h"

#include <cmath>

using namespace megacc::runtime;

namespace {

constexpr int64_t tile_rows = 64;
/// Below it the root of a gate is that of this number, and flat.
constexpr float least_gate = 1e-6f;

float computeRstd(const float *row, int64_t cols, double eps) { return float(1.0 / std::sqrt(double(dot(row, row, cols)) / cols + eps)); }

/// What both kernels of a gate know of a row.
struct Alignment {
  float rstd_a, rstd_b, gate; // before the root

  Alignment(const float *a, const float *b, int64_t cols, double eps)
      : rstd_a(computeRstd(a, cols, eps)), rstd_b(computeRstd(b, cols, eps)),
        gate(float(double(dot(a, b, cols)) * rstd_a * rstd_b / std::sqrt(double(cols)))) {}
};

} // namespace

extern "C" {

int32_t mg_window_sum(const MgLaunch *launch) {
  MG_ENTER(mg_window_sum);
  int64_t batch = launch->ints[number::batch], sequence = launch->ints[number::sequence], cols = launch->ints[number::cols];
  int64_t window = launch->ints[number::window], direction = launch->ints[number::ahead] ? 1 : -1;
  float scale = float(launch->doubles[real::scale]);
  const float *x = input(launch, at::x);
  const int32_t *documents = integers(launch, at::documents);
  parallelRanges(batch * sequence, tile_rows, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      int64_t t = row % sequence, count = countReach(documents ? documents + row - t : nullptr, sequence, t, direction, window);
      const float *from = x + row * cols;
      float *y = output(launch, at::y) + row * cols;
      for (int64_t i = 0; i < cols; ++i)
        y[i] = from[i];
      for (int64_t j = 1; j < count; ++j)
        for (int64_t i = 0; i < cols; ++i)
          y[i] += from[direction * j * cols + i];
      for (int64_t i = 0; i < cols; ++i)
        y[i] *= scale;
    }
  });
  return 0;
}

int32_t mg_unit_norm(const MgLaunch *launch) {
  MG_ENTER(mg_unit_norm);
  int64_t rows = launch->ints[number::rows], cols = launch->ints[number::cols];
  const float *all = input(launch, at::x);
  parallelRanges(rows, tile_rows, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      const float *x = all + t * cols;
      float *y = output(launch, at::y) + t * cols, rstd = computeRstd(x, cols, launch->doubles[real::eps]);
      for (int64_t i = 0; i < cols; ++i)
        y[i] = x[i] * rstd;
    }
  });
  return 0;
}

int32_t mg_unit_norm_grad(const MgLaunch *launch) {
  MG_ENTER(mg_unit_norm_grad);
  int64_t rows = launch->ints[number::rows], cols = launch->ints[number::cols];
  parallelRanges(rows, tile_rows, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      const float *x = input(launch, at::x) + t * cols, *d_y = input(launch, at::d_y) + t * cols;
      float *d_x = output(launch, at::d_x) + t * cols, rstd = computeRstd(x, cols, launch->doubles[real::eps]);
      float shift = dot(d_y, x, cols) / float(cols) * rstd * rstd;
      for (int64_t i = 0; i < cols; ++i)
        d_x[i] = rstd * (d_y[i] - x[i] * shift);
    }
  });
  return 0;
}

int32_t mg_alignment(const MgLaunch *launch) {
  MG_ENTER(mg_alignment);
  int64_t rows = launch->ints[number::rows], cols = launch->ints[number::cols];
  bool root = launch->ints[number::root];
  const float *a = input(launch, at::a), *b = input(launch, at::b);
  parallelRanges(rows, tile_rows, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      float gate = Alignment(a + t * cols, b + t * cols, cols, launch->doubles[real::eps]).gate;
      if (root && gate != 0)
        gate = std::copysign(std::sqrt(std::max(std::abs(gate), least_gate)), gate);
      output(launch, at::gate)[t] = gate;
    }
  });
  return 0;
}

int32_t mg_alignment_grad(const MgLaunch *launch) {
  MG_ENTER(mg_alignment_grad);
  int64_t rows = launch->ints[number::rows], cols = launch->ints[number::cols];
  bool root = launch->ints[number::root];
  parallelRanges(rows, tile_rows, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      const float *a = input(launch, at::a) + t * cols, *b = input(launch, at::b) + t * cols;
      float *d_a = output(launch, at::d_a) + t * cols, *d_b = output(launch, at::d_b) + t * cols;
      Alignment row(a, b, cols, launch->doubles[real::eps]);
      float e = input(launch, at::d_gate)[t];
      if (root)
        e = std::abs(row.gate) < least_gate ? 0 : e * 0.5f / std::sqrt(std::abs(row.gate));
      float cross = float(e * row.rstd_a * row.rstd_b / std::sqrt(double(cols)));
      float own_a = e * row.gate / float(cols) * row.rstd_a * row.rstd_a, own_b = e * row.gate / float(cols) * row.rstd_b * row.rstd_b;
      for (int64_t i = 0; i < cols; ++i) {
        float left = a[i], right = b[i];
        d_a[i] = cross * right - own_a * left;
        d_b[i] = cross * left - own_b * right;
      }
    }
  });
  return 0;
}
}
