// What the CUDA kernels over picked keys share. Blocks have 128 threads; a warp takes the keys of a query, or the queries of a key, by
// turns.
#pragma once
#include "runtime/cuda/Device.cuh"

namespace megacc::runtime::cuda {

constexpr int threads = 128, warps = threads / 32;

/// Keys of a query: those before the first -1.
__device__ inline int countKeys(const int32_t *support, int kept) {
  int low = 0, high = kept;
  while (low < high) {
    int middle = (low + high) / 2;
    if (support[middle] >= 0)
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

/// Where `key` is among the ascending keys of a query; -1: nowhere.
__device__ inline int findKey(const int32_t *support, int kept, int key) {
  int low = 0, high = countKeys(support, kept);
  while (low < high) {
    int middle = (low + high) / 2;
    if (support[middle] < key)
      low = middle + 1;
    else
      high = middle;
  }
  return low < kept && support[low] == key ? low : -1;
}

/// x . y by a warp, the same bits in every lane.
template <typename T> __device__ float warpDot(const T *x, const T *y, int width) {
  float sum = 0;
  for (int c = threadIdx.x % 32; c < width; c += 32)
    sum += toFloat(x[c]) * toFloat(y[c]);
  return warpSum(sum);
}

/// The log-sum-exp of values in shared memory; begins and ends with a barrier.
__device__ inline float logSumExp(const float *values, int count, float *shared) {
  __syncthreads();
  float top = -INFINITY, sum = 0;
  for (int j = threadIdx.x; j < count; j += threads)
    top = fmaxf(top, values[j]);
  top = blockMax<threads>(top, shared);
  for (int j = threadIdx.x; j < count; j += threads)
    sum += __expf(values[j] - top);
  return top + __logf(blockSum<threads>(sum, shared));
}

/// Leaves scale * (q . k[keys[j]]) in shared memory, each by a warp; no barrier.
template <typename T>
__device__ void scoreKeys(const T *q, const T *k, int64_t stride, int width, const int32_t *keys, int count, float scale, float *scores) {
  for (int j = threadIdx.x / 32; j < count; j += warps) {
    float product = warpDot(q, k + keys[j] * stride, width);
    if (threadIdx.x % 32 == 0)
      scores[j] = scale * product;
  }
}

/// Calls body(query, j) by one warp for every query of the row from `key` on that has it as its key j; the queries go to the warps by
/// turns, in ascending order. `support` is that of the row. All threads of the block must call it.
template <typename Body> __device__ void forQueriesOf(const int32_t *support, int kept, int key, int sequence, Body &&body) {
  __shared__ int queries[threads], places[threads], counts[warps];
  int warp = threadIdx.x / 32, lane = threadIdx.x % 32, turn = 0;
  for (int first = key; first < sequence; first += threads) {
    int query = first + int(threadIdx.x), place = query < sequence ? findKey(support + int64_t(query) * kept, kept, key) : -1;
    unsigned found = __ballot_sync(0xffffffffu, place >= 0);
    if (lane == 0)
      counts[warp] = __popc(found);
    __syncthreads();
    int at = __popc(found & ((1u << lane) - 1)), total = 0;
    for (int w = 0; w < warps; ++w) {
      at += w < warp ? counts[w] : 0;
      total += counts[w];
    }
    if (place >= 0)
      queries[at] = query, places[at] = place;
    __syncthreads();
    for (int i = 0; i < total; ++i)
      if ((turn + i) % warps == warp)
        body(queries[i], places[i]);
    turn += total;
    __syncthreads();
  }
}

} // namespace megacc::runtime::cuda
