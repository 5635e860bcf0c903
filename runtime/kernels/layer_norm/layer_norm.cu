// LayerNorm with weight and bias, a block for each row.
#include "runtime/cuda/Device.cuh"
#include "runtime/cuda/SumPartials.cuh"

#include <algorithm>

using namespace megacc::runtime;
using namespace megacc::runtime::cuda;

namespace {

constexpr int threads = 128;
/// Partial rows of the sums over rows; lib/Kernels/cuda/Pointwise.cpp has the same number.
constexpr int64_t most_partials = 528;

struct Statistics {
  float mean, rstd;
};

template <typename T> __device__ Statistics statisticsOf(const T *row, int64_t cols, float eps, float *shared) {
  float sum = 0, square = 0;
  for (int64_t col = threadIdx.x; col < cols; col += threads)
    sum += toFloat(row[col]);
  float mean = blockSum<threads>(sum, shared) / float(cols);
  for (int64_t col = threadIdx.x; col < cols; col += threads) {
    float centred = toFloat(row[col]) - mean;
    square += centred * centred;
  }
  return {mean, rsqrtf(blockSum<threads>(square, shared) / float(cols) + eps)};
}

template <typename T> __global__ void layerNormKernel(T *y, const T *x, const T *weight, const T *bias, int64_t cols, float eps) {
  __shared__ float shared[threads / 32];
  const T *row = x + blockIdx.x * cols;
  Statistics of = statisticsOf(row, cols, eps, shared);
  for (int64_t col = threadIdx.x; col < cols; col += threads)
    y[blockIdx.x * cols + col] = fromFloat<T>((toFloat(row[col]) - of.mean) * of.rstd * toFloat(weight[col]) + toFloat(bias[col]));
}

/// A block takes every gridDim.x-th row; a thread adds what its columns give to its block's partial rows.
template <typename T>
__global__ void layerNormGradKernel(T *d_x, float *weight_sums, float *bias_sums, const T *d_y, const T *x, const T *weight, int64_t rows,
                                    int64_t cols, float eps) {
  __shared__ float shared[threads / 32];
  float *weight_sum = weight_sums + blockIdx.x * cols, *bias_sum = bias_sums + blockIdx.x * cols;
  for (int64_t col = threadIdx.x; col < cols; col += threads)
    weight_sum[col] = bias_sum[col] = 0;
  for (int64_t t = blockIdx.x; t < rows; t += gridDim.x) {
    const T *row = x + t * cols, *g = d_y + t * cols;
    Statistics of = statisticsOf(row, cols, eps, shared);
    float sum = 0, product = 0;
    for (int64_t col = threadIdx.x; col < cols; col += threads) {
      float gradient = toFloat(g[col]) * toFloat(weight[col]);
      sum += gradient;
      product += gradient * (toFloat(row[col]) - of.mean) * of.rstd;
    }
    sum = blockSum<threads>(sum, shared) / float(cols);
    product = blockSum<threads>(product, shared) / float(cols);
    for (int64_t col = threadIdx.x; col < cols; col += threads) {
      float z = (toFloat(row[col]) - of.mean) * of.rstd, gradient = toFloat(g[col]);
      weight_sum[col] += gradient * z;
      bias_sum[col] += gradient;
      d_x[t * cols + col] = fromFloat<T>(of.rstd * (gradient * toFloat(weight[col]) - sum - z * product));
    }
  }
}

} // namespace

extern "C" {

int32_t mg_layer_norm(const MgLaunch *launch) {
  MG_ENTER(mg_layer_norm);
  int64_t rows = launch->ints[number::rows], cols = launch->ints[number::cols];
  return withElement(launch, "mg_layer_norm", {at::y, at::x, at::weight, at::bias}, [&](auto element) {
    using T = decltype(element);
    layerNormKernel<<<unsigned(rows), threads, 0, streamOf(launch)>>>(operand<T>(launch, at::y), operand<T>(launch, at::x),
                                                                      operand<T>(launch, at::weight), operand<T>(launch, at::bias), cols,
                                                                      float(launch->doubles[real::eps]));
    return launched("mg_layer_norm");
  });
}

int32_t mg_layer_norm_grad(const MgLaunch *launch) {
  MG_ENTER(mg_layer_norm_grad);
  int64_t rows = launch->ints[number::rows], cols = launch->ints[number::cols], partials = std::min(rows, most_partials);
  Scratch scratch(launch, at::scratch);
  float *weight_sums = scratch.take<float>(partials * cols), *bias_sums = scratch.take<float>(partials * cols);
  if (int32_t status = scratch.check("mg_layer_norm_grad"))
    return status;
  int32_t status = withElement(launch, "mg_layer_norm_grad", {at::d_x, at::d_y, at::x, at::weight}, [&](auto element) {
    using T = decltype(element);
    layerNormGradKernel<<<unsigned(partials), threads, 0, streamOf(launch)>>>(
        operand<T>(launch, at::d_x), weight_sums, bias_sums, operand<T>(launch, at::d_y), operand<T>(launch, at::x),
        operand<T>(launch, at::weight), rows, cols, float(launch->doubles[real::eps]));
    return launched("mg_layer_norm_grad");
  });
  if (!status)
    status = sumPartials(launch, "mg_layer_norm_grad", weight_sums, partials, cols, false, operand<float>(launch, at::d_weight));
  return status ? status : sumPartials(launch, "mg_layer_norm_grad", bias_sums, partials, cols, false, operand<float>(launch, at::d_bias));
}
}
