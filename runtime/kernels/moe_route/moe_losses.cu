// The auxiliary losses of a router, the gradient of its logits, and what the picks of a step do to the bias of a sigmoid router;
// conventions section 7.
#include "runtime/core/Scratch.h"
#include "runtime/kernels/moe_route/Router.cuh"

using namespace megacc::runtime;
using namespace megacc::runtime::cuda;

namespace {

/// sums[tile, experts + 1]: over the tokens of the tile the probability of each expert, and the square of the log-sum-exp.
template <int chunks>
__global__ void __launch_bounds__(tile_warps * 32)
    sumTokens(double *sums, const float *all_logits, int64_t rows, int experts, int nulls, bool sigmoid) {
  __shared__ double total[32 * chunks + 1];
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  double probability[chunks] = {}, square = 0;
  for (int local = warp; local < tile_tokens; local += tile_warps) {
    const int64_t t = int64_t(blockIdx.x) * tile_tokens + local;
    if (t >= rows)
      break;
    const float *logits = all_logits + t * (experts + (nulls > 0));
    Softmax<chunks> softmax(logits, experts, nulls);
    const double log_sum = softmax.logSum();
    square += log_sum * log_sum;
    double whole = softmax.sum;
    bool broken = isnan(softmax.pool_sum);
    if (sigmoid) {
      writeSigmoids(logits, experts, softmax.value);
      double part = 0;
      for (int c = 0; c < chunks; ++c)
        part += softmax.value[c];
      whole = warpSum(part) + tiny;
      broken = nulls && isnan(logits[experts]);
    }
    if (broken) // a token without a score: the loss must not be finite
      whole = NAN;
    for (int c = 0; c < chunks; ++c)
      probability[c] += softmax.value[c] / whole;
  }
  for (int w = 0; w < tile_warps; ++w) { // one warp after the other
    if (warp == w) {
      for (int c = 0; c < chunks; ++c)
        total[lane + 32 * c] = (w ? total[lane + 32 * c] : 0.0) + probability[c];
      if (lane == 0)
        total[32 * chunks] = (w ? total[32 * chunks] : 0.0) + square;
    }
    __syncthreads();
  }
  double *sum = sums + int64_t(blockIdx.x) * (experts + 1);
  for (int e = threadIdx.x; e <= experts; e += blockDim.x)
    sum[e] = total[e < experts ? e : 32 * chunks];
}

/// A warp for each of the experts + 1 sums over tiles.
__global__ void sumTiles(double *statistics, const double *sums, const int32_t *offsets, int64_t tiles, int experts) {
  const int e = blockIdx.x, lane = threadIdx.x;
  double sum = 0;
  for (int64_t tile = lane; tile < tiles; tile += 32)
    sum += sums[tile * (experts + 1) + e];
  sum = warpSum(sum);
  if (lane == 0) {
    statistics[experts + e] = sum;
    if (e < experts)
      statistics[e] = offsets[e + 1] - offsets[e];
  }
}

__global__ void computeLosses(float *aux_loss, float *z_loss, const double *statistics, int64_t tokens, int experts, double aux, double z) {
  double picks = 0, balance = 0;
  for (int e = threadIdx.x; e < experts; e += 32) {
    picks += statistics[e];
    balance += statistics[e] * statistics[experts + e];
  }
  picks = warpSum(picks), balance = warpSum(balance);
  if (threadIdx.x == 0) {
    *aux_loss = float(aux * experts * balance / fmax(picks, 1.0) / double(tokens));
    *z_loss = float(z * statistics[2 * experts] / double(tokens));
  }
}

struct Gradient {
  int64_t rows, tokens;
  int experts, slots, kept, nulls;
  bool sigmoid;
  double scale, aux, z;
};

constexpr int gradient_warps = 8; // a warp per token

template <int chunks>
__global__ void __launch_bounds__(gradient_warps * 32)
    differentiate(Gradient g, float *all_gradients, const float *d_weights, const float *all_logits, const int32_t *choice,
                  const double *statistics) {
  const int lane = threadIdx.x % 32;
  const int64_t t = int64_t(blockIdx.x) * gradient_warps + threadIdx.x / 32;
  if (t >= g.rows)
    return;
  const int columns = g.experts + (g.nulls > 0);
  const float *logits = all_logits + t * columns;
  float *d_logits = all_gradients + t * columns;
  Softmax<chunks> softmax(logits, g.experts, g.nulls);
  const double push = 2 * g.z * softmax.logSum() / double(g.tokens), share = g.sigmoid ? 1.0 : softmax.share;
  float d_weight[chunks]; // of the experts that were picked
  uint32_t picked = 0;
#pragma unroll
  for (int c = 0; c < chunks; ++c) {
    d_weight[c] = 0.0f;
    for (int k = 0; k < g.kept; ++k)
      if (choice[t * g.kept + k] == lane + 32 * c)
        picked |= 1u << c, d_weight[c] = d_weights[t * g.kept + k];
  }
  if (g.sigmoid)
    writeSigmoids(logits, g.experts, softmax.value);

  // d_score of a chosen expert = inverse * (d_weight - mean)
  double mean = 0, inverse = g.scale;
  if (g.slots > 1) {
    double chosen = 0;
#pragma unroll
    for (int c = 0; c < chunks; ++c)
      if (picked >> c & 1) {
        chosen += softmax.value[c] * share;
        mean += softmax.value[c] * share * d_weight[c];
      }
    chosen = warpSum(chosen) + tiny;
    mean = warpSum(mean) / chosen;
    inverse /= chosen;
  }
  double total = 0, shift = 0, picks = 0;
#pragma unroll
  for (int c = 0; c < chunks; ++c)
    if (int e = lane + 32 * c; e < g.experts) {
      total += softmax.value[c];
      shift += softmax.value[c] * statistics[e];
      picks += statistics[e];
    }
  total = warpSum(total) + (g.sigmoid ? tiny : 0.0);
  shift = warpSum(shift) / total;
  // Gradient of the auxiliary loss by the probability of an expert, for one pick of it.
  const double aux = g.aux * g.experts / fmax(warpSum(picks), 1.0) / double(g.tokens);
  double flow = 0;
  if (!g.sigmoid) {
#pragma unroll
    for (int c = 0; c < chunks; ++c)
      if (picked >> c & 1)
        flow += softmax.value[c] * share * inverse * (d_weight[c] - mean);
    flow = warpSum(flow);
  }
#pragma unroll
  for (int c = 0; c < chunks; ++c) {
    const int e = lane + 32 * c;
    if (e >= g.experts)
      continue;
    const double value = softmax.value[c], d_score = picked >> c & 1 ? inverse * (d_weight[c] - mean) : 0.0;
    const double d_probability = aux * (statistics[e] - shift) / total;
    d_logits[e] = float(g.sigmoid ? (d_probability + d_score) * value * (1 - value) + push * softmax.share * expf(logits[e] - softmax.top)
                                  : value * (share * (push - flow + d_score) + d_probability));
  }
  if (g.nulls && lane == 0)
    d_logits[g.experts] = float(double(g.nulls) * softmax.null / softmax.pool_sum * (push - flow));
}

__global__ void countPicks(float *picks, const int32_t *offsets, int experts, bool add) {
  for (int e = threadIdx.x; e < experts; e += blockDim.x)
    picks[e] = (add ? picks[e] : 0.0f) + float(offsets[e + 1] - offsets[e]);
}

__global__ void updateBias(float *bias, const float *picks, const float *norm, int experts, float rate) {
  if (!isfinite(*norm))
    return;
  double sum = 0;
  for (int e = threadIdx.x; e < experts; e += 32)
    sum += picks[e];
  sum = warpSum(sum);
  for (int e = threadIdx.x; e < experts; e += 32) {
    double lack = sum - double(experts) * picks[e]; // exact, so equal counts move nothing
    bias[e] += lack > 0 ? rate : lack < 0 ? -rate : 0.0f;
  }
}

} // namespace

extern "C" {

int32_t mg_moe_statistics(const MgLaunch *launch) {
  MG_ENTER(mg_moe_statistics);
  const char *kernel = "mg_moe_statistics";
  const int64_t rows = launch->ints[number::rows], tiles = blocksOf(rows, tile_tokens);
  const int experts = int(launch->ints[number::experts]), nulls = int(launch->ints[number::nulls]);
  Scratch scratch(launch, at::scratch);
  auto *sums = scratch.take<double>(tiles * (experts + 1));
  if (int32_t status = scratch.check(kernel))
    return status;
  int32_t status = withChunks(kernel, experts, [&](auto chunks) {
    sumTokens<chunks><<<unsigned(tiles), tile_warps * 32, 0, streamOf(launch)>>>(sums, operand<float>(launch, at::logits), rows, experts,
                                                                                 nulls, launch->ints[number::sigmoid] != 0);
  });
  if (status)
    return status;
  sumTiles<<<unsigned(experts + 1), 32, 0, streamOf(launch)>>>(operand<double>(launch, at::statistics), sums, integers(launch, at::offsets),
                                                               tiles, experts);
  return launched(kernel);
}

int32_t mg_moe_losses(const MgLaunch *launch) {
  MG_ENTER(mg_moe_losses);
  computeLosses<<<1, 32, 0, streamOf(launch)>>>(operand<float>(launch, at::aux_loss), operand<float>(launch, at::z_loss),
                                                operand<double>(launch, at::statistics), launch->ints[number::tokens],
                                                int(launch->ints[number::experts]), launch->doubles[real::aux], launch->doubles[real::z]);
  return launched("mg_moe_losses");
}

int32_t mg_moe_route_grad(const MgLaunch *launch) {
  MG_ENTER(mg_moe_route_grad);
  const int64_t *ints = launch->ints;
  Gradient gradient = {ints[number::rows],         ints[number::tokens],     int(ints[number::experts]), int(ints[number::slots]),
                       int(ints[number::kept]),    int(ints[number::nulls]), ints[number::sigmoid] != 0, launch->doubles[real::scale],
                       launch->doubles[real::aux], launch->doubles[real::z]};
  return withChunks("mg_moe_route_grad", gradient.experts, [&](auto chunks) {
    differentiate<chunks><<<unsigned(blocksOf(gradient.rows, gradient_warps)), gradient_warps * 32, 0, streamOf(launch)>>>(
        gradient, operand<float>(launch, at::d_logits), operand<float>(launch, at::d_weights), operand<float>(launch, at::logits),
        integers(launch, at::choice), operand<double>(launch, at::statistics));
  });
}

int32_t mg_moe_count_picks(const MgLaunch *launch) {
  MG_ENTER(mg_moe_count_picks);
  countPicks<<<1, 256, 0, streamOf(launch)>>>(operand<float>(launch, at::picks), integers(launch, at::offsets),
                                              int(launch->ints[number::experts]), addsToOutput(launch, launch->ints[number::accumulate]));
  return launched("mg_moe_count_picks");
}

int32_t mg_moe_bias_update(const MgLaunch *launch) {
  MG_ENTER(mg_moe_bias_update);
  updateBias<<<1, 32, 0, streamOf(launch)>>>(operand<float>(launch, at::bias), operand<float>(launch, at::picks),
                                             operand<float>(launch, at::norm), int(launch->ints[number::experts]),
                                             float(launch->doubles[real::rate]));
  return launched("mg_moe_bias_update");
}
}
