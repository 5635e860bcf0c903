// Muon, conventions 14.8: momentum, the orthogonalised direction of every piece by products of matrices, and the step.
#include "runtime/core/Scratch.h"
#include "runtime/kernels/optimizer/Optimizer.h"
#include "runtime/kernels/optimizer/Orthogonalise.h"

#include <bit>
#include <cmath>

using namespace megacc::runtime;

extern "C" {

int32_t mg_muon(const MgLaunch *launch) {
  MG_ENTER(mg_muon);
  const int64_t *ints = launch->ints;
  int64_t cols = ints[number::cols], pieces = ints[number::pieces], rows = ints[number::piece_rows], side = std::min(rows, cols);
  bool nesterov = ints[number::nesterov], is_rounded = launch->types[at::m] == MG_BF16;
  const auto *table = static_cast<const int64_t *>(launch->operands[at::table]);
  Scratch scratch(launch, at::scratch);
  float *x = scratch.take<float>(rows * cols), *other = scratch.take<float>(rows * cols);
  float *product = scratch.take<float>(side * side), *squares = scratch.take<float>(side * side);
  Iteration work = {x, other, product, squares, rows, cols};
  double *sums = scratch.take<double>(rows);
  if (int32_t status = scratch.check("mg_muon"))
    return status;
  float norm = *input(launch, at::norm);
  if (!std::isfinite(norm))
    return 0;

  float *weight = output(launch, at::weight), *momentum = output(launch, at::m);
  auto *half_momentum = static_cast<uint16_t *>(launch->operands[at::m]);
  const float *gradient = input(launch, at::gradient);
  float scale = clipFactor(launch->doubles[real::clip], norm), lr = input(launch, at::scalars)[0];
  float mu = float(launch->doubles[real::momentum]), rest = float(1.0 - launch->doubles[real::momentum]);
  float keep = float(1.0 - double(lr) * launch->doubles[real::decay]);
  const Ranks ranks = ranksOf(launch);
  const RoundingStream stream = is_rounded ? roundingStream(table, table, *integers(launch, at::step)) : RoundingStream();

  float step = float(double(lr) * launch->doubles[real::rms] * std::sqrt(double(std::max(rows, cols))));
  for (int64_t index = 0; index < ints[number::experts] * pieces; ++index) {
    const Piece piece = {index / pieces * ints[number::rows] * cols, ints[number::first] + index % pieces * ints[number::spacing],
                         ints[number::run], ints[number::stride], cols};
    parallelRanges(rows, tile_rows, [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) {
        double sum = 0;
        for (int64_t column = 0, from = piece.at(row); column < cols; ++column) {
          int64_t i = from + column;
          float g = gradient[i] * scale, m = mu * (is_rounded ? fromBfloat16(half_momentum[i]) : momentum[i]) + rest * g;
          float u = nesterov ? mu * m + rest * g : m;
          if (is_rounded)
            half_momentum[i] = roundBits(std::bit_cast<uint32_t>(m), uint32_t(stream.draw(i, ranks)));
          else
            momentum[i] = m;
          work.x[row * cols + column] = u;
          sum += double(u) * u;
        }
        sums[row] = sum;
      }
    });
    work.scale(float(1 / (std::sqrt(sumOf(sums, rows)) + 1e-7)));
    for (int64_t i = 0; i < ints[number::iterations]; ++i)
      work.apply(lift);
    parallelRanges(rows, tile_rows, [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row)
        for (int64_t column = 0, to = piece.at(row); column < cols; ++column)
          weight[to + column] = weight[to + column] * keep - step * work.x[row * cols + column];
    });
  }
  return productStatus("mg_muon");
}
}
