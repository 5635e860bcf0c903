// A row times a number of its own: the sigmoid of a gate, or a scale. A block takes a long row, a warp a short one, a thread a number.
#include "runtime/cuda/Device.cuh"

using namespace megacc::runtime;
using namespace megacc::runtime::cuda;

namespace {

constexpr int threads = 128;

/// What rows are multiplied by, and the gradient of what it is made of, given the sum of d_y * x over the row.
template <typename T> struct Gate {
  T *gate, *d_gate = nullptr;
  __device__ float factor(int64_t row) const { return sigmoid(toFloat(gate[row])); }
  __device__ void finish(int64_t row, float factor, float product) const { d_gate[row] = fromFloat<T>(product * factor * (1.0f - factor)); }
};
struct Scale {
  float *scale, *d_scale = nullptr;
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

/// Rows of up to this many columns are short.
constexpr int64_t short_cols = 256;

/// Rows of `lanes` = 32 or 1 threads each.
template <int lanes, typename T, typename Number> __global__ void scaleShortRows(T *y, const T *x, Number number, int64_t rows, int cols) {
  int64_t row = (int64_t(blockIdx.x) * threads + threadIdx.x) / lanes;
  if (row >= rows)
    return;
  float factor = number.factor(row);
  for (int64_t i = row * cols + threadIdx.x % lanes; i < (row + 1) * cols; i += lanes)
    y[i] = fromFloat<T>(toFloat(x[i]) * factor);
}

template <int lanes, typename T, typename Number>
__global__ void scaleShortRowsGrad(T *d_x, const T *d_y, const T *x, Number number, int64_t rows, int cols) {
  int64_t row = (int64_t(blockIdx.x) * threads + threadIdx.x) / lanes;
  if (row >= rows)
    return;
  float factor = number.factor(row), product = 0;
  for (int64_t i = row * cols + threadIdx.x % lanes; i < (row + 1) * cols; i += lanes) {
    float gradient = toFloat(d_y[i]);
    product += gradient * toFloat(x[i]);
    d_x[i] = fromFloat<T>(gradient * factor);
  }
  if constexpr (lanes == 32)
    product = warpSum(product);
  if (threadIdx.x % lanes == 0)
    number.finish(row, factor, product);
}

/// Calls body(threads of a row, blocks that they take) where rows are short, and says whether they are.
template <typename Body> bool withShortRows(int64_t rows, int64_t cols, Body &&body) {
  if (cols == 1)
    body(std::integral_constant<int, 1>(), unsigned(blocksOf(rows, threads)));
  else if (cols <= short_cols)
    body(std::integral_constant<int, 32>(), unsigned(blocksOf(rows, threads / 32)));
  return cols <= short_cols;
}

template <typename T, typename Number>
int32_t forward(const MgLaunch *launch, const char *kernel, T *y, const T *x, Number number, int64_t rows, int64_t cols) {
  bool is_short = withShortRows(rows, cols, [&](auto lanes, unsigned blocks) {
    scaleShortRows<lanes()><<<blocks, threads, 0, streamOf(launch)>>>(y, x, number, rows, int(cols));
  });
  bool wide = areAligned({y, x}) && cols % Pack<T>::size == 0;
  if (!is_short)
    scaleRows<<<unsigned(rows), threads, 0, streamOf(launch)>>>(y, x, number, cols, wide);
  return launched(kernel);
}

template <typename T, typename Number>
int32_t backward(const MgLaunch *launch, const char *kernel, T *d_x, const T *d_y, const T *x, Number number, int64_t rows, int64_t cols) {
  bool is_short = withShortRows(rows, cols, [&](auto lanes, unsigned blocks) {
    scaleShortRowsGrad<lanes()><<<blocks, threads, 0, streamOf(launch)>>>(d_x, d_y, x, number, rows, int(cols));
  });
  bool wide = areAligned({d_x, d_y, x}) && cols % Pack<T>::size == 0;
  if (!is_short)
    scaleRowsGrad<<<unsigned(rows), threads, 0, streamOf(launch)>>>(d_x, d_y, x, number, cols, wide);
  return launched(kernel);
}

} // namespace

extern "C" {

int32_t mg_row_gate(const MgLaunch *launch) {
  MG_ENTER(mg_row_gate);
  return withElement(launch, "mg_row_gate", {at::y, at::x, at::gate}, [&](auto element) {
    using T = decltype(element);
    return forward(launch, "mg_row_gate", operand<T>(launch, at::y), operand<T>(launch, at::x), Gate<T>{operand<T>(launch, at::gate)},
                   launch->ints[number::rows], launch->ints[number::cols]);
  });
}

int32_t mg_row_gate_grad(const MgLaunch *launch) {
  MG_ENTER(mg_row_gate_grad);
  return withElement(launch, "mg_row_gate_grad", {at::d_x, at::d_gate, at::d_y, at::x, at::gate}, [&](auto element) {
    using T = decltype(element);
    return backward(launch, "mg_row_gate_grad", operand<T>(launch, at::d_x), operand<T>(launch, at::d_y), operand<T>(launch, at::x),
                    Gate<T>{operand<T>(launch, at::gate), operand<T>(launch, at::d_gate)}, launch->ints[number::rows],
                    launch->ints[number::cols]);
  });
}

int32_t mg_row_scale(const MgLaunch *launch) {
  MG_ENTER(mg_row_scale);
  return withElement(launch, "mg_row_scale", {at::y, at::x}, [&](auto element) {
    using T = decltype(element);
    return forward(launch, "mg_row_scale", operand<T>(launch, at::y), operand<T>(launch, at::x), Scale{operand<float>(launch, at::scale)},
                   launch->ints[number::rows], launch->ints[number::cols]);
  });
}

int32_t mg_row_scale_grad(const MgLaunch *launch) {
  MG_ENTER(mg_row_scale_grad);
  return withElement(launch, "mg_row_scale_grad", {at::d_x, at::d_y, at::x}, [&](auto element) {
    using T = decltype(element);
    return backward(launch, "mg_row_scale_grad", operand<T>(launch, at::d_x), operand<T>(launch, at::d_y), operand<T>(launch, at::x),
                    Scale{operand<float>(launch, at::scale), operand<float>(launch, at::d_scale)}, launch->ints[number::rows],
                    launch->ints[number::cols]);
  });
}
}
