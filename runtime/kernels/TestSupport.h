// What the kernel tests share: random tensors, launches, and gradients checked against finite differences of a float64 reference.
#pragma once
#include "megacc/StepABI.h"

#include <cmath>
#include <cstdint>
#include <functional>
#include <gtest/gtest.h>
#include <random>
#include <vector>

extern "C" {
#define MEGACC_KERNEL(symbol, operands, ints, doubles) int32_t symbol(const MgLaunch *launch);
#include "megacc/kernels.def"
#undef MEGACC_KERNEL
const char *mg_last_error();
void mg_cpu_set_threads(int32_t count);
}

namespace megacc::test {

using Values = std::vector<float>;
using Doubles = std::vector<double>;

inline Values randomValues(size_t count, unsigned seed, float scale = 1.0f) {
  std::mt19937 generator(seed);
  std::normal_distribution<float> normal(0.0f, scale);
  Values values(count);
  for (float &value : values)
    value = normal(generator);
  return values;
}

inline Doubles widen(const Values &values) { return Doubles(values.begin(), values.end()); }

/// Calls a kernel; operands are pointers in the order of kernels.def.
inline int32_t call(MgKernel kernel, std::vector<void *> operands, std::vector<int64_t> ints, std::vector<double> doubles = {},
                    int64_t micro_batch = 0) {
  MgLaunch launch = {operands.data(), int64_t(operands.size()), ints.data(), int64_t(ints.size()), doubles.data(), int64_t(doubles.size()),
                     micro_batch,     0,                        nullptr};
  return kernel(&launch);
}

/// Largest difference, relative to the largest expected element.
inline double relativeError(const Values &actual, const Doubles &expected) {
  EXPECT_EQ(actual.size(), expected.size());
  double worst = 0, largest = 1e-30;
  for (size_t i = 0; i < expected.size(); ++i) {
    worst = std::isfinite(actual[i]) ? std::max(worst, std::abs(actual[i] - expected[i])) : INFINITY;
    largest = std::max(largest, std::abs(expected[i]));
  }
  return worst / largest;
}

/// Gradient of sum(weights * f(x)) by central differences in float64.
inline Doubles numericGradient(const std::function<Doubles(const Doubles &)> &f, Doubles x, const Values &weights) {
  auto value = [&] {
    Doubles y = f(x);
    double sum = 0;
    for (size_t i = 0; i < y.size(); ++i)
      sum += weights[i] * y[i];
    return sum;
  };
  Doubles gradient(x.size());
  const double h = 1e-5;
  for (size_t i = 0; i < x.size(); ++i) {
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
