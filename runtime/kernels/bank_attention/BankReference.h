// Attention to a bank in float64.
#pragma once
#include <cmath>
#include <cstdint>
#include <vector>

namespace megacc::test {

struct BankShape {
  int64_t rows, bank, heads, dim;
  double scale;
};

/// Of [q, k, v], in float64.
inline std::vector<double> attendBank(const BankShape &s, const std::vector<double> &packed) {
  int64_t cols = s.heads * s.dim;
  const double *q = packed.data(), *k = q + s.rows * cols, *v = k + s.bank * cols;
  std::vector<double> y(s.rows * cols);
  for (int64_t t = 0; t < s.rows; ++t)
    for (int64_t h = 0; h < s.heads; ++h) {
      std::vector<double> p(s.bank);
      double sum = 0;
      for (int64_t j = 0; j < s.bank; ++j) {
        double score = 0;
        for (int64_t c = h * s.dim; c < (h + 1) * s.dim; ++c)
          score += q[t * cols + c] * k[j * cols + c];
        sum += p[j] = std::exp(s.scale * score);
      }
      for (int64_t j = 0; j < s.bank; ++j)
        for (int64_t c = h * s.dim; c < (h + 1) * s.dim; ++c)
          y[t * cols + c] += p[j] / sum * v[j * cols + c];
    }
  return y;
}

} // namespace megacc::test
