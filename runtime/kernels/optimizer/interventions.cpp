// What happens to matrices at some steps only, conventions section 20: FIRE, DASH, ReDo and the activity that ReDo judges by.
#include "megacc/Random.h"
#include "runtime/core/Scratch.h"
#include "runtime/kernels/optimizer/Optimizer.h"
#include "runtime/kernels/optimizer/Orthogonalise.h"

#include <algorithm>
#include <cmath>

using namespace megacc::runtime;

namespace {

/// Follows the lift: converges to 1 with third order.
constexpr Polynomial polish = {15 / 8.0f, -10 / 8.0f, 3 / 8.0f};
constexpr int64_t polishes = 4;

/// Moments may be absent, and are fp32 or bf16; both types have zeros of zero bits.
void clearMoments(const MgLaunch *launch, int operand, int64_t from, int64_t count) {
  if (!launch->operands[operand])
    return;
  int64_t width = launch->types[operand] == MG_BF16 ? 2 : 4;
  std::fill_n(static_cast<char *>(launch->operands[operand]) + from * width, count * width, char(0));
}

/// Joins numbers with those of a report, the last one by its largest where `by_largest`.
template <size_t count> void addReport(float *report, bool adds, const double (&numbers)[count], bool by_largest) {
  for (size_t i = 0; i < count; ++i) {
    double before = adds ? report[i] : 0.0;
    report[i] = float(by_largest && i + 1 == count ? std::max(before, numbers[i]) : before + numbers[i]);
  }
}

float loadMoment(const void *moments, bool is_bf16, int64_t i) {
  return is_bf16 ? fromBfloat16(static_cast<const uint16_t *>(moments)[i]) : static_cast<const float *>(moments)[i];
}

} // namespace

extern "C" {

int32_t mg_fire(const MgLaunch *launch) {
  MG_ENTER(mg_fire);
  const int64_t *ints = launch->ints;
  int64_t cols = ints[number::cols], pieces = ints[number::pieces], rows = ints[number::piece_rows], side = std::min(rows, cols);
  Scratch scratch(launch, at::scratch);
  Iteration work = {scratch.take<float>(rows * cols),
                    scratch.take<float>(rows * cols),
                    scratch.take<float>(side * side),
                    scratch.take<float>(side * side),
                    rows,
                    cols};
  double *sums = scratch.take<double>(rows);
  if (int32_t status = scratch.check("mg_fire"))
    return status;
  float *weight = output(launch, at::weight);
  double numbers[4] = {};
  for (int64_t index = 0; index < ints[number::experts] * pieces; ++index) {
    const Piece piece = {index / pieces * ints[number::rows] * cols, ints[number::first] + index % pieces * ints[number::spacing],
                         ints[number::run], ints[number::stride], cols};
    parallelRanges(rows, tile_rows, [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) {
        double sum = 0;
        for (int64_t column = 0, from = piece.at(row); column < cols; ++column) {
          float w = weight[from + column];
          work.x[row * cols + column] = w, sum += double(w) * w;
        }
        sums[row] = sum;
        clearMoments(launch, at::m, piece.at(row), cols), clearMoments(launch, at::v, piece.at(row), cols);
      }
    });
    double square = sumOf(sums, rows), norm = std::sqrt(square);
    numbers[0] += 1, numbers[2] += square;
    if (square == 0)
      continue;
    work.scale(float(1 / norm));
    for (int64_t i = 0; i < ints[number::iterations] + polishes; ++i)
      work.apply(i < ints[number::iterations] ? lift : polish);
    work.square();
    double residual = 0;
    for (int64_t i = 0; i < side * side; ++i)
      residual = std::max(residual, std::abs(double(work.product[i]) - (i / side == i % side)));
    numbers[3] = std::max(numbers[3], residual);
    float scale = float(ints[number::shape] ? std::sqrt(double(rows) / double(cols)) : norm / std::sqrt(double(side)));
    parallelRanges(rows, tile_rows, [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) {
        double sum = 0;
        for (int64_t column = 0, to = piece.at(row); column < cols; ++column) {
          float now = scale * work.x[row * cols + column], change = now - weight[to + column];
          weight[to + column] = now, sum += double(change) * change;
        }
        sums[row] = sum;
      }
    });
    numbers[1] += sumOf(sums, rows);
  }
  addReport(output(launch, at::report), addsToOutput(launch, ints[number::accumulate]), numbers, /*by_largest=*/true);
  return productStatus("mg_fire");
}

int32_t mg_dash(const MgLaunch *launch) {
  MG_ENTER(mg_dash);
  const int64_t *ints = launch->ints;
  int64_t cols = ints[number::cols], pieces = ints[number::pieces], rows = ints[number::piece_rows];
  int64_t all = ints[number::experts] * pieces * rows;
  double floor = launch->doubles[real::floor], rate = launch->doubles[real::rate], margin = launch->doubles[real::margin];
  Scratch scratch(launch, at::scratch);
  double *factors = scratch.take<double>(all);
  if (int32_t status = scratch.check("mg_dash"))
    return status;
  float *weight = output(launch, at::weight);
  const float *gradient = input(launch, at::gradient);
  const void *moments = launch->operands[at::m];
  bool is_bf16 = launch->types[at::m] == MG_BF16;
  parallelRanges(all, tile_rows, [&](int64_t begin, int64_t end) {
    for (int64_t index = begin; index < end; ++index) {
      int64_t of = index / rows;
      const Piece piece = {of / pieces * ints[number::rows] * cols, ints[number::first] + of % pieces * ints[number::spacing],
                           ints[number::run], ints[number::stride], cols};
      int64_t from = piece.at(index % rows);
      double wd = 0, ww = 0, dd = 0;
      for (int64_t i = from; i < from + cols; ++i) {
        double w = weight[i], d = -(gradient ? gradient[i] : loadMoment(moments, is_bf16, i));
        wd += w * d, ww += w * w, dd += d * d;
      }
      double factor = 1;
      if (ww > 0 && dd > 0) {
        double cosine = wd / (std::sqrt(ww) * std::sqrt(dd));
        factor = ints[number::gentle] ? 1 - rate * std::max(-cosine - margin, 0.0) : std::min(std::max(cosine, floor), 1.0);
      }
      if (factor != 1)
        for (int64_t i = from; i < from + cols; ++i)
          weight[i] *= float(factor);
      factors[index] = factor;
      if (ints[number::resets])
        clearMoments(launch, at::m, from, cols), clearMoments(launch, at::v, from, cols);
    }
  });
  double shrunk = double(std::count_if(factors, factors + all, [](double factor) { return factor < 1; }));
  addReport(output(launch, at::report), addsToOutput(launch, ints[number::accumulate]), {double(all), shrunk, sumOf(factors, all)}, false);
  return 0;
}

int32_t mg_redo(const MgLaunch *launch) {
  MG_ENTER(mg_redo);
  const int64_t *ints = launch->ints;
  int64_t experts = ints[number::experts], width = ints[number::width], cols = ints[number::cols], halves = ints[number::halves];
  const float *activity = input(launch, at::activity), *picks = input(launch, at::picks);
  float *up = output(launch, at::up), *down = output(launch, at::down), *report = output(launch, at::report);
  const auto *table = static_cast<const int64_t *>(launch->operands[at::table]);
  const RoundingStream stream = roundingStream(table, table, *integers(launch, at::step));
  const Ranks ranks = ranksOf(launch);
  double tau = launch->doubles[real::tau], deviation = launch->doubles[real::deviation];
  parallelFor(experts, [&](int64_t expert) {
    const float *fired = activity + expert * width;
    double mean = 0;
    for (int64_t unit = 0; unit < width; ++unit)
      mean += fired[unit];
    mean /= double(width);
    bool is_judged = (picks ? double(picks[expert]) : double(ints[number::seen])) >= double(ints[number::least]) && mean > 0;
    int64_t dormant = 0;
    for (int64_t unit = 0; is_judged && unit < width; ++unit) {
      if (!(fired[unit] <= tau * mean))
        continue;
      ++dormant;
      for (int64_t half = 0; half < halves; ++half) {
        int64_t from = ((expert * halves + half) * width + unit) * cols;
        for (int64_t i = from; i < from + cols; ++i) {
          uint64_t n = uint64_t(stream.part ? indexInWhole(stream.part, i, ranks) : i);
          up[i] = float(megacc::normal(stream.key, n, deviation));
        }
        clearMoments(launch, at::up_m, from, cols), clearMoments(launch, at::up_v, from, cols);
      }
      for (int64_t row = 0; row < cols; ++row) {
        int64_t i = (expert * cols + row) * width + unit;
        down[i] = 0;
        clearMoments(launch, at::down_m, i, 1), clearMoments(launch, at::down_v, i, 1);
      }
    }
    report[expert] = is_judged ? float(dormant) : -1.0f;
  });
  return 0;
}

int32_t mg_abs_column_sum(const MgLaunch *launch) {
  MG_ENTER(mg_abs_column_sum);
  constexpr int64_t columns = 64; // of a tile
  const int64_t *ints = launch->ints;
  int64_t cols = ints[number::cols], strips = (cols + columns - 1) / columns;
  const float *x = input(launch, at::x);
  const int32_t *offsets = integers(launch, at::offsets);
  float *sum = output(launch, at::sum);
  bool adds = addsToOutput(launch, ints[number::accumulate]);
  parallelFor(ints[number::experts] * strips, [&](int64_t index) {
    int64_t expert = index / strips, begin = index % strips * columns, count = std::min(columns, cols - begin);
    int64_t first = offsets ? offsets[expert] : 0, last = offsets ? offsets[expert + 1] : ints[number::rows];
    double sums[columns] = {};
    for (int64_t row = first; row < last; ++row)
      for (int64_t column = 0; column < count; ++column)
        sums[column] += std::abs(x[row * cols + begin + column]);
    for (int64_t column = 0; column < count; ++column) {
      float &to = sum[expert * cols + begin + column];
      to = (adds ? to : 0.0f) + float(sums[column]);
    }
  });
  return 0;
}
}
