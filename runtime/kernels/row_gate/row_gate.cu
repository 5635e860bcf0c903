// A row times the sigmoid of its own gate: y = x * sigmoid(gate[row]).
#include "runtime/cuda/Device.cuh"

using namespace megacc::runtime;
using namespace megacc::runtime::cuda;

namespace {

constexpr int threads = 128;

template <typename T> __global__ void rowGateKernel(T *y, const T *x, const T *gate, int64_t cols, bool wide) {
  int64_t base = blockIdx.x * cols;
  float factor = sigmoid(toFloat(gate[blockIdx.x]));
#pragma unroll 4
  for (int64_t col = int64_t(threadIdx.x) * Pack<T>::size; col < cols; col += threads * Pack<T>::size) {
    Pack<T> pack = loadPack(x + base + col, cols - col, wide);
#pragma unroll
    for (int i = 0; i < Pack<T>::size; ++i)
      pack[i] *= factor;
    storePack(y + base + col, pack, cols - col, wide);
  }
}

template <typename T>
__global__ void rowGateGradKernel(T *d_x, T *d_gate, const T *d_y, const T *x, const T *gate, int64_t cols, bool wide) {
  __shared__ float shared[threads / 32];
  int64_t base = blockIdx.x * cols;
  float factor = sigmoid(toFloat(gate[blockIdx.x])), product = 0;
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
    d_gate[blockIdx.x] = fromFloat<T>(product * factor * (1.0f - factor));
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
    rowGateKernel<<<unsigned(rows), threads, 0, streamOf(launch)>>>(y, x, operand<T>(launch, at::gate), cols, wide);
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
    rowGateGradKernel<<<unsigned(rows), threads, 0, streamOf(launch)>>>(d_x, operand<T>(launch, at::d_gate), d_y, x,
                                                                        operand<T>(launch, at::gate), cols, wide);
    return launched("mg_row_gate_grad");
  });
}
}
