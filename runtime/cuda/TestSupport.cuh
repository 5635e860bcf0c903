// What the tests of CUDA kernels share: buffers of the device, launches, bf16 values.
#pragma once
#include "runtime/core/Status.h"
#include "runtime/cuda/Launching.cuh"

#include <cmath>
#include <cstring>
#include <gtest/gtest.h>
#include <random>
#include <vector>

extern "C" {
#define MEGACC_KERNEL(symbol, operands, ints, doubles) int32_t symbol(const MgLaunch *launch);
#include "megacc/kernels.def"
#undef MEGACC_KERNEL
}

namespace megacc::test {

using Values = std::vector<float>;
using Doubles = std::vector<double>;
using Bf16 = std::vector<__nv_bfloat16>;

/// Tests of kernels are skipped without a card.
class OnDevice : public testing::Test {
protected:
  void SetUp() override {
    int count = 0;
    if (cudaGetDeviceCount(&count) != cudaSuccess || count == 0)
      GTEST_SKIP() << "no CUDA device here";
  }
};

template <typename T> constexpr MgType typeOf() {
  if constexpr (std::is_same_v<T, float>)
    return MG_F32;
  else if constexpr (std::is_same_v<T, double>)
    return MG_F64;
  else if constexpr (std::is_same_v<T, int32_t>)
    return MG_I32;
  else if constexpr (std::is_same_v<T, __nv_bfloat16>)
    return MG_BF16;
  else
    return MG_RAW;
}

/// One operand of a launch; absent by default.
struct Operand {
  void *pointer = nullptr;
  int64_t bytes = 0;
  uint8_t type = MG_ABSENT;
};

/// A buffer of the device. Its bytes are 0xff (NaN) unless it starts as a copy.
template <typename T> class Device {
public:
  explicit Device(size_t count) : count(count) {
    EXPECT_EQ(cudaMalloc(&data, count * sizeof(T) + 16), cudaSuccess);
    EXPECT_EQ(cudaMemset(data, 0xff, count * sizeof(T) + 16), cudaSuccess);
  }
  Device(const std::vector<T> &values) : Device(values.size()) { set(values); }
  Device(const Device &) = delete;
  ~Device() { cudaFree(data); }

  void set(const std::vector<T> &values) { EXPECT_EQ(cudaMemcpy(data, values.data(), count * sizeof(T), cudaMemcpyHostToDevice), cudaSuccess); }
  std::vector<T> get() const {
    std::vector<T> values(count);
    EXPECT_EQ(cudaMemcpy(values.data(), data, count * sizeof(T), cudaMemcpyDeviceToHost), cudaSuccess);
    return values;
  }
  operator Operand() const { return {data, int64_t(count * sizeof(T)), uint8_t(typeOf<T>())}; }

private:
  T *data = nullptr;
  size_t count;
};

/// Runs a kernel and waits for it; the status of either.
inline int32_t run(MgKernel kernel, const std::vector<Operand> &operands, std::vector<int64_t> ints, std::vector<double> doubles = {},
                   int64_t micro_batch = 0) {
  std::vector<void *> pointers;
  std::vector<int64_t> bytes;
  std::vector<uint8_t> types;
  for (const Operand &operand : operands)
    pointers.push_back(operand.pointer), bytes.push_back(operand.bytes), types.push_back(operand.type);
  MgContext context = {};
  MgLaunch launch = {pointers.data(),  bytes.data(),           types.data(), int64_t(operands.size()), ints.data(), int64_t(ints.size()), doubles.data(),
                     int64_t(doubles.size()), micro_batch, 0,            MG_COMPUTE,               &context};
  if (int32_t status = kernel(&launch))
    return status;
  return runtime::checkCuda(cudaDeviceSynchronize(), "the kernel");
}

inline Values randomValues(size_t count, unsigned seed, float scale = 1.0f) {
  std::mt19937 generator(seed);
  std::normal_distribution<float> normal(0.0f, scale);
  Values values(count);
  for (float &value : values)
    value = normal(generator);
  return values;
}

inline Bf16 toBf16(const Values &values) {
  Bf16 result;
  for (float value : values)
    result.push_back(__float2bfloat16(value));
  return result;
}
inline Bf16 randomBf16(size_t count, unsigned seed, float scale = 1.0f) { return toBf16(randomValues(count, seed, scale)); }

inline double toDouble(float value) { return value; }
inline double toDouble(double value) { return value; }
inline double toDouble(__nv_bfloat16 value) { return __bfloat162float(value); }
template <typename T> Doubles widen(const std::vector<T> &values) {
  Doubles result;
  for (T value : values)
    result.push_back(toDouble(value));
  return result;
}

/// Largest difference, relative to the largest expected element; infinite where a number is not finite.
template <typename T> double relativeError(const std::vector<T> &actual, const Doubles &expected) {
  EXPECT_EQ(actual.size(), expected.size());
  double worst = 0, largest = 1e-30;
  for (size_t i = 0; i < expected.size(); ++i) {
    double difference = std::abs(toDouble(actual[i]) - expected[i]);
    worst = std::isfinite(difference) ? std::max(worst, difference) : INFINITY;
    largest = std::max(largest, std::abs(expected[i]));
  }
  return worst / largest;
}

template <typename T> bool sameBits(const std::vector<T> &a, const std::vector<T> &b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0;
}

/// Gradient of sum(weights * f(x)) by central differences in float64.
template <typename F> Doubles numericGradient(F &&f, Doubles x, const Doubles &weights) {
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
