// Attention of every row to all rows of a bank, conventions 10.1, in tiles of 64 rows of one head: the bank is short, so a tile's scores
// are whole rows.
#include "runtime/core/Dot.h"
#include "runtime/core/FastMath.h"
#include "runtime/core/Launch.h"
#include "runtime/core/Scratch.h"
#include "runtime/core/ThreadPool.h"
#include "runtime/core/TileProduct.h"

#include <algorithm>
#include <cmath>

using namespace megacc::runtime;

namespace {

constexpr int64_t query_tile = 64, most_parts = 16;

struct Shape {
  int64_t rows, bank, heads, dim, cols, stride, tiles, parts; // stride: of rows of scores
  float scale;

  /// Both kernels have the same parameters.
  explicit Shape(const MgLaunch *launch) {
    namespace number = number_mg_bank_attention;
    rows = launch->ints[number::rows], bank = launch->ints[number::bank], heads = launch->ints[number::heads];
    dim = launch->ints[number::dim], cols = heads * dim, stride = (bank + 15) / 16 * 16;
    tiles = (rows + query_tile - 1) / query_tile, parts = std::min(tiles, most_parts);
    scale = float(launch->doubles[real_mg_bank_attention::scale]);
  }

  /// Every part has some of the tiles, for each head; work(part, head, first row, rows).
  template <typename Work> void forEachTask(Work &&work) const {
    parallelFor(parts * heads, [&](int64_t task) {
      int64_t part = task / heads;
      for (int64_t tile = part * tiles / parts; tile < (part + 1) * tiles / parts; ++tile)
        work(part, task % heads, tile * query_tile, std::min(query_tile, rows - tile * query_tile));
    });
  }

  /// to[heads, dim, stride] = from[bank, heads*dim] transposed for every head.
  void transpose(const float *from, float *to) const {
    parallelFor(heads, [&](int64_t head) { tileTranspose(bank, dim, from + head * dim, cols, to + head * dim * stride, stride); });
  }

  /// p[count, stride] = softmax(scale q k^T), with k transposed. Not inlined: forward and backward must get the same bits.
  [[gnu::noinline]] void weigh(const float *q, const float *keys, int64_t count, float *p) const {
    tileProduct(count, bank, dim, {q, cols, 1}, keys, stride, p, stride, false);
    for (int64_t i = 0; i < count; ++i) {
      float *row = p + i * stride;
      for (int64_t j = 0; j < bank; ++j)
        row[j] *= scale;
      float top = largestOf(row, bank, -INFINITY);
      for (int64_t j = 0; j < bank; ++j)
        row[j] = fastExp(row[j] - top);
      float factor = 1.0f / sumOf(bank, [&](int64_t j) { return row[j]; });
      for (int64_t j = 0; j < bank; ++j)
        row[j] *= factor;
    }
  }
};

} // namespace

extern "C" {

int32_t mg_bank_attention(const MgLaunch *launch) {
  MG_ENTER(mg_bank_attention);
  const Shape s(launch);
  Scratch scratch(launch, at::scratch);
  float *keys = scratch.take<float>(s.heads * s.dim * s.stride), *scores = scratch.take<float>(s.parts * s.heads * query_tile * s.stride);
  if (int32_t status = scratch.check("mg_bank_attention"))
    return status;
  const float *q = input(launch, at::q), *v = input(launch, at::v);
  s.transpose(input(launch, at::k), keys);
  s.forEachTask([&](int64_t part, int64_t head, int64_t first, int64_t count) {
    float *p = scores + (part * s.heads + head) * query_tile * s.stride;
    s.weigh(q + first * s.cols + head * s.dim, keys + head * s.dim * s.stride, count, p);
    tileProduct(count, s.dim, s.bank, {p, s.stride, 1}, v + head * s.dim, s.cols, output(launch, at::y) + first * s.cols + head * s.dim,
                s.cols, false);
  });
  return 0;
}

int32_t mg_bank_attention_grad(const MgLaunch *launch) {
  MG_ENTER(mg_bank_attention_grad);
  const Shape s(launch);
  int64_t tasks = s.parts * s.heads, tile = query_tile * s.stride, sums = s.bank * s.dim;
  Scratch scratch(launch, at::scratch);
  float *keys = scratch.take<float>(s.heads * s.dim * s.stride), *values = scratch.take<float>(s.heads * s.dim * s.stride);
  float *scores = scratch.take<float>(2 * tasks * tile), *partial = scratch.take<float>(2 * tasks * sums);
  if (int32_t status = scratch.check("mg_bank_attention_grad"))
    return status;
  const float *k = input(launch, at::k), *v = input(launch, at::v);
  s.transpose(k, keys);
  s.transpose(v, values);
  std::fill(partial, partial + 2 * tasks * sums, 0.0f);
  s.forEachTask([&](int64_t part, int64_t head, int64_t first, int64_t count) {
    int64_t task = part * s.heads + head, at_head = first * s.cols + head * s.dim;
    float *p = scores + 2 * task * tile, *d_s = p + tile, *d_k = partial + 2 * task * sums, *d_v = d_k + sums;
    const float *q = input(launch, at::q) + at_head, *d_y = input(launch, at::d_y) + at_head;
    s.weigh(q, keys + head * s.dim * s.stride, count, p);
    tileProduct(count, s.bank, s.dim, {d_y, s.cols, 1}, values + head * s.dim * s.stride, s.stride, d_s, s.stride, false);
    for (int64_t i = 0; i < count; ++i) {
      float *weight = p + i * s.stride, *d = d_s + i * s.stride, delta = dot(weight, d, s.bank);
      for (int64_t j = 0; j < s.bank; ++j)
        d[j] = weight[j] * (d[j] - delta) * s.scale;
    }
    tileProduct(count, s.dim, s.bank, {d_s, s.stride, 1}, k + head * s.dim, s.cols, output(launch, at::d_q) + at_head, s.cols, false);
    tileProduct(s.bank, s.dim, count, {d_s, 1, s.stride}, q, s.cols, d_k, s.dim, true);
    tileProduct(s.bank, s.dim, count, {p, 1, s.stride}, d_y, s.cols, d_v, s.dim, true);
  });
  // Parts in their order.
  parallelFor(s.heads, [&](int64_t head) {
    for (int64_t j = 0; j < s.bank; ++j)
      for (int64_t c = 0; c < s.dim; ++c) {
        float d_k = 0, d_v = 0;
        for (int64_t part = 0; part < s.parts; ++part) {
          const float *from = partial + 2 * (part * s.heads + head) * sums + j * s.dim + c;
          d_k += from[0], d_v += from[sums];
        }
        output(launch, at::d_k)[j * s.cols + head * s.dim + c] = d_k;
        output(launch, at::d_v)[j * s.cols + head * s.dim + c] = d_v;
      }
  });
  return 0;
}
}
