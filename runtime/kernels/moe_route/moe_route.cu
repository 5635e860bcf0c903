// Routing of tokens to experts, conventions section 7: scores, the best slots, weights, and rows sorted by expert, then token.
//
// A warp per token chooses and leaves, for every tile of 64 tokens and every expert, which tokens picked it; one block turns the numbers of
// picks into the first row of each tile within its expert; the row of a pick is that plus the picks of earlier tokens of the tile.
#include "runtime/core/Scratch.h"
#include "runtime/kernels/moe_route/Router.cuh"

using namespace megacc::runtime;
using namespace megacc::runtime::cuda;

namespace {

struct Router {
  int64_t rows;
  int experts, slots, kept, nulls;
  bool sigmoid;
  double scale;
  __device__ int columns() const { return experts + (nulls > 0); }
};

/// Bit c of the result: expert lane + 32 c is among the `slots` best of the pool. Of equal preferences the lower index wins, so an expert
/// wins against the null copies, which come last.
template <int chunks> __device__ uint32_t choose(const Router &router, const float (&preference)[chunks], float null_preference) {
  const int lane = threadIdx.x % 32;
  int nulls_left = router.nulls, picked = 0, last = -1;
  float last_preference = 0;
  uint32_t chosen = 0;
  for (int left = router.slots; left > 0 && picked < router.kept; --left) {
    int best = max_experts;
    float best_preference = -INFINITY;
    for (int c = 0; c < chunks; ++c) {
      int e = lane + 32 * c;
      bool open = last < 0 || preference[c] < last_preference || (preference[c] == last_preference && e > last);
      if (e < router.experts && open && (best == max_experts || preference[c] > best_preference))
        best = e, best_preference = preference[c];
    }
    for (int offset = 16; offset; offset /= 2) {
      int other = __shfl_xor_sync(~0u, best, offset);
      float other_preference = __shfl_xor_sync(~0u, best_preference, offset);
      if (other_preference > best_preference || (other_preference == best_preference && other < best))
        best = other, best_preference = other_preference;
    }
    if (nulls_left && null_preference > best_preference) {
      left -= min(left, nulls_left);
      nulls_left = 0;
      if (left == 0)
        break;
    }
    if (best % 32 == lane)
      chosen |= 1u << best / 32;
    ++picked;
    last = best, last_preference = best_preference;
  }
  return chosen;
}

/// picked[tile, experts]: a bit for every token of the tile; counts[experts, tiles]: how many.
template <int chunks>
__global__ void __launch_bounds__(tile_warps * 32) chooseExperts(Router router, float *weights, int32_t *choice, const float *all_logits,
                                                                 const float *bias, unsigned long long *picked, int32_t *counts) {
  __shared__ unsigned long long bits[32 * chunks];
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  for (int e = threadIdx.x; e < router.experts; e += blockDim.x)
    bits[e] = 0;
  __syncthreads();
  for (int local = warp; local < tile_tokens; local += tile_warps) {
    const int64_t t = int64_t(blockIdx.x) * tile_tokens + local;
    if (t >= router.rows)
      break;
    const float *logits = all_logits + t * router.columns();
    Softmax<chunks> softmax(logits, router.experts, router.nulls);
    float preference[chunks], null_preference = router.nulls ? logits[router.experts] : 0.0f;
    double share = softmax.share;
    bool broken;
    if (router.sigmoid) {
      share = 1.0;
      writeSigmoids(logits, router.experts, softmax.value);
      bool mine = false;
      for (int c = 0; c < chunks; ++c) {
        int e = lane + 32 * c;
        preference[c] = e < router.experts ? softmax.value[c] + bias[e] : -INFINITY;
        mine |= isnan(preference[c]);
      }
      if (router.nulls) {
        null_preference = sigmoidOf(null_preference) + bias[router.experts];
        mine |= isnan(null_preference);
      }
      broken = __any_sync(~0u, mine);
    } else { // the softmax keeps the order of the logits
      for (int c = 0; c < chunks; ++c)
        preference[c] = lane + 32 * c < router.experts ? logits[lane + 32 * c] : -INFINITY;
      broken = isnan(softmax.pool_sum);
    }
    const uint32_t chosen = broken ? 0 : choose(router, preference, null_preference);
    double part = 0;
    for (int c = 0; c < chunks; ++c)
      if (chosen >> c & 1)
        part += softmax.value[c] * share;
    const double factor = router.slots > 1 ? router.scale / (warpSum(part) + tiny) : router.scale;
    int count = 0;
    for (int c = 0; c < chunks; ++c) {
      const bool mine = chosen >> c & 1;
      const uint32_t all = __ballot_sync(~0u, mine);
      if (mine) {
        const int64_t pick = t * router.kept + count + __popc(all & ((1u << lane) - 1));
        choice[pick] = lane + 32 * c;
        weights[pick] = float(softmax.value[c] * share * factor);
        atomicOr(&bits[lane + 32 * c], 1ull << local);
      }
      count += __popc(all);
    }
    for (int k = count + lane; k < router.kept; k += 32) {
      choice[t * router.kept + k] = -1;
      weights[t * router.kept + k] = 0.0f;
    }
  }
  __syncthreads();
  for (int e = threadIdx.x; e < router.experts; e += blockDim.x) {
    picked[int64_t(blockIdx.x) * router.experts + e] = bits[e];
    counts[int64_t(e) * gridDim.x + blockIdx.x] = __popcll(bits[e]);
  }
}

constexpr int scan_threads = 512;

/// Sum over the block's threads up to and including this one; the second number is that of all threads.
__device__ int2 scanBlock(int32_t value) {
  __shared__ int32_t warp_sums[scan_threads / 32];
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  for (int offset = 1; offset < 32; offset *= 2) {
    int32_t other = __shfl_up_sync(~0u, value, offset);
    value += lane >= offset ? other : 0;
  }
  __syncthreads();
  if (lane == 31)
    warp_sums[warp] = value;
  __syncthreads();
  int32_t total = 0;
  for (int w = 0; w < scan_threads / 32; ++w) {
    value += w < warp ? warp_sums[w] : 0;
    total += warp_sums[w];
  }
  return {value, total};
}

/// first[experts, tiles]: the sum of all counts[experts, tiles] before; a block per expert.
__global__ void __launch_bounds__(scan_threads) sumCounts(int32_t *first, int32_t *offsets, const int32_t *counts, int64_t tiles) {
  const int64_t begin = blockIdx.x * tiles;
  int32_t before = 0;
#pragma unroll 8
  for (int64_t i = threadIdx.x; i < begin; i += scan_threads)
    before += counts[i];
  int32_t row = scanBlock(before).y;
  if (threadIdx.x == 0)
    offsets[blockIdx.x] = row;
  for (int64_t start = 0; start < tiles; start += scan_threads) {
    const int64_t tile = start + threadIdx.x;
    const int32_t count = tile < tiles ? counts[begin + tile] : 0;
    const int2 sums = scanBlock(count);
    if (tile < tiles)
      first[begin + tile] = row + sums.x - count;
    row += sums.y;
  }
  if (blockIdx.x == gridDim.x - 1 && threadIdx.x == 0)
    offsets[gridDim.x] = row;
}

__global__ void placePicks(int32_t *position, const int32_t *choice, const unsigned long long *picked, const int32_t *first, int64_t picks,
                           int kept, int experts, int64_t tiles) {
  const int64_t pick = int64_t(blockIdx.x) * blockDim.x + threadIdx.x, t = pick / kept, tile = t / tile_tokens;
  if (pick >= picks)
    return;
  const int e = choice[pick];
  position[pick] = e < 0 ? -1 : first[e * tiles + tile] + __popcll(picked[tile * experts + e] & ((1ull << t % tile_tokens) - 1));
}

} // namespace

extern "C" int32_t mg_moe_route(const MgLaunch *launch) {
  MG_ENTER(mg_moe_route);
  const char *kernel = "mg_moe_route";
  const int64_t *ints = launch->ints;
  Router router = {ints[number::rows],       int(ints[number::experts]), int(ints[number::slots]),    int(ints[number::kept]),
                   int(ints[number::nulls]), ints[number::sigmoid] != 0, launch->doubles[real::scale]};
  const int64_t tiles = blocksOf(router.rows, tile_tokens), picks = router.rows * router.kept;
  Scratch scratch(launch, at::scratch);
  auto *picked = scratch.take<unsigned long long>(tiles * router.experts);
  auto *counts = scratch.take<int32_t>(tiles * router.experts);
  auto *first = scratch.take<int32_t>(tiles * router.experts);
  if (int32_t status = scratch.check(kernel))
    return status;
  cudaStream_t stream = streamOf(launch);
  auto *choice = operand<int32_t>(launch, at::choice), *offsets = operand<int32_t>(launch, at::offsets);
  int32_t status = withChunks(kernel, router.experts, [&](auto chunks) {
    chooseExperts<chunks><<<unsigned(tiles), tile_warps * 32, 0, stream>>>(router, operand<float>(launch, at::weights), choice,
                                                                           operand<float>(launch, at::logits),
                                                                           operand<float>(launch, at::bias), picked, counts);
  });
  if (status)
    return status;
  sumCounts<<<unsigned(router.experts), scan_threads, 0, stream>>>(first, offsets, counts, tiles);
  MG_CUDA(kernel, cudaGetLastError());
  placePicks<<<unsigned(blocksOf(picks, 256)), 256, 0, stream>>>(operand<int32_t>(launch, at::position), choice, picked, first, picks,
                                                                 router.kept, router.experts, tiles);
  return launched(kernel);
}
