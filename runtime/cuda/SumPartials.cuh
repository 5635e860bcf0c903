// The second half of sums over rows: partial rows that blocks left in scratch, added in their order.
#pragma once
#include "runtime/cuda/Device.cuh"

namespace megacc::runtime::cuda {

/// Columns of a block, and threads that share a column.
inline constexpr int partial_cols = 32, partial_lanes = 16;

/// total[c] (+)= sum over `count` partial rows of `cols`; out_col(c) is where column c goes.
template <typename Place>
__global__ void sumPartialsKernel(const float *partial, int count, int cols, bool add, float *total, Place place) {
  __shared__ float sums[partial_lanes][partial_cols];
  int col = blockIdx.x * partial_cols + threadIdx.x, share = (count + partial_lanes - 1) / partial_lanes;
  int begin = threadIdx.y * share, end = min(begin + share, count);
  float sum = 0;
  if (col < cols)
#pragma unroll 8
    for (int row = begin; row < end; ++row)
      sum += partial[int64_t(row) * cols + col];
  sums[threadIdx.y][threadIdx.x] = sum;
  __syncthreads();
  if (threadIdx.y || col >= cols)
    return;
  sum = sums[0][threadIdx.x];
#pragma unroll
  for (int lane = 1; lane < partial_lanes; ++lane)
    sum += sums[lane][threadIdx.x];
  float &to = total[place(col)];
  to = add ? to + sum : sum;
}

/// Where sums stay in the order of their columns.
struct SamePlace {
  __device__ int operator()(int col) const { return col; }
};

template <typename Place = SamePlace>
int32_t sumPartials(const MgLaunch *launch, const char *kernel, const float *partial, int64_t count, int64_t cols, bool add, float *total,
                    Place place = {}) {
  sumPartialsKernel<<<unsigned(blocksOf(cols, partial_cols)), dim3(partial_cols, partial_lanes), 0, streamOf(launch)>>>(
      partial, int(count), int(cols), add, total, place);
  return launched(kernel);
}

} // namespace megacc::runtime::cuda
