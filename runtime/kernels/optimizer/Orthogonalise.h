// Pieces of matrices and the iteration that orthogonalises them, of Muon and of FIRE, in fp32.
#pragma once
#include "runtime/core/Gemm.h"
#include "runtime/core/ThreadPool.h"

#include <algorithm>
#include <cstdint>
#include <utility>

namespace megacc::runtime {

/// Rows, or elements, of a tile that a thread takes.
constexpr int64_t tile_rows = 16, tile_elements = 32768;

/// Rows of a piece of an expert, whose matrix begins at element `base`, and where their elements are.
struct Piece {
  int64_t base, first, run, stride, cols;
  int64_t at(int64_t row) const { return base + (first + row / run * stride + row % run) * cols; }
};

/// x <- a x + (b A + c A A) x with A = x x^T.
struct Polynomial {
  float a, b, c;
};
/// Coefficients of Jordan's iteration, which lifts singular values into [0.68, 1.21].
constexpr Polynomial lift = {3.4445f, -4.7750f, 2.0315f};

/// A matrix that is iterated on, with room for the next and for two squares of its shorter side.
struct Iteration {
  float *x, *other, *product, *squares;
  int64_t rows, cols;
  bool isTall() const { return rows > cols; }
  int64_t side() const { return std::min(rows, cols); }

  /// product = x x^T, of the shorter side.
  void square() { parallelGemm(isTall() ? Transpose::left : Transpose::right, side(), side(), std::max(rows, cols), x, x, 0, product); }

  void apply(const Polynomial &p) {
    square();
    parallelGemm(Transpose::none, side(), side(), side(), product, product, 0, squares);
    parallelRanges(side() * side(), tile_elements, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i)
        squares[i] = p.b * product[i] + p.c * squares[i] + (i / side() == i % side() ? p.a : 0.0f);
    });
    parallelGemm(Transpose::none, rows, cols, side(), isTall() ? x : squares, isTall() ? squares : x, 0, other);
    std::swap(x, other);
  }

  void scale(float factor) {
    parallelRanges(rows * cols, tile_elements, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i)
        x[i] *= factor;
    });
  }
};

/// In their order.
inline double sumOf(const double *sums, int64_t count) {
  double sum = 0;
  for (int64_t i = 0; i < count; ++i)
    sum += sums[i];
  return sum;
}

} // namespace megacc::runtime
