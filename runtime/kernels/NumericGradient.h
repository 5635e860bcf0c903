// What gradients are compared with where no formula is written down.
#pragma once
#include <cstddef>
#include <vector>

namespace megacc::test {

/// Gradient of sum(weights * f(x)) by central differences in float64.
template <typename F, typename Weights> std::vector<double> numericGradient(F &&f, std::vector<double> x, const Weights &weights) {
  auto value = [&] {
    std::vector<double> y = f(x);
    double sum = 0;
    for (std::size_t i = 0; i < y.size(); ++i)
      sum += weights[i] * y[i];
    return sum;
  };
  std::vector<double> gradient(x.size());
  const double h = 1e-5;
  for (std::size_t i = 0; i < x.size(); ++i) {
    double kept = x[i];
    x[i] = kept + h;
    double above = value();
    x[i] = kept - h;
    double below = value();
    x[i] = kept;
    gradient[i] = (above - below) / (2 * h);
  }
  return gradient;
}

} // namespace megacc::test
