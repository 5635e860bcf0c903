// Attention of every query to the keys of its support, forward and backward (conventions 6.6). Keys and values are copied first, those of a
// head together: rows picked from all over them would otherwise fall in a few sets of the caches.
#include "runtime/core/Launch.h"
#include "runtime/core/Scratch.h"
#include "runtime/kernels/sparse_attention/Support.h"

using namespace megacc::runtime;

namespace {

struct Shape {
  int64_t batch, sequence, heads, qk_dim, v_dim, kept, stride_q, stride_v;
  float scale;

  /// Both kernels have the same parameters.
  explicit Shape(const MgLaunch *launch) {
    namespace number = number_mg_sparse_attention;
    batch = launch->ints[number::batch], sequence = launch->ints[number::sequence], heads = launch->ints[number::heads];
    qk_dim = launch->ints[number::qk_dim], v_dim = launch->ints[number::v_dim], kept = launch->ints[number::kept];
    stride_q = heads * qk_dim, stride_v = heads * v_dim, scale = float(launch->doubles[real_mg_sparse_attention::scale]);
  }

  /// Rows [batch, heads, sequence] of a key and its value.
  int64_t width() const { return qk_dim + v_dim; }
  int64_t countPacked() const { return batch * heads * sequence * width(); }
};

void pack(const Shape &s, const float *k, const float *v, float *packed) {
  parallelFor(s.batch * s.heads, [&](int64_t tile) {
    int64_t first_row = tile / s.heads * s.sequence, h = tile % s.heads;
    float *to = packed + tile * s.sequence * s.width();
    for (int64_t t = first_row; t < first_row + s.sequence; ++t, to += s.width()) {
      std::copy_n(k + t * s.stride_q + h * s.qk_dim, s.qk_dim, to);
      std::copy_n(v + t * s.stride_v + h * s.v_dim, s.v_dim, to + s.qk_dim);
    }
  });
}

} // namespace

extern "C" {

int32_t mg_sparse_attention(const MgLaunch *launch) {
  MG_ENTER(mg_sparse_attention);
  const Shape s(launch);
  int64_t blocks = (s.sequence + query_tile - 1) / query_tile, tiles = s.batch * s.heads * blocks;
  const int32_t *support = integers(launch, at::support);
  Scratch scratch(launch, at::scratch);
  float *all_p = scratch.take<float>(std::min(tiles, most_lanes) * s.kept), *packed = scratch.take<float>(s.countPacked());
  if (int32_t status = scratch.check("mg_sparse_attention"))
    return status;
  pack(s, input(launch, at::k), input(launch, at::v), packed);
  parallelLanes(tiles, [&](int64_t lane, int64_t tile) {
    int64_t head = tile / blocks, h = head % s.heads, first_row = head / s.heads * s.sequence;
    int64_t begin = first_row + tile % blocks * query_tile, end = std::min(begin + query_tile, first_row + s.sequence);
    RowsOf k{packed + head * s.sequence * s.width(), s.width()}, v{k.data + s.qk_dim, s.width()};
    float *p = all_p + lane * s.kept;
    for (int64_t t = begin; t < end; ++t) {
      const int32_t *keys = support + t * s.kept;
      int64_t count = countKeys(keys, s.kept);
      float *y = output(launch, at::y) + t * s.stride_v + h * s.v_dim;
      if (count == 0) {
        std::fill(y, y + s.v_dim, NAN);
        continue;
      }
      attendKeys(input(launch, at::q) + t * s.stride_q + h * s.qk_dim, s.qk_dim, k, keys, count, s.scale, p);
      gatherSum(p, s.v_dim, v, keys, count, y);
    }
  });
  return 0;
}

// With p the softmax again, d_p = d_y v^T: d_s = p * (d_p - sum of p d_p) * scale. One tile has all queries of a row and head, so every sum
// over queries goes in their order.
int32_t mg_sparse_attention_grad(const MgLaunch *launch) {
  MG_ENTER(mg_sparse_attention_grad);
  const Shape s(launch);
  int64_t S = s.sequence, tiles = s.batch * s.heads;
  const int32_t *support = integers(launch, at::support);
  Scratch scratch(launch, at::scratch);
  float *all_p = scratch.take<float>(2 * tiles * s.kept);
  float *packed = scratch.take<float>(s.countPacked()), *gradients = scratch.take<float>(s.countPacked());
  if (int32_t status = scratch.check("mg_sparse_attention_grad"))
    return status;
  pack(s, input(launch, at::k), input(launch, at::v), packed);
  parallelFor(tiles, [&](int64_t tile) {
    int64_t first_row = tile / s.heads * S, h = tile % s.heads, width = s.width();
    int64_t at_q = first_row * s.stride_q + h * s.qk_dim, at_v = first_row * s.stride_v + h * s.v_dim;
    const float *q = input(launch, at::q) + at_q, *d_y = input(launch, at::d_y) + at_v;
    RowsOf k{packed + tile * S * width, width}, v{k.data + s.qk_dim, width};
    float *d_k = gradients + tile * S * width, *d_v = d_k + s.qk_dim;
    float *p = all_p + 2 * tile * s.kept, *d_p = p + s.kept;
    std::fill(d_k, d_k + S * width, 0.0f);
    for (int64_t t = 0; t < S; ++t) {
      const int32_t *keys = support + (first_row + t) * s.kept;
      int64_t count = countKeys(keys, s.kept);
      attendKeys(q + t * s.stride_q, s.qk_dim, k, keys, count, s.scale, p);
      gatherDots(d_y + t * s.stride_v, s.v_dim, v, keys, count, d_p);
      float delta = dot(p, d_p, count);
      for (int64_t j = 0; j < count; ++j)
        d_p[j] = p[j] * (d_p[j] - delta) * s.scale;
      gatherSum(d_p, s.qk_dim, k, keys, count, output(launch, at::d_q) + at_q + t * s.stride_q);
      scatterAdd(d_p, q + t * s.stride_q, s.qk_dim, d_k, width, keys, count);
      scatterAdd(p, d_y + t * s.stride_v, s.v_dim, d_v, width, keys, count);
    }
    for (int64_t t = 0; t < S; ++t, d_k += width) {
      std::copy_n(d_k, s.qk_dim, output(launch, at::d_k) + at_q + t * s.stride_q);
      std::copy_n(d_k + s.qk_dim, s.v_dim, output(launch, at::d_v) + at_v + t * s.stride_v);
    }
  });
  return 0;
}
}
