// Sums of windows, norms and gates in float64.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

namespace megacc::test {

/// scale * sum over j < window of x[t - j] (ahead: x[t + j]) of the same run of ids, in float64.
inline std::vector<double> windowSum(const std::vector<double> &x, const std::vector<int32_t> &documents, int64_t sequence, int64_t cols,
                                     int64_t window, bool ahead, double scale) {
  std::vector<double> y(x.size());
  for (int64_t row = 0; row < int64_t(x.size()) / cols; ++row)
    for (int64_t j = 0; j < window; ++j) {
      int64_t from = ahead ? row + j : row - j;
      if (from < 0 || from / sequence != row / sequence || from >= int64_t(x.size()) / cols)
        break;
      if (j && !documents.empty() && documents[from] != documents[ahead ? from - 1 : from + 1])
        break;
      for (int64_t i = 0; i < cols; ++i)
        y[row * cols + i] += scale * x[from * cols + i];
    }
  return y;
}

inline std::vector<double> unitNorm(const std::vector<double> &x, int64_t cols, double eps) {
  std::vector<double> y(x.size());
  for (size_t row = 0; row < x.size(); row += cols) {
    double squares = 0;
    for (int64_t i = 0; i < cols; ++i)
      squares += x[row + i] * x[row + i];
    for (int64_t i = 0; i < cols; ++i)
      y[row + i] = x[row + i] / std::sqrt(squares / cols + eps);
  }
  return y;
}

/// Of [a, b].
inline std::vector<double> alignment(const std::vector<double> &packed, int64_t cols, double eps, bool root) {
  auto middle = packed.begin() + int64_t(packed.size()) / 2;
  std::vector<double> a = unitNorm({packed.begin(), middle}, cols, eps), b = unitNorm({middle, packed.end()}, cols, eps),
                      gate(a.size() / cols);
  for (size_t row = 0; row < gate.size(); ++row) {
    for (int64_t i = 0; i < cols; ++i)
      gate[row] += a[row * cols + i] * b[row * cols + i] / std::sqrt(double(cols));
    double sign = gate[row] > 0 ? 1 : gate[row] < 0 ? -1 : 0;
    if (root)
      gate[row] = sign * std::sqrt(std::max(std::abs(gate[row]), 1e-6));
  }
  return gate;
}

} // namespace megacc::test
