// Reading and writing streams in float64, from the definition (conventions 10.5 and 10.6).
#pragma once
#include <cmath>
#include <cstdint>
#include <vector>

namespace megacc::test {

struct MhcSizes {
  int64_t rows, n, cols, iterations;
  int64_t countLogits() const { return n * (n + 2); }
  int64_t countMaps() const { return n * (n + 1); }
  int64_t width() const { return n * cols; }
};

/// The maps of every token: pre, post and res side by side.
inline std::vector<double> makeMaps(const double *x, const double *logits, const double *bias, const MhcSizes &s) {
  int64_t n = s.n, all = s.countLogits();
  std::vector<double> maps(s.rows * all);
  for (int64_t t = 0; t < s.rows; ++t) {
    double square = 0, *l = &maps[t * all], total = 0;
    for (int64_t i = 0; i < s.width(); ++i)
      square += x[t * s.width() + i] * x[t * s.width() + i];
    for (int64_t r = 0; r < all; ++r)
      l[r] = logits[t * all + r] / std::sqrt(square / double(s.width()) + 1e-5) + bias[r];
    for (int64_t i = 0; i < n; ++i)
      total += l[i] = std::exp(l[i]);
    for (int64_t i = 0; i < n; ++i)
      l[i] /= total, l[n + i] = 2 / (1 + std::exp(-l[n + i]));
    double *res = l + 2 * n;
    for (int64_t i = 0; i < n * n; ++i)
      res[i] = std::exp(res[i]);
    for (int64_t iteration = 0; iteration < s.iterations; ++iteration)
      for (bool isRow : {false, true})
        for (int64_t a = 0; a < n; ++a) {
          double sum = 0;
          for (int64_t b = 0; b < n; ++b)
            sum += res[isRow ? a * n + b : b * n + a];
          for (int64_t b = 0; b < n; ++b)
            res[isRow ? a * n + b : b * n + a] /= sum;
        }
  }
  return maps;
}

/// u and maps, one behind the other, of x, logits and bias likewise.
inline std::vector<double> readStreams(const std::vector<double> &v, const MhcSizes &s) {
  int64_t rows = s.rows, all = s.countLogits(), kept = s.countMaps(), width = s.width();
  std::vector<double> of = makeMaps(&v[0], &v[rows * width], &v[rows * (width + all)], s), result(rows * (s.cols + kept));
  for (int64_t t = 0; t < rows; ++t) {
    for (int64_t i = 0; i < width; ++i)
      result[t * s.cols + i % s.cols] += of[t * all + i / s.cols] * v[t * width + i];
    for (int64_t r = 0; r < kept; ++r)
      result[rows * s.cols + t * kept + r] = of[t * all + s.n + r];
  }
  return result;
}

/// y of x, v and maps, one behind the other.
inline std::vector<double> writeStreams(const std::vector<double> &all, const MhcSizes &s) {
  int64_t rows = s.rows, n = s.n, cols = s.cols, width = s.width();
  std::vector<double> result(rows * width);
  for (int64_t t = 0; t < rows; ++t)
    for (int64_t j = 0; j < n; ++j)
      for (int64_t c = 0; c < cols; ++c) {
        const double *post = &all[rows * (width + cols) + t * s.countMaps()];
        double sum = post[j] * all[rows * width + t * cols + c];
        for (int64_t i = 0; i < n; ++i)
          sum += post[n + j * n + i] * all[t * width + i * cols + c];
        result[t * width + j * cols + c] = sum;
      }
  return result;
}

} // namespace megacc::test
