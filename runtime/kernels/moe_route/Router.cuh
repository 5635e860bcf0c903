// One row of router logits in the hands of a warp: lane l holds experts l, l + 32, ...
#pragma once
#include "runtime/cuda/Launching.cuh"

#include <cmath>

namespace megacc::runtime::cuda {

constexpr int max_experts = 512;
constexpr int tile_tokens = 64, tile_warps = 16; // of a block
constexpr double tiny = 1e-20;                   // of every normalisation (conventions 7.3 and 7.6)

__device__ inline float maxWarp(float value) {
  for (int offset = 16; offset; offset /= 2)
    value = fmaxf(value, __shfl_xor_sync(~0u, value, offset));
  return value;
}

__device__ inline float sigmoidOf(float x) { return 1.0f / (1.0f + expf(-x)); }

/// Softmax statistics of a row of logits, over the experts alone and over the pool: the experts and all copies of the null expert. Lanes
/// without an expert have 0 in `value`.
template <int chunks> struct Softmax {
  float value[chunks]; // exp(logit - top)
  float top;           // largest logit of an expert
  double sum;          // of the values
  double null;         // exp(null logit - largest logit of the pool)
  double pool_sum;     // of exp(logit - largest logit of the pool) over the pool
  double share;        // value * share = probability in the pool
  float pool_top;      // largest logit of the pool

  __device__ Softmax(const float *logits, int experts, int nulls) : top(-INFINITY), null(0) {
    const int lane = threadIdx.x % 32;
    for (int c = 0; c < chunks; ++c) {
      int e = lane + 32 * c;
      value[c] = e < experts ? logits[e] : -INFINITY;
      top = fmaxf(top, value[c]);
    }
    top = maxWarp(top);
    double part = 0;
    for (int c = 0; c < chunks; ++c) {
      value[c] = lane + 32 * c < experts ? expf(value[c] - top) : 0.0f;
      part += value[c];
    }
    sum = warpSum(part);
    pool_top = nulls ? fmaxf(top, logits[experts]) : top;
    share = expf(top - pool_top);
    if (nulls)
      null = expf(logits[experts] - pool_top);
    pool_sum = sum * share + double(nulls) * null;
    share /= pool_sum;
  }

  /// Log-sum-exp of the pool; NaN where pool_sum is.
  __device__ double logSum() const { return pool_top + log(pool_sum); }
};

/// Sigmoids of a row; lanes without an expert have 0.
template <int chunks> __device__ void writeSigmoids(const float *logits, int experts, float (&value)[chunks]) {
  for (int c = 0; c < chunks; ++c) {
    int e = threadIdx.x % 32 + 32 * c;
    value[c] = e < experts ? sigmoidOf(logits[e]) : 0.0f;
  }
}

/// Calls launch(std::integral_constant<int, chunks>()) with chunks of 32 lanes for the experts.
template <typename Launch> int32_t withChunks(const char *kernel, int64_t experts, Launch &&launch) {
  if (experts > max_experts)
    return mg_fail("%s: experts is %lld, at most %d", kernel, (long long)experts, max_experts);
  if (experts <= 32)
    launch(std::integral_constant<int, 1>());
  else if (experts <= 128)
    launch(std::integral_constant<int, 4>());
  else
    launch(std::integral_constant<int, max_experts / 32>());
  return launched(kernel);
}

} // namespace megacc::runtime::cuda
