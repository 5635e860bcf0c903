// A skip connection and a gate together, conventions 9.3: y = (x + skip v) silu(gate).
#include "runtime/cuda/SumPartials.cuh"

#include <algorithm>

using namespace megacc::runtime;
using namespace megacc::runtime::cuda;

namespace {

/// A block of the gradient: packs of columns beside rows. At most `most_partials` row tiles; lib/Kernels knows the same numbers.
constexpr int pack_lanes = 32, row_lanes = 8, least_rows = 32;
constexpr int64_t most_partials = 128;

template <typename T>
__global__ void skipGateKernel(T *y, const T *x, const T *v, const T *gate, const T *skip, int64_t rows, int64_t cols, bool wide) {
  uint32_t packs = uint32_t((cols + Pack<T>::size - 1) / Pack<T>::size), index = blockIdx.x * blockDim.x + threadIdx.x;
  int64_t row = index / packs, col = int64_t(index % packs) * Pack<T>::size, left = cols - col, at = row * cols + col;
  if (row >= rows)
    return;
  Pack<T> inner = loadPack(x + at, left, wide), value = loadPack(v + at, left, wide), g = loadPack(gate + at, left, wide);
  Pack<T> factor = loadPack(skip + col, left, wide);
#pragma unroll
  for (int i = 0; i < Pack<T>::size; ++i)
    inner[i] = (inner[i] + factor[i] * value[i]) * g[i] * sigmoid(g[i]);
  storePack(y + at, inner, left, wide);
}

/// Row blockIdx.y of `partial` becomes the sum for d_skip over a tile of rows.
template <typename T>
__global__ void skipGateGradKernel(T *d_x, T *d_v, T *d_gate, float *partial, const T *d_y, const T *x, const T *v, const T *gate,
                                   const T *skip, int64_t rows, int64_t cols, int64_t tile_rows, bool wide) {
  constexpr int size = Pack<T>::size;
  __shared__ float sums[row_lanes][pack_lanes * size];
  int64_t col = (int64_t(blockIdx.x) * pack_lanes + threadIdx.x) * size, left = cols - col;
  int64_t begin = blockIdx.y * tile_rows, end = min(begin + tile_rows, rows);
  Pack<T> sum = {};
  if (left > 0) {
    Pack<T> factor = loadPack(skip + col, left, wide);
    for (int64_t row = begin + threadIdx.y; row < end; row += row_lanes) {
      int64_t at = row * cols + col;
      Pack<T> gradient = loadPack(d_y + at, left, wide), inner = loadPack(x + at, left, wide), value = loadPack(v + at, left, wide);
      Pack<T> g = loadPack(gate + at, left, wide);
#pragma unroll
      for (int i = 0; i < size; ++i) {
        float s = sigmoid(g[i]), silu = g[i] * s, d_inner = gradient[i] * silu;
        sum[i] += d_inner * value[i];
        g[i] = gradient[i] * (inner[i] + factor[i] * value[i]) * (s + silu * (1.0f - s));
        inner[i] = d_inner;
        value[i] = d_inner * factor[i];
      }
      storePack(d_gate + at, g, left, wide);
      storePack(d_x + at, inner, left, wide);
      storePack(d_v + at, value, left, wide);
    }
  }
#pragma unroll
  for (int i = 0; i < size; ++i)
    sums[threadIdx.y][threadIdx.x * size + i] = sum[i];
  __syncthreads();
  for (int i = threadIdx.y * pack_lanes + threadIdx.x; i < pack_lanes * size; i += pack_lanes * row_lanes) {
    int64_t to = int64_t(blockIdx.x) * pack_lanes * size + i;
    float total = sums[0][i];
#pragma unroll
    for (int lane = 1; lane < row_lanes; ++lane)
      total += sums[lane][i];
    if (to < cols)
      partial[blockIdx.y * cols + to] = total;
  }
}

} // namespace

extern "C" {

int32_t mg_skip_gate(const MgLaunch *launch) {
  MG_ENTER(mg_skip_gate);
  int64_t rows = launch->ints[number::rows], cols = launch->ints[number::cols];
  return withElement(launch, "mg_skip_gate", {at::y, at::x, at::v, at::gate, at::skip}, [&](auto element) {
    using T = decltype(element);
    T *y = operand<T>(launch, at::y), *x = operand<T>(launch, at::x), *v = operand<T>(launch, at::v);
    T *gate = operand<T>(launch, at::gate), *skip = operand<T>(launch, at::skip);
    bool wide = areAligned({y, x, v, gate, skip}) && cols % Pack<T>::size == 0;
    constexpr int threads = 256;
    skipGateKernel<<<unsigned(blocksOf(rows * blocksOf(cols, Pack<T>::size), threads)), threads, 0, streamOf(launch)>>>(y, x, v, gate, skip,
                                                                                                                        rows, cols, wide);
    return launched("mg_skip_gate");
  });
}

int32_t mg_skip_gate_grad(const MgLaunch *launch) {
  MG_ENTER(mg_skip_gate_grad);
  int64_t rows = launch->ints[number::rows], cols = launch->ints[number::cols];
  int64_t partials = std::min(blocksOf(rows, least_rows), most_partials), tile_rows = blocksOf(rows, partials);
  bool add = addsToOutput(launch, launch->ints[number::accumulate]);
  Scratch scratch(launch, at::scratch);
  float *partial = scratch.take<float>(partials * cols);
  if (int32_t status = scratch.check("mg_skip_gate_grad"))
    return status;
  return withElement(launch, "mg_skip_gate_grad", {at::d_x, at::d_v, at::d_gate, at::d_y, at::x, at::v, at::gate, at::skip},
                     [&](auto element) {
                       using T = decltype(element);
                       T *d_x = operand<T>(launch, at::d_x), *d_v = operand<T>(launch, at::d_v), *d_gate = operand<T>(launch, at::d_gate);
                       T *d_y = operand<T>(launch, at::d_y), *x = operand<T>(launch, at::x), *v = operand<T>(launch, at::v);
                       T *gate = operand<T>(launch, at::gate), *skip = operand<T>(launch, at::skip);
                       bool wide = areAligned({d_x, d_v, d_gate, d_y, x, v, gate, skip}) && cols % Pack<T>::size == 0;
                       dim3 blocks(unsigned(blocksOf(cols, pack_lanes * Pack<T>::size)), unsigned(partials));
                       skipGateGradKernel<<<blocks, dim3(pack_lanes, row_lanes), 0, streamOf(launch)>>>(
                           d_x, d_v, d_gate, partial, d_y, x, v, gate, skip, rows, cols, tile_rows, wide);
                       if (int32_t status = launched("mg_skip_gate_grad"))
                         return status;
                       return sumPartials(launch, "mg_skip_gate_grad", partial, partials, cols, add, operand<float>(launch, at::d_skip));
                     });
}
}
