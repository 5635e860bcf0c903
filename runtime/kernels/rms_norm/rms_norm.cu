// RMSNorm with a weight, conventions section 5: y = x * rstd * weight, rstd = 1/sqrt(mean(x^2) + eps). A row belongs to a group of threads
// and stays in their registers.
#include "runtime/cuda/SumPartials.cuh"

#include <algorithm>
#include <type_traits>

using namespace megacc::runtime;
using namespace megacc::runtime::cuda;

namespace {

/// Columns that one kernel serves at most.
constexpr int64_t most_cols = 16384;
/// Rows of the sums for d_weight; lib/Kernels knows the same number.
constexpr int64_t most_partials = 528;

/// `group` threads share a row, each has `packs` packs of it; a block has max(group, 128) threads.
template <int group> constexpr int blockThreads = group < 128 ? 128 : group;

/// Sum over the group, the same bits in each of its threads.
template <int group> __device__ float groupSum(float value, float *shared) { return blockSum<group>(value, shared); }

template <int group, int packs, bool wide, typename T>
__global__ void __launch_bounds__(blockThreads<group>) rmsNormKernel(T *y, T *total, float *rstd, float *nonfinite, const T *x,
                                                                     const T *addend, const T *weight, int rows, int cols, float eps) {
  __shared__ float shared[blockThreads<group> / 32];
  constexpr int size = Pack<T>::size;
  int lane = threadIdx.x % group, row = blockIdx.x * (blockThreads<group> / group) + threadIdx.x / group;
  if (row >= rows)
    return;
  const T *from = x + int64_t(row) * cols;
  uint4 kept[packs];
  float sum = 0;
#pragma unroll
  for (int p = 0; p < packs; ++p) {
    int col = (p * group + lane) * size;
    kept[p] = loadRowRaw<wide>(from, col, cols);
  }
  if (addend) {
    const T *more = addend + int64_t(row) * cols;
    uint4 added[packs];
#pragma unroll
    for (int p = 0; p < packs; ++p)
      added[p] = loadRowRaw<wide>(more, (p * group + lane) * size, cols);
#pragma unroll
    for (int p = 0; p < packs; ++p) {
      int col = (p * group + lane) * size;
      Pack<T> value = unpack(kept[p], T()), other = unpack(added[p], T());
#pragma unroll
      for (int i = 0; i < size; ++i)
        value[i] += other[i];
      kept[p] = repack(value);
      if (total && col < cols)
        storePack(total + int64_t(row) * cols + col, value, cols - col, wide);
    }
  }
#pragma unroll
  for (int p = 0; p < packs; ++p) {
    Pack<T> value = unpack(kept[p], T());
#pragma unroll
    for (int i = 0; i < size; ++i)
      sum += value[i] * value[i];
  }
  float scale = 1.0f / sqrtf(groupSum<group>(sum, shared) / float(cols) + eps);
  if (lane == 0) {
    if (rstd)
      rstd[row] = scale;
    // A square that is infinite makes rstd 0, one that is NaN makes it NaN.
    if (nonfinite && !(scale > 0))
      *nonfinite = 1.0f;
  }
#pragma unroll
  for (int p = 0; p < packs; ++p) {
    int col = (p * group + lane) * size;
    if (col >= cols)
      continue;
    Pack<T> value = unpack(kept[p], T()), factor = unpack(loadRowRaw<wide>(weight, col, cols), T());
#pragma unroll
    for (int i = 0; i < size; ++i)
      value[i] *= scale * factor[i];
    storePack(y + int64_t(row) * cols + col, value, cols - col, wide);
  }
}

/// Adds the pack of a row that begins at `col`.
template <bool wide, typename T> __device__ void addRow(Pack<T> &pack, const T *row, int col, int cols) {
  if constexpr (wide) {
    Pack<T> more = unpack(loadRowRaw<true>(row, col, cols), T());
#pragma unroll
    for (int i = 0; i < Pack<T>::size; ++i)
      pack[i] += more[i];
  } else {
#pragma unroll
    for (int i = 0; i < Pack<T>::size; ++i)
      if (col + i < cols)
        pack[i] += toFloat(row[col + i]);
  }
}

/// Blocks share the rows, in turn; each leaves its part of d_weight as one row of `partial`.
template <int group, int packs, bool wide, typename T>
__global__ void __launch_bounds__(blockThreads<group>)
    rmsNormGradKernel(T *d_x, float *partial, const T *d_y, const T *x, const T *addend, const float *rstd, const T *weight, int rows,
                      int cols, float eps) {
  __shared__ float shared[blockThreads<group> / 32];
  constexpr int size = Pack<T>::size, groups = blockThreads<group> / group;
  int lane = threadIdx.x % group, mine = threadIdx.x / group;
  Pack<T> d_weight[packs] = {};
  for (int row = blockIdx.x * groups + mine; row < rows; row += gridDim.x * groups) {
    int64_t offset = int64_t(row) * cols;
    uint4 raw_gradient[packs], raw_value[packs];
#pragma unroll
    for (int p = 0; p < packs; ++p) {
      int col = (p * group + lane) * size;
      raw_gradient[p] = loadRowRaw<wide>(d_y + offset, col, cols);
      raw_value[p] = loadRowRaw<wide>(x + offset, col, cols);
    }
    float product = 0, squares = 0;
#pragma unroll
    for (int p = 0; p < packs; ++p) {
      int col = (p * group + lane) * size;
      Pack<T> gradient = unpack(raw_gradient[p], T()), value = unpack(raw_value[p], T()),
              factor = unpack(loadRowRaw<wide>(weight, col, cols), T());
#pragma unroll
      for (int i = 0; i < size; ++i) {
        product += gradient[i] * factor[i] * value[i];
        squares += value[i] * value[i];
      }
    }
    float r = rstd ? rstd[row] : 1.0f / sqrtf(groupSum<group>(squares, shared) / float(cols) + eps);
    float shift = groupSum<group>(product, shared) / float(cols) * r * r;
#pragma unroll
    for (int p = 0; p < packs; ++p) {
      int col = (p * group + lane) * size;
      Pack<T> gradient = unpack(raw_gradient[p], T()), value = unpack(raw_value[p], T()),
              factor = unpack(loadRowRaw<wide>(weight, col, cols), T());
#pragma unroll
      for (int i = 0; i < size; ++i) {
        d_weight[p][i] += gradient[i] * value[i] * r;
        gradient[i] = r * (gradient[i] * factor[i] - value[i] * shift);
      }
      if (addend)
        addRow<wide>(gradient, addend + offset, col, cols);
      storePack(d_x + offset + col, gradient, cols - col, wide);
    }
  }
  float *to = partial + int64_t(blockIdx.x) * cols;
  for (int turn = 0; turn < groups; ++turn) {
    if (turn == mine)
#pragma unroll
      for (int p = 0; p < packs; ++p) {
        int col = (p * group + lane) * size;
#pragma unroll
        for (int i = 0; i < size; ++i)
          if (col + i < cols)
            to[col + i] = (turn ? to[col + i] : 0.0f) + d_weight[p][i];
      }
    __syncthreads();
  }
}

/// Calls body with a group and packs that hold a row of `cols` columns of T.
template <typename T, typename Body> int32_t withShape(int64_t cols, Body &&body) {
  int64_t packs = blocksOf(cols, Pack<T>::size);
  using std::integral_constant;
  if (packs <= 32)
    return body(integral_constant<int, 32>(), integral_constant<int, 1>());
  if (packs <= 96)
    return body(integral_constant<int, 32>(), integral_constant<int, 3>());
  if (packs <= 256)
    return body(integral_constant<int, 128>(), integral_constant<int, 2>());
  if (packs <= 512)
    return body(integral_constant<int, 256>(), integral_constant<int, 2>());
  if (packs <= 1024)
    return body(integral_constant<int, 256>(), integral_constant<int, 4>());
  return body(integral_constant<int, 512>(), integral_constant<int, int(most_cols / Pack<T>::size / 512)>());
}

int32_t refuseCols(const char *kernel, int64_t cols) {
  return mg_fail("%s: cols is %lld, at most %lld; fix: a smaller width", kernel, (long long)cols, (long long)most_cols);
}

} // namespace

extern "C" {

int32_t mg_rms_norm(const MgLaunch *launch) {
  MG_ENTER(mg_rms_norm);
  int64_t rows = launch->ints[number::rows], cols = launch->ints[number::cols];
  float *rstd = operand<float>(launch, at::rstd), *nonfinite = operand<float>(launch, at::nonfinite);
  if (cols > most_cols)
    return refuseCols("mg_rms_norm", cols);
  if (int32_t status = clearFlag(launch, nonfinite, "mg_rms_norm"))
    return status;
  return withElement(launch, "mg_rms_norm", {at::y, at::sum, at::x, at::addend, at::weight}, [&](auto element) {
    using T = decltype(element);
    T *y = operand<T>(launch, at::y), *x = operand<T>(launch, at::x), *weight = operand<T>(launch, at::weight);
    T *sum = operand<T>(launch, at::sum), *addend = operand<T>(launch, at::addend);
    bool wide = areAligned({y, sum, x, addend, weight}) && cols % Pack<T>::size == 0;
    return withShape<T>(cols, [&](auto group, auto packs) {
      constexpr int threads = blockThreads<group()>, in_block = threads / group();
      return withFlag(wide, [&](auto is_wide) {
        rmsNormKernel<group(), packs(), is_wide(), T><<<unsigned(blocksOf(rows, in_block)), threads, 0, streamOf(launch)>>>(
            y, sum, rstd, nonfinite, x, addend, weight, int(rows), int(cols), float(launch->doubles[real::eps]));
        return launched("mg_rms_norm");
      });
    });
  });
}

// With g = d_y * weight: d_x = rstd * (g - x * rstd^2 * mean(g * x)) + addend, d_weight = sum over rows of d_y * x * rstd.
int32_t mg_rms_norm_grad(const MgLaunch *launch) {
  MG_ENTER(mg_rms_norm_grad);
  int64_t rows = launch->ints[number::rows], cols = launch->ints[number::cols], partials = std::min(rows, most_partials);
  bool add = addsToOutput(launch, launch->ints[number::accumulate]);
  if (cols > most_cols)
    return refuseCols("mg_rms_norm_grad", cols);
  Scratch scratch(launch, at::scratch);
  float *partial = scratch.take<float>(partials * cols);
  if (int32_t status = scratch.check("mg_rms_norm_grad"))
    return status;
  return withElement(launch, "mg_rms_norm_grad", {at::d_x, at::d_y, at::x, at::addend, at::weight}, [&](auto element) {
    using T = decltype(element);
    T *d_x = operand<T>(launch, at::d_x), *d_y = operand<T>(launch, at::d_y), *x = operand<T>(launch, at::x);
    T *weight = operand<T>(launch, at::weight), *addend = operand<T>(launch, at::addend);
    bool wide = areAligned({d_x, d_y, x, addend, weight}) && cols % Pack<T>::size == 0;
    int32_t status = withShape<T>(cols, [&](auto group, auto packs) {
      return withFlag(wide, [&](auto is_wide) {
        rmsNormGradKernel<group(), packs(), is_wide(), T><<<unsigned(partials), blockThreads<group()>, 0, streamOf(launch)>>>(
            d_x, partial, d_y, x, addend, operand<float>(launch, at::rstd), weight, int(rows), int(cols),
            float(launch->doubles[real::eps]));
        return launched("mg_rms_norm_grad");
      });
    });
    return status ? status : sumPartials(launch, "mg_rms_norm_grad", partial, partials, cols, add, operand<float>(launch, at::d_weight));
  });
}
}
