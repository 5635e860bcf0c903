// Attention of every query to the keys of its support, forward and backward (conventions 6.6).
#include "runtime/core/Launch.h"
#include "runtime/core/Scratch.h"
#include "runtime/kernels/sparse_attention/Support.h"

using namespace megacc::runtime;

extern "C" {

int32_t mg_sparse_attention(const MgLaunch *launch) {
  MG_ENTER(mg_sparse_attention);
  int64_t batch = launch->ints[number::batch], S = launch->ints[number::sequence], heads = launch->ints[number::heads];
  int64_t qk_dim = launch->ints[number::qk_dim], v_dim = launch->ints[number::v_dim], kept = launch->ints[number::kept];
  float scale = float(launch->doubles[real::scale]);
  int64_t stride_q = heads * qk_dim, stride_v = heads * v_dim, blocks = (S + query_tile - 1) / query_tile;
  const int32_t *support = integers(launch, at::support);
  Scratch scratch(launch, at::scratch);
  float *all_p = scratch.take<float>(std::min(batch * blocks, most_lanes) * kept);
  if (int32_t status = scratch.check("mg_sparse_attention"))
    return status;
  parallelLanes(batch * blocks, [&](int64_t lane, int64_t tile) {
    int64_t first_row = tile / blocks * S, begin = first_row + tile % blocks * query_tile,
            end = std::min(begin + query_tile, first_row + S);
    float *p = all_p + lane * kept;
    for (int64_t h = 0; h < heads; ++h) {
      RowsOf k{input(launch, at::k) + first_row * stride_q + h * qk_dim, stride_q};
      RowsOf v{input(launch, at::v) + first_row * stride_v + h * v_dim, stride_v};
      for (int64_t t = begin; t < end; ++t) {
        const int32_t *keys = support + t * kept;
        int64_t count = countKeys(keys, kept);
        float *y = output(launch, at::y) + t * stride_v + h * v_dim;
        if (count == 0) {
          std::fill(y, y + v_dim, NAN);
          continue;
        }
        attendKeys(input(launch, at::q) + t * stride_q + h * qk_dim, qk_dim, k, keys, count, scale, p);
        gatherSum(p, v_dim, v, keys, count, y);
      }
    }
  });
  return 0;
}

// With p the softmax again, d_p = d_y v^T: d_s = p * (d_p - sum of p d_p) * scale. One tile has all queries of a row and head, so every sum
// over queries goes in their order.
int32_t mg_sparse_attention_grad(const MgLaunch *launch) {
  MG_ENTER(mg_sparse_attention_grad);
  int64_t batch = launch->ints[number::batch], S = launch->ints[number::sequence], heads = launch->ints[number::heads];
  int64_t qk_dim = launch->ints[number::qk_dim], v_dim = launch->ints[number::v_dim], kept = launch->ints[number::kept];
  float scale = float(launch->doubles[real::scale]);
  int64_t stride_q = heads * qk_dim, stride_v = heads * v_dim;
  const int32_t *support = integers(launch, at::support);
  Scratch scratch(launch, at::scratch);
  float *all_p = scratch.take<float>(batch * heads * kept), *all_d_p = scratch.take<float>(batch * heads * kept);
  if (int32_t status = scratch.check("mg_sparse_attention_grad"))
    return status;
  parallelFor(batch * heads, [&](int64_t tile) {
    int64_t first_row = tile / heads * S, h = tile % heads;
    int64_t at_q = first_row * stride_q + h * qk_dim, at_v = first_row * stride_v + h * v_dim;
    const float *q = input(launch, at::q) + at_q, *d_y = input(launch, at::d_y) + at_v;
    RowsOf k{input(launch, at::k) + at_q, stride_q}, v{input(launch, at::v) + at_v, stride_v};
    float *d_q = output(launch, at::d_q) + at_q, *d_k = output(launch, at::d_k) + at_q, *d_v = output(launch, at::d_v) + at_v;
    float *p = all_p + tile * kept, *d_p = all_d_p + tile * kept;
    for (int64_t t = 0; t < S; ++t) {
      std::fill(d_k + t * stride_q, d_k + t * stride_q + qk_dim, 0.0f);
      std::fill(d_v + t * stride_v, d_v + t * stride_v + v_dim, 0.0f);
    }
    for (int64_t t = 0; t < S; ++t) {
      const int32_t *keys = support + (first_row + t) * kept;
      int64_t count = countKeys(keys, kept);
      attendKeys(q + t * stride_q, qk_dim, k, keys, count, scale, p);
      gatherDots(d_y + t * stride_v, v_dim, v, keys, count, d_p);
      float delta = dot(p, d_p, count);
      for (int64_t j = 0; j < count; ++j)
        d_p[j] = p[j] * (d_p[j] - delta) * scale;
      gatherSum(d_p, qk_dim, k, keys, count, d_q + t * stride_q);
      scatterAdd(d_p, q + t * stride_q, qk_dim, d_k, stride_q, keys, count);
      scatterAdd(p, d_y + t * stride_v, v_dim, d_v, stride_v, keys, count);
    }
  });
  return 0;
}
}
