// The norm of every head and its gate, conventions 19.5: y = x rstd weight silu(gate). A warp has a row at a time.
#include "runtime/cuda/SumPartials.cuh"

#include <algorithm>

using namespace megacc::runtime;
using namespace megacc::runtime::cuda;

namespace {

/// lib/Kernels knows the same numbers.
constexpr int threads = 256, warps = threads / 32, most_cols = 1024;
constexpr int64_t least_rows = 64, most_partials = 512;

template <typename T> __device__ float rstdOf(const T *row, int cols, float eps) {
  float square = 0;
  for (int j = threadIdx.x % 32; j < cols; j += 32)
    square = fmaf(toFloat(row[j]), toFloat(row[j]), square);
  return 1.0f / sqrtf(warpSum(square) / float(cols) + eps);
}

template <typename T>
__global__ void __launch_bounds__(threads)
    gatedNormKernel(T *y, const T *x, const T *gate, const T *weight, int64_t rows, int cols, float eps) {
  int64_t row = int64_t(blockIdx.x) * warps + threadIdx.x / 32;
  if (row >= rows)
    return;
  float rstd = rstdOf(x + row * cols, cols, eps);
  for (int j = threadIdx.x % 32; j < cols; j += 32) {
    float g = toFloat(gate[row * cols + j]);
    y[row * cols + j] = fromFloat<T>(toFloat(x[row * cols + j]) * rstd * toFloat(weight[j]) * g * sigmoid(g));
  }
}

/// Row blockIdx.x of `partial` becomes the sum for d_weight over a tile of rows.
template <typename T>
__global__ void __launch_bounds__(threads) gatedNormGradKernel(T *d_x, T *d_gate, float *partial, const T *d_y, const T *x, const T *gate,
                                                               const T *weight, int64_t rows, int cols, int64_t tile_rows, float eps) {
  extern __shared__ float sums[]; // [warps, cols]
  int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  float *sum = sums + warp * cols;
  for (int j = lane; j < cols; j += 32)
    sum[j] = 0;
  int64_t begin = blockIdx.x * tile_rows, end = min(begin + tile_rows, rows);
  for (int64_t row = begin + warp; row < end; row += warps) {
    float rstd = rstdOf(x + row * cols, cols, eps), along = 0;
    auto outer = [&](int j) { // d_y silu(gate), and what d_gate has beside d_y
      int64_t at = row * cols + j;
      float g = toFloat(gate[at]), s = sigmoid(g);
      return float2{toFloat(d_y[at]) * g * s, s + g * s * (1.0f - s)};
    };
    for (int j = lane; j < cols; j += 32) {
      float2 e = outer(j);
      float n = toFloat(x[row * cols + j]) * rstd, w = toFloat(weight[j]);
      along = fmaf(e.x * w, n, along);
      sum[j] += e.x * n;
    }
    along = warpSum(along) / float(cols);
    for (int j = lane; j < cols; j += 32) {
      int64_t at = row * cols + j;
      float2 e = outer(j);
      float n = toFloat(x[at]) * rstd, w = toFloat(weight[j]);
      d_gate[at] = fromFloat<T>(toFloat(d_y[at]) * n * w * e.y);
      d_x[at] = fromFloat<T>(rstd * (e.x * w - n * along));
    }
  }
  __syncthreads();
  for (int j = threadIdx.x; j < cols; j += threads) {
    float total = sums[j];
    for (int other = 1; other < warps; ++other)
      total += sums[other * cols + j];
    partial[int64_t(blockIdx.x) * cols + j] = total;
  }
}

int32_t checkCols(const char *kernel, int64_t cols) {
  return cols > most_cols ? mg_fail("%s: cols is %lld, at most %d; fix: narrower heads", kernel, (long long)cols, most_cols) : 0;
}

} // namespace

extern "C" {

int32_t mg_gated_norm(const MgLaunch *launch) {
  MG_ENTER(mg_gated_norm);
  int64_t rows = launch->ints[number::rows], cols = launch->ints[number::cols];
  float eps = float(launch->doubles[real::eps]);
  if (int32_t status = checkCols("mg_gated_norm", cols))
    return status;
  return withElement(launch, "mg_gated_norm", {at::y, at::x, at::gate, at::weight}, [&](auto element) {
    using T = decltype(element);
    gatedNormKernel<<<unsigned(blocksOf(rows, warps)), threads, 0, streamOf(launch)>>>(
        operand<T>(launch, at::y), operand<T>(launch, at::x), operand<T>(launch, at::gate), operand<T>(launch, at::weight), rows, int(cols),
        eps);
    return launched("mg_gated_norm");
  });
}

int32_t mg_gated_norm_grad(const MgLaunch *launch) {
  MG_ENTER(mg_gated_norm_grad);
  int64_t rows = launch->ints[number::rows], cols = launch->ints[number::cols];
  int64_t partials = std::min(blocksOf(rows, least_rows), most_partials), tile_rows = blocksOf(rows, partials);
  float eps = float(launch->doubles[real::eps]);
  bool add = addsToOutput(launch, launch->ints[number::accumulate]);
  if (int32_t status = checkCols("mg_gated_norm_grad", cols))
    return status;
  Scratch scratch(launch, at::scratch);
  float *partial = scratch.take<float>(partials * cols);
  if (int32_t status = scratch.check("mg_gated_norm_grad"))
    return status;
  return withElement(launch, "mg_gated_norm_grad", {at::d_x, at::d_gate, at::d_y, at::x, at::gate, at::weight}, [&](auto element) {
    using T = decltype(element);
    gatedNormGradKernel<<<unsigned(partials), threads, size_t(warps * cols) * sizeof(float), streamOf(launch)>>>(
        operand<T>(launch, at::d_x), operand<T>(launch, at::d_gate), partial, operand<T>(launch, at::d_y), operand<T>(launch, at::x),
        operand<T>(launch, at::gate), operand<T>(launch, at::weight), rows, int(cols), tile_rows, eps);
    if (int32_t status = launched("mg_gated_norm_grad"))
      return status;
    return sumPartials(launch, "mg_gated_norm_grad", partial, partials, cols, add, operand<float>(launch, at::d_weight));
  });
}
}
