// Dynamic tanh in place of a norm, conventions 5.7: y = weight * tanh(alpha x) + bias.
#include "runtime/cuda/SumPartials.cuh"

#include <algorithm>

using namespace megacc::runtime;
using namespace megacc::runtime::cuda;

namespace {

constexpr int threads = 128;
/// Partial rows of the sums over rows; lib/Kernels/cuda/Pointwise.cpp has the same number.
constexpr int64_t most_partials = 528;

template <typename T>
__global__ void dytKernel(T *y, float *nonfinite, const T *x, const T *weight, const T *bias, const float *alpha, int64_t cols) {
  int64_t first = blockIdx.x * cols;
  float factor = *alpha;
  for (int64_t col = threadIdx.x; col < cols; col += threads) {
    float value = toFloat(x[first + col]);
    if (nonfinite && !isfinite(value))
      *nonfinite = 1.0f;
    y[first + col] = fromFloat<T>(toFloat(weight[col]) * tanhf(factor * value) + toFloat(bias[col]));
  }
}

/// A block takes every gridDim.x-th row; a thread adds what its columns give to its block's partial rows.
template <typename T>
__global__ void dytGradKernel(T *d_x, float *weight_sums, float *bias_sums, float *alpha_sums, const T *d_y, const T *x, const T *weight,
                              const float *alpha, int64_t rows, int64_t cols) {
  __shared__ float shared[threads / 32];
  float *weight_sum = weight_sums + blockIdx.x * cols, *bias_sum = bias_sums + blockIdx.x * cols, alpha_sum = 0, factor = *alpha;
  for (int64_t col = threadIdx.x; col < cols; col += threads)
    weight_sum[col] = bias_sum[col] = 0;
  for (int64_t t = blockIdx.x; t < rows; t += gridDim.x)
    for (int64_t col = threadIdx.x; col < cols; col += threads) {
      float gradient = toFloat(d_y[t * cols + col]), value = toFloat(x[t * cols + col]), squashed = tanhf(factor * value);
      float slope = (1.0f - squashed * squashed) * toFloat(weight[col]) * gradient;
      weight_sum[col] += squashed * gradient;
      bias_sum[col] += gradient;
      alpha_sum += value * slope;
      d_x[t * cols + col] = fromFloat<T>(factor * slope);
    }
  alpha_sum = blockSum<threads>(alpha_sum, shared);
  if (threadIdx.x == 0)
    alpha_sums[blockIdx.x] = alpha_sum;
}

} // namespace

extern "C" {

int32_t mg_dyt(const MgLaunch *launch) {
  MG_ENTER(mg_dyt);
  int64_t rows = launch->ints[number::rows], cols = launch->ints[number::cols];
  float *nonfinite = operand<float>(launch, at::nonfinite);
  if (int32_t status = clearFlag(launch, nonfinite, "mg_dyt"))
    return status;
  return withElement(launch, "mg_dyt", {at::y, at::x, at::weight, at::bias}, [&](auto element) {
    using T = decltype(element);
    dytKernel<<<unsigned(rows), threads, 0, streamOf(launch)>>>(operand<T>(launch, at::y), nonfinite, operand<T>(launch, at::x),
                                                                operand<T>(launch, at::weight), operand<T>(launch, at::bias),
                                                                operand<float>(launch, at::alpha), cols);
    return launched("mg_dyt");
  });
}

int32_t mg_dyt_grad(const MgLaunch *launch) {
  MG_ENTER(mg_dyt_grad);
  int64_t rows = launch->ints[number::rows], cols = launch->ints[number::cols], partials = std::min(rows, most_partials);
  Scratch scratch(launch, at::scratch);
  float *weight_sums = scratch.take<float>(partials * cols), *bias_sums = scratch.take<float>(partials * cols);
  float *alpha_sums = scratch.take<float>(partials);
  if (int32_t status = scratch.check("mg_dyt_grad"))
    return status;
  int32_t status = withElement(launch, "mg_dyt_grad", {at::d_x, at::d_y, at::x, at::weight}, [&](auto element) {
    using T = decltype(element);
    dytGradKernel<<<unsigned(partials), threads, 0, streamOf(launch)>>>(
        operand<T>(launch, at::d_x), weight_sums, bias_sums, alpha_sums, operand<T>(launch, at::d_y), operand<T>(launch, at::x),
        operand<T>(launch, at::weight), operand<float>(launch, at::alpha), rows, cols);
    return launched("mg_dyt_grad");
  });
  auto add = [&](const float *sums, int64_t count, int to) {
    if (!status)
      status = sumPartials(launch, "mg_dyt_grad", sums, partials, count, false, operand<float>(launch, to));
  };
  add(weight_sums, cols, at::d_weight), add(bias_sums, cols, at::d_bias), add(alpha_sums, 1, at::d_alpha);
  return status;
}
}
