// Muon in float64, conventions 14.8, for the tests of both targets.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

namespace megacc::muon {

using Matrix = std::vector<double>; // row-major

/// Pieces of a matrix of experts, as mg_muon takes them.
struct Shape {
  int64_t experts, rows, cols, first, run, stride, piece_rows, pieces, spacing;
  int64_t at(int64_t expert, int64_t piece, int64_t row, int64_t column) const {
    return (expert * rows + first + piece * spacing + row / run * stride + row % run) * cols + column;
  }
};

struct Rule {
  double lr = 0.02, momentum = 0.9, rms = 0.2, decay = 0.1, clip = 1.0;
  int64_t iterations = 5, nesterov = 1;
};

/// What the iteration makes of u[m,n].
inline Matrix orthogonalise(Matrix x, int64_t m, int64_t n, int64_t iterations) {
  double sum = 0;
  for (double value : x)
    sum += value * value;
  for (double &value : x)
    value /= std::sqrt(sum) + 1e-7;
  bool tall = m > n;
  int64_t side = std::min(m, n), length = std::max(m, n);
  auto of = [&](int64_t i, int64_t j) -> double & { return x[tall ? j * n + i : i * n + j]; }; // i along the shorter side
  for (int64_t turn = 0; turn < iterations; ++turn) {
    Matrix product(side * side), polynomial(side * side), next(x.size());
    for (int64_t i = 0; i < side; ++i)
      for (int64_t j = 0; j < side; ++j)
        for (int64_t k = 0; k < length; ++k)
          product[i * side + j] += of(i, k) * of(j, k);
    for (int64_t i = 0; i < side; ++i)
      for (int64_t j = 0; j < side; ++j) {
        double square = 0;
        for (int64_t k = 0; k < side; ++k)
          square += product[i * side + k] * product[k * side + j];
        polynomial[i * side + j] = 3.4445 * (i == j) - 4.7750 * product[i * side + j] + 2.0315 * square;
      }
    for (int64_t i = 0; i < side; ++i)
      for (int64_t j = 0; j < length; ++j) {
        double sum_of = 0;
        for (int64_t k = 0; k < side; ++k)
          sum_of += polynomial[i * side + k] * of(k, j);
        next[tall ? j * n + i : i * n + j] = sum_of;
      }
    x = next;
  }
  return x;
}

/// The update of weight and momentum.
inline void update(Matrix &weight, Matrix &momentum, const Matrix &gradient, double norm, const Shape &shape, const Rule &rule) {
  double scale = rule.clip > 0 ? std::min(1.0, rule.clip / (norm + 1e-6)) : 1.0, mu = rule.momentum;
  for (int64_t expert = 0; expert < shape.experts; ++expert)
    for (int64_t piece = 0; piece < shape.pieces; ++piece) {
      Matrix u(shape.piece_rows * shape.cols);
      for (int64_t row = 0; row < shape.piece_rows; ++row)
        for (int64_t column = 0; column < shape.cols; ++column) {
          int64_t i = shape.at(expert, piece, row, column);
          double g = gradient[i] * scale;
          momentum[i] = mu * momentum[i] + (1 - mu) * g;
          u[row * shape.cols + column] = rule.nesterov ? mu * momentum[i] + (1 - mu) * g : momentum[i];
        }
      Matrix direction = orthogonalise(u, shape.piece_rows, shape.cols, rule.iterations);
      double step = rule.lr * rule.rms * std::sqrt(double(std::max(shape.piece_rows, shape.cols)));
      for (int64_t row = 0; row < shape.piece_rows; ++row)
        for (int64_t column = 0; column < shape.cols; ++column) {
          int64_t i = shape.at(expert, piece, row, column);
          weight[i] = weight[i] * (1 - rule.lr * rule.decay) - step * direction[row * shape.cols + column];
        }
    }
}

/// A single row, a single column, wide and tall ones, runs of rows, heads, experts.
inline const std::vector<Shape> shapes = {{1, 1, 9, 0, 1, 1, 1, 1, 0},      {1, 7, 1, 0, 7, 7, 7, 1, 0},   {1, 12, 20, 2, 5, 5, 5, 1, 0},
                                          {1, 40, 6, 0, 40, 40, 40, 1, 0},  {1, 24, 10, 3, 3, 8, 9, 1, 0}, {1, 24, 16, 4, 4, 4, 4, 5, 4},
                                          {1, 18, 11, 1, 5, 5, 5, 3, 6},    {3, 14, 8, 7, 7, 7, 7, 1, 0},  {2, 9, 9, 0, 9, 9, 9, 1, 0},
                                          {1, 70, 130, 0, 70, 70, 70, 1, 0}};

} // namespace megacc::muon
