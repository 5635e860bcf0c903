// How far an indexer's scores are from the attention they pick keys for, and the gradient of that by the indexer (conventions 6.8).
#include "runtime/core/Launch.h"
#include "runtime/core/Scratch.h"
#include "runtime/kernels/sparse_attention/Support.h"

using namespace megacc::runtime;

extern "C" {

int32_t mg_support_kl(const MgLaunch *launch) {
  MG_ENTER(mg_support_kl);
  int64_t batch = launch->ints[number::batch], S = launch->ints[number::sequence], heads = launch->ints[number::heads];
  int64_t qk_dim = launch->ints[number::qk_dim], index_heads = launch->ints[number::index_heads], kept = launch->ints[number::kept];
  int64_t index_dim = launch->ints[number::index_dim], stride_q = heads * qk_dim, blocks = (S + query_tile - 1) / query_tile;
  float scale = float(launch->doubles[real::scale]), index_scale = float(launch->doubles[real::index_scale]);
  const int32_t *support = integers(launch, at::support);
  float *difference = output(launch, at::difference);
  Scratch scratch(launch, at::scratch);
  float *all_values = scratch.take<float>(2 * std::min(batch * blocks, most_lanes) * kept);
  double *sums = scratch.take<double>(batch * blocks);
  if (int32_t status = scratch.check("mg_support_kl"))
    return status;
  parallelLanes(batch * blocks, [&](int64_t lane, int64_t tile) {
    int64_t first_row = tile / blocks * S, begin = first_row + tile % blocks * query_tile,
            end = std::min(begin + query_tile, first_row + S);
    float *values = all_values + 2 * lane * kept, *scores = values + kept;
    RowsOf index_k{input(launch, at::index_k) + first_row * index_dim, index_dim};
    sums[tile] = 0;
    for (int64_t t = begin; t < end; ++t) {
      const int32_t *keys = support + t * kept;
      int64_t count = countKeys(keys, kept);
      float *target = difference + t * kept; // until the difference takes its place
      std::fill(target, target + kept, 0.0f);
      std::fill(scores, scores + count, 0.0f);
      for (int64_t h = 0; h < heads; ++h) {
        RowsOf k{input(launch, at::k) + first_row * stride_q + h * qk_dim, stride_q};
        attendKeys(input(launch, at::q) + t * stride_q + h * qk_dim, qk_dim, k, keys, count, scale, values);
        for (int64_t j = 0; j < count; ++j)
          target[j] += values[j] / float(heads);
      }
      for (int64_t h = 0; h < index_heads; ++h) {
        gatherDots(input(launch, at::index_q) + (t * index_heads + h) * index_dim, index_dim, index_k, keys, count, values);
        float weight = input(launch, at::index_weights)[t * index_heads + h] * index_scale;
        for (int64_t j = 0; j < count; ++j)
          scores[j] += weight * (values[j] < 0 ? 0 : values[j]);
      }
      float top = largestOf(scores, count, -INFINITY);
      float log_sum = top + std::log(sumOf(count, [&](int64_t j) { return fastExp(scores[j] - top); }));
      double sum = count ? 0 : NAN; // a query without a support had a score that is NaN
      for (int64_t j = 0; j < count; ++j) {
        if (target[j] != 0)
          sum += double(target[j]) * (std::log(target[j]) - (scores[j] - log_sum));
        target[j] = fastExp(scores[j] - log_sum) - target[j];
      }
      sums[tile] += sum;
    }
  });
  double total = 0;
  for (int64_t tile = 0; tile < batch * blocks; ++tile)
    total += sums[tile];
  *output(launch, at::loss) = float(launch->doubles[real::kl] * total / double(launch->ints[number::tokens]));
  return 0;
}

// One tile has all queries of a row and head of the indexer; the heads' parts of d_index_k are added afterwards, in their order.
int32_t mg_support_kl_grad(const MgLaunch *launch) {
  MG_ENTER(mg_support_kl_grad);
  int64_t batch = launch->ints[number::batch], S = launch->ints[number::sequence], heads = launch->ints[number::index_heads];
  int64_t dim = launch->ints[number::index_dim], kept = launch->ints[number::kept], stride = heads * dim;
  float factor = float(launch->doubles[real::index_scale] * launch->doubles[real::factor]);
  const int32_t *support = integers(launch, at::support);
  Scratch scratch(launch, at::scratch);
  float *all_values = scratch.take<float>(batch * heads * kept), *all_d_k = scratch.take<float>(batch * heads * S * dim);
  if (int32_t status = scratch.check("mg_support_kl_grad"))
    return status;
  parallelFor(batch * heads, [&](int64_t tile) {
    int64_t first_row = tile / heads * S, h = tile % heads;
    RowsOf k{input(launch, at::index_k) + first_row * dim, dim};
    float *values = all_values + tile * kept, *d_k = all_d_k + tile * S * dim;
    std::fill(d_k, d_k + S * dim, 0.0f);
    for (int64_t t = first_row; t < first_row + S; ++t) {
      const int32_t *keys = support + t * kept;
      const float *q = input(launch, at::index_q) + t * stride + h * dim, *difference = input(launch, at::difference) + t * kept;
      int64_t count = countKeys(keys, kept);
      gatherDots(q, dim, k, keys, count, values);
      float d_weight = sumOf(count, [&](int64_t j) { return values[j] > 0 ? values[j] * difference[j] : 0.0f; });
      output(launch, at::d_index_weights)[t * heads + h] = d_weight * factor;
      float weight = input(launch, at::index_weights)[t * heads + h] * factor;
      for (int64_t j = 0; j < count; ++j)
        values[j] = values[j] > 0 ? weight * difference[j] : 0.0f;
      gatherSum(values, dim, k, keys, count, output(launch, at::d_index_q) + t * stride + h * dim);
      scatterAdd(values, q, dim, d_k, dim, keys, count);
    }
  });
  parallelRanges(batch * S, query_tile, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t)
      for (int64_t c = 0; c < dim; ++c) {
        float sum = 0;
        for (int64_t h = 0; h < heads; ++h)
          sum += all_d_k[((t / S * heads + h) * S + t % S) * dim + c];
        output(launch, at::d_index_k)[t * dim + c] = sum;
      }
  });
  return 0;
}
}
