// Muon, conventions 14.8: momentum, the orthogonalised direction of every piece by products of matrices, and the step.
#include "runtime/core/Gemm.h"
#include "runtime/core/Scratch.h"
#include "runtime/core/ThreadPool.h"
#include "runtime/kernels/optimizer/Optimizer.h"

#include <bit>
#include <cmath>
#include <utility>

using namespace megacc::runtime;

namespace {

/// Rows of a piece.
struct Piece {
  int64_t first, run, stride;
  int64_t rowOf(int64_t i) const { return first + i / run * stride + i % run; }
};

constexpr int64_t tile_rows = 16, tile = 32768;
/// x <- a x + (b A + c A A) x with A = x x^T: coefficients of Jordan's iteration, which lifts singular values into [0.68, 1.21].
constexpr float a = 3.4445f, b = -4.7750f, c = 2.0315f;

/// The polynomial a I + b A + c A A, where `squares` has A A.
void makePolynomial(float *squares, const float *product, int64_t side) {
  parallelRanges(side * side, tile, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)
      squares[i] = b * product[i] + c * squares[i] + (i / side == i % side ? a : 0.0f);
  });
}

/// Iterates on x[rows, cols] with room for one like it and for two squares of its shorter side; returns where the result is.
float *orthogonalise(float *x, float *other, float *product, float *squares, int64_t rows, int64_t cols, int64_t iterations) {
  bool tall = rows > cols;
  int64_t side = std::min(rows, cols), length = std::max(rows, cols);
  for (int64_t i = 0; i < iterations; ++i, std::swap(x, other)) {
    parallelGemm(tall ? Transpose::left : Transpose::right, side, side, length, x, x, 0, product);
    parallelGemm(Transpose::none, side, side, side, product, product, 0, squares);
    makePolynomial(squares, product, side);
    parallelGemm(Transpose::none, rows, cols, side, tall ? x : squares, tall ? squares : x, 0, other);
  }
  return x;
}

} // namespace

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
    const Piece piece = {ints[number::first] + index % pieces * ints[number::spacing], ints[number::run], ints[number::stride]};
    int64_t base = index / pieces * ints[number::rows] * cols;
    parallelRanges(rows, tile_rows, [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row) {
        double sum = 0;
        for (int64_t column = 0, from = base + piece.rowOf(row) * cols; column < cols; ++column) {
          int64_t i = from + column;
          float g = gradient[i] * scale, m = mu * (is_rounded ? fromBfloat16(half_momentum[i]) : momentum[i]) + rest * g;
          float u = nesterov ? mu * m + rest * g : m;
          if (is_rounded)
            half_momentum[i] = roundBits(std::bit_cast<uint32_t>(m), uint32_t(stream.draw(i, ranks)));
          else
            momentum[i] = m;
          x[row * cols + column] = u;
          sum += double(u) * u;
        }
        sums[row] = sum;
      }
    });
    double sum = 0;
    for (int64_t row = 0; row < rows; ++row)
      sum += sums[row];
    float inverse = float(1 / (std::sqrt(sum) + 1e-7));
    parallelRanges(rows * cols, tile, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i)
        x[i] *= inverse;
    });
    const float *direction = orthogonalise(x, other, product, squares, rows, cols, ints[number::iterations]);
    parallelRanges(rows, tile_rows, [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row)
        for (int64_t column = 0, to = base + piece.rowOf(row) * cols; column < cols; ++column)
          weight[to + column] = weight[to + column] * keep - step * direction[row * cols + column];
    });
  }
  return productStatus("mg_muon");
}
}
