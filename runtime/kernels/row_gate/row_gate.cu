// A row times a number of its own: the sigmoid of a gate, or a scale.
#include "runtime/cuda/Device.cuh"

using namespace megacc::runtime;
using namespace megacc::runtime::cuda;

namespace {

constexpr int threads = 128;

/// What rows are multiplied by, and the gradient of what it is made of, given the sum of d_y * x over the row.
template <typename T> struct Gate {
  T *gate, *d_gate;
  __device__ float factor(int64_t row) const { return sigmoid(toFloat(gate[row])); }
  __device__ void finish(int64_t row, float factor, float product) const { d_gate[row] = fromFloat<T>(product * factor * (1.0f - factor)); }
};
struct Scale {
  float *scale, *d_scale;
  __device__ float factor(int64_t row) const { return scale[row]; }
  __device__ void finish(int64_t row, float, float product) const { d_scale[row] = product; }
};

/// A block per row.
template <typename T, typename Number> __global__ void scaleRows(T *y, const T *x, Number number, int64_t cols, bool wide) {
  int64_t base = blockIdx.x * cols;
  float factor = number.factor(blockIdx.x);
#pragma unroll 4
  for (int64_t col = int64_t(threadIdx.x) * Pack<T>::size; col < cols; col += threads * Pack<T>::size) {
    Pack<T> pack = loadPack(x + base + col, cols - col, wide);
#pragma unroll
    for (int i = 0; i < Pack<T>::size; ++i)
      pack[i] *= factor;
    storePack(y + base + col, pack, cols - col, wide);
  }
}

template <typename T, typename Number>
__global__ void scaleRowsGrad(T *d_x, const T *d_y, const T *x, Number number, int64_t cols, bool wide) {
  __shared__ float shared[threads / 32];
  int64_t base = blockIdx.x * cols;
  float factor = number.factor(blockIdx.x), product = 0;
#pragma unroll 4
  for (int64_t col = int64_t(threadIdx.x) * Pack<T>::size; col < cols; col += threads * Pack<T>::size) {
    Pack<T> gradient = loadPack(d_y + base + col, cols - col, wide), value = loadPack(x + base + col, cols - col, wide);
#pragma unroll
    for (int i = 0; i < Pack<T>::size; ++i) {
      product += gradient[i] * value[i];
      gradient[i] *= factor;
    }
    storePack(d_x + base + col, gradient, cols - col, wide);
  }
  product = blockSum<threads>(product, shared);
  if (threadIdx.x == 0)
    number.finish(blockIdx.x, factor, product);
}

} // namespace

extern "C" {

int32_t mg_row_gate(const MgLaunch *launch) {
  MG_ENTER(mg_row_gate);
  int64_t rows = launch->ints[number::rows], cols = launch->ints[number::cols];
  return withElement(launch, "mg_row_gate", {at::y, at::x, at::gate}, [&](auto element) {
    using T = decltype(element);
    T *y = operand<T>(launch, at::y), *x = operand<T>(launch, at::x);
    bool wide = areAligned({y, x}) && cols % Pack<T>::size == 0;
    scaleRows<<<unsigned(rows), threads, 0, streamOf(launch)>>>(y, x, Gate<T>{operand<T>(launch, at::gate), nullptr}, cols, wide);
    return launched("mg_row_gate");
  });
}

int32_t mg_row_gate_grad(const MgLaunch *launch) {
  MG_ENTER(mg_row_gate_grad);
  int64_t rows = launch->ints[number::rows], cols = launch->ints[number::cols];
  return withElement(launch, "mg_row_gate_grad", {at::d_x, at::d_gate, at::d_y, at::x, at::gate}, [&](auto element) {
    using T = decltype(element);
    T *d_x = operand<T>(launch, at::d_x), *d_y = operand<T>(launch, at::d_y), *x = operand<T>(launch, at::x);
    bool wide = areAligned({d_x, d_y, x}) && cols % Pack<T>::size == 0;
    scaleRowsGrad<<<unsigned(rows), threads, 0, streamOf(launch)>>>(
        d_x, d_y, x, Gate<T>{operand<T>(launch, at::gate), operand<T>(launch, at::d_gate)}, cols, wide);
    return launched("mg_row_gate_grad");
  });
}

int32_t mg_row_scale(const MgLaunch *launch) {
  MG_ENTER(mg_row_scale);
  int64_t rows = launch->ints[number::rows], cols = launch->ints[number::cols];
  return withElement(launch, "mg_row_scale", {at::y, at::x}, [&](auto element) {
    using T = decltype(element);
    T *y = operand<T>(launch, at::y), *x = operand<T>(launch, at::x);
    bool wide = areAligned({y, x}) && cols % Pack<T>::size == 0;
    scaleRows<<<unsigned(rows), threads, 0, streamOf(launch)>>>(y, x, Scale{operand<float>(launch, at::scale), nullptr}, cols, wide);
    return launched("mg_row_scale");
  });
}

int32_t mg_row_scale_grad(const MgLaunch *launch) {
  MG_ENTER(mg_row_scale_grad);
  int64_t rows = launch->ints[number::rows], cols = launch->ints[number::cols];
  return withElement(launch, "mg_row_scale_grad", {at::d_x, at::d_y, at::x}, [&](auto element) {
    using T = decltype(element);
    T *d_x = operand<T>(launch, at::d_x), *d_y = operand<T>(launch, at::d_y), *x = operand<T>(launch, at::x);
    bool wide = areAligned({d_x, d_y, x}) && cols % Pack<T>::size == 0;
    scaleRowsGrad<<<unsigned(rows), threads, 0, streamOf(launch)>>>(
        d_x, d_y, x, Scale{operand<float>(launch, at::scale), operand<float>(launch, at::d_scale)}, cols, wide);
    return launched("mg_row_scale_grad");
  });
}
}
