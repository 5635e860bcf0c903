// The keys of every query with the largest scores of an indexer: a block scores all keys of a query, finds the smallest score that is
// picked by a radix select over its bits, and writes the keys in their order.
#include "runtime/cuda/Documents.cuh"
#include "runtime/kernels/sparse_attention/Support.cuh"

#include <algorithm>

using namespace megacc::runtime;
using namespace megacc::runtime::cuda;

namespace {

/// Queries at once, each with a row of scores in scratch; lib/Kernels/cuda/Sparse.cpp has the same number.
constexpr int64_t most_rows = 1056;

/// Integers in the order of the scores; -0 becomes +0.
__device__ inline uint32_t orderOf(float score) {
  uint32_t bits = __float_as_uint(score + 0.0f);
  return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

/// How many threads before this one hold `flag`, and in `total` how many of the block do; `counts` has a number for each warp.
__device__ inline int rankOf(bool flag, int *counts, int &total) {
  int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  unsigned votes = __ballot_sync(0xffffffffu, flag);
  if (lane == 0)
    counts[warp] = __popc(votes);
  __syncthreads();
  int rank = __popc(votes & ((1u << lane) - 1));
  total = 0;
  for (int w = 0; w < warps; ++w) {
    rank += w < warp ? counts[w] : 0;
    total += counts[w];
  }
  __syncthreads();
  return rank;
}

/// The `kept`-th largest of `count` scores, more than `kept`, and how many of those equal to it are picked.
__device__ uint32_t findLeast(const float *scores, int count, int kept, int *histogram, int &equals) {
  __shared__ uint32_t prefix;
  __shared__ int left;
  if (threadIdx.x == 0)
    prefix = 0, left = kept;
  for (int shift = 24; shift >= 0; shift -= 8) {
    for (int bin = threadIdx.x; bin < 256; bin += threads)
      histogram[bin] = 0;
    __syncthreads();
    for (int j = threadIdx.x; j < count; j += threads) {
      uint32_t order = orderOf(scores[j]);
      if (shift == 24 || order >> (shift + 8) == prefix >> (shift + 8))
        atomicAdd(&histogram[order >> shift & 255], 1); // counts: the order of the sum does not matter
    }
    __syncthreads();
    if (threadIdx.x == 0) {
      int bin = 255;
      for (; histogram[bin] < left; --bin)
        left -= histogram[bin];
      prefix |= uint32_t(bin) << shift;
    }
    __syncthreads();
  }
  equals = left;
  return prefix;
}

template <typename T>
__global__ void selectKernel(int32_t *all_support, float *all_scores, const T *q, const T *k, const T *weights, const int32_t *documents,
                             int64_t rows, int sequence, int heads, int dim, int kept) {
  extern __shared__ float query[]; // heads * dim of q, then heads of weights
  __shared__ int histogram[256], counts[warps], first_shared;
  float *scores = all_scores + int64_t(blockIdx.x) * sequence;
  for (int64_t t = blockIdx.x; t < rows; t += gridDim.x) {
    int64_t row = t / sequence * sequence;
    int position = int(t - row);
    if (threadIdx.x == 0)
      first_shared = 0;
    for (int i = threadIdx.x; i < heads * dim; i += threads)
      query[i] = toFloat(q[t * heads * dim + i]);
    for (int h = threadIdx.x; h < heads; h += threads)
      query[heads * dim + h] = toFloat(weights[t * heads + h]);
    __syncthreads();
    if (documents)
      for (int s = threadIdx.x; s <= position; s += threads)
        if (startsDocument(documents + row, s))
          atomicMax(&first_shared, s);
    __syncthreads();
    int first = first_shared, count = position + 1 - first;
    bool broken = false;
    for (int j = threadIdx.x; j < count; j += threads) {
      const T *key = k + (row + first + j) * dim;
      float score = 0;
      for (int h = 0; h < heads; ++h) {
        float product = 0;
        for (int c = 0; c < dim; ++c)
          product += query[h * dim + c] * toFloat(key[c]);
        score += query[heads * dim + h] * (product < 0 ? 0 : product); // NaN stays
      }
      scores[j] = score;
      broken |= score != score;
    }
    broken = __syncthreads_or(broken);
    int equals = 0, written = 0, equals_before = 0;
    uint32_t least = !broken && count > kept ? findLeast(scores, count, kept, histogram, equals) : 0;
    int32_t *support = all_support + t * kept;
    for (int begin = 0; begin < count && !broken; begin += threads) {
      int j = begin + int(threadIdx.x), total = 0;
      uint32_t order = j < count ? orderOf(scores[j]) : 0;
      bool same = j < count && count > kept && order == least;
      int rank = rankOf(same, counts, total);
      bool picked = j < count && (count <= kept || order > least || (same && equals_before + rank < equals));
      equals_before += total;
      rank = rankOf(picked, counts, total);
      if (picked)
        support[written + rank] = first + j;
      written += total;
    }
    for (int j = written + int(threadIdx.x); j < kept; j += threads)
      support[j] = -1;
    __syncthreads();
  }
}

} // namespace

extern "C" int32_t mg_select_keys(const MgLaunch *launch) {
  MG_ENTER(mg_select_keys);
  int64_t sequence = launch->ints[number::sequence], rows = launch->ints[number::batch] * sequence, heads = launch->ints[number::heads];
  int64_t dim = launch->ints[number::dim], blocks = std::min(rows, most_rows);
  Scratch scratch(launch, at::scratch);
  float *scores = scratch.take<float>(blocks * sequence);
  if (int32_t status = scratch.check("mg_select_keys"))
    return status;
  return withElement(launch, "mg_select_keys", {at::q, at::k, at::weights}, [&](auto element) {
    using T = decltype(element);
    selectKernel<<<unsigned(blocks), threads, size_t(heads * (dim + 1)) * sizeof(float), streamOf(launch)>>>(
        operand<int32_t>(launch, at::support), scores, operand<T>(launch, at::q), operand<T>(launch, at::k),
        operand<T>(launch, at::weights), operand<int32_t>(launch, at::documents), rows, int(sequence), int(heads), int(dim),
        int(launch->ints[number::kept]));
    return launched("mg_select_keys");
  });
}
