// y = x * scale, by column or by one number, which may be f32 where x is bf16.
#include "runtime/cuda/SumPartials.cuh"

#include <algorithm>

using namespace megacc::runtime;
using namespace megacc::runtime::cuda;

namespace {

constexpr int threads = 128;
/// Partial rows of the sums over rows; lib/Kernels/cuda/Pointwise.cpp has the same number.
constexpr int64_t most_partials = 528;

template <typename T, typename S> __global__ void scaleKernel(T *y, const T *x, const S *scale, int64_t cols, bool by_column) {
  int64_t first = blockIdx.x * cols;
  for (int64_t col = threadIdx.x; col < cols; col += threads)
    y[first + col] = fromFloat<T>(toFloat(x[first + col]) * toFloat(scale[by_column ? col : 0]));
}

/// A block takes every gridDim.x-th row; its partial row has a sum for every scale.
template <typename T, typename S>
__global__ void scaleGradKernel(T *d_x, float *partial, const T *d_y, const T *x, const S *scale, int64_t rows, int64_t cols,
                                bool by_column) {
  __shared__ float shared[threads / 32];
  float sum = 0;
  for (int64_t col = threadIdx.x; col < cols; col += threads) {
    float factor = toFloat(scale[by_column ? col : 0]);
    if (by_column)
      sum = 0;
    for (int64_t t = blockIdx.x; t < rows; t += gridDim.x) {
      float gradient = toFloat(d_y[t * cols + col]);
      sum += gradient * toFloat(x[t * cols + col]);
      d_x[t * cols + col] = fromFloat<T>(gradient * factor);
    }
    if (by_column)
      partial[blockIdx.x * cols + col] = sum;
  }
  if (by_column)
    return;
  sum = blockSum<threads>(sum, shared);
  if (threadIdx.x == 0)
    partial[blockIdx.x] = sum;
}

/// body(T(), S()) with the element types of x and of the scale.
template <typename Body>
int32_t withTypes(const MgLaunch *launch, const char *kernel, std::initializer_list<int> values, int scale, Body &&body) {
  return withElement(launch, kernel, values, [&](auto element) {
    return withElement(launch, kernel, {scale}, [&](auto number) { return body(element, number); });
  });
}

} // namespace

extern "C" {

int32_t mg_scale(const MgLaunch *launch) {
  MG_ENTER(mg_scale);
  int64_t rows = launch->ints[number::rows], cols = launch->ints[number::cols];
  return withTypes(launch, "mg_scale", {at::y, at::x}, at::scale, [&](auto element, auto factor) {
    using T = decltype(element);
    scaleKernel<<<unsigned(rows), threads, 0, streamOf(launch)>>>(operand<T>(launch, at::y), operand<T>(launch, at::x),
                                                                  operand<decltype(factor)>(launch, at::scale), cols,
                                                                  launch->ints[number::scales] == cols);
    return launched("mg_scale");
  });
}

int32_t mg_scale_grad(const MgLaunch *launch) {
  MG_ENTER(mg_scale_grad);
  int64_t rows = launch->ints[number::rows], cols = launch->ints[number::cols], scales = launch->ints[number::scales];
  int64_t partials = std::min(rows, most_partials);
  Scratch scratch(launch, at::scratch);
  float *partial = scratch.take<float>(partials * scales);
  if (int32_t status = scratch.check("mg_scale_grad"))
    return status;
  int32_t status = withTypes(launch, "mg_scale_grad", {at::d_x, at::d_y, at::x}, at::scale, [&](auto element, auto factor) {
    using T = decltype(element);
    scaleGradKernel<<<unsigned(partials), threads, 0, streamOf(launch)>>>(
        operand<T>(launch, at::d_x), partial, operand<T>(launch, at::d_y), operand<T>(launch, at::x),
        operand<decltype(factor)>(launch, at::scale), rows, cols, scales == cols);
    return launched("mg_scale_grad");
  });
  return status ? status : sumPartials(launch, "mg_scale_grad", partial, partials, scales, false, operand<float>(launch, at::d_scale));
}
}
