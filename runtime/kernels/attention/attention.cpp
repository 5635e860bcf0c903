// Causal attention with grouped key/value heads, forward and backward, in tiles of 64 queries by 256 keys with an online softmax
// (the scheme of FlashAttention, arXiv 2205.14135). Nothing of size sequence x sequence exists. Scores may get a bias, which is looked up
// in a table by the chunks of query and key.
#include "runtime/core/Documents.h"
#include "runtime/core/Dot.h"
#include "runtime/core/FastMath.h"
#include "runtime/core/Launch.h"
#include "runtime/core/Scratch.h"
#include "runtime/core/ThreadPool.h"
#include "runtime/core/TileProduct.h"

#include <algorithm>
#include <cmath>
#include <cstring>

using namespace megacc::runtime;

namespace {

constexpr int64_t query_tile = 64, key_tile = 256;
/// Of tiles of scores: not a power of two, whose columns would fall in the same few sets of the caches.
constexpr int64_t row_stride = key_tile + 16;

/// What is added to the scaled scores; without tables nothing.
struct Bias {
  float *tables = nullptr; // [batch, heads, chunks, chunks]
  const int32_t *chunk = nullptr, *bits = nullptr;
  const float *weight = nullptr;
  int64_t chunks = 0, relations = 0;

  int64_t pairs() const { return chunks * chunks; }

  /// The row of a table for queries of this chunk; null where it is outside.
  float *row(float *table, int32_t query_chunk) const {
    return query_chunk >= 0 && query_chunk < chunks ? table + query_chunk * chunks : nullptr;
  }
  bool has(int32_t key_chunk) const { return key_chunk >= 0 && key_chunk < chunks; }
};

struct Shape {
  int64_t batch, sequence, heads, kv_heads, qk_dim, v_dim;
  float scale;
  int32_t *first_keys;
  Bias bias;

  /// All kernels begin with the same parameters. The table of first keys is taken from the scratch, where there are documents.
  Shape(const MgLaunch *launch, const int32_t *documents, Scratch &scratch) {
    namespace number = number_mg_attention;
    batch = launch->ints[number::batch], sequence = launch->ints[number::sequence], heads = launch->ints[number::heads];
    kv_heads = launch->ints[number::kv_heads], qk_dim = launch->ints[number::qk_dim], v_dim = launch->ints[number::v_dim];
    scale = float(launch->doubles[real_mg_attention::scale]);
    first_keys = documents ? scratch.take<int32_t>(batch * sequence) : nullptr;
  }

  /// The table of a bias of one head, null without.
  float *table(int64_t b, int64_t head) const { return bias.tables ? bias.tables + (b * heads + head) * bias.pairs() : nullptr; }

  int64_t kvHead(int64_t head) const { return head / (heads / kv_heads); }

  /// First key that query t of row b may see: the start of its run of equal document ids.
  int64_t firstKey(int64_t b, int64_t t) const { return first_keys ? first_keys[b * sequence + t] : 0; }
};

/// Fills the table of first keys [batch, sequence] once for all heads.
void findFirstKeys(const Shape &s, const int32_t *documents) {
  for (int64_t row = 0; s.first_keys && row < s.batch * s.sequence; row += s.sequence)
    for (int64_t t = 0; t < s.sequence; ++t)
      s.first_keys[row + t] = startsDocument(documents + row, t) ? int32_t(t) : s.first_keys[row + t - 1];
}

/// scores[queries, keys] = q k^T, rows of both `stride_q` and `stride_k` apart.
void multiplyTransposed(int64_t queries, int64_t keys, int64_t dim, const float *q, int64_t stride_q, const float *k, int64_t stride_k,
                        float *scores) {
  constexpr int64_t slice = 64;
  alignas(64) float transposed[slice * row_stride];
  for (int64_t c = 0; c < dim; c += slice) {
    int64_t count = std::min(slice, dim - c);
    tileTranspose(keys, count, k + c, stride_k, transposed, row_stride);
    tileProduct(queries, keys, count, {q + c, stride_q, 1}, transposed, row_stride, scores, row_stride, c > 0);
  }
}

/// scores[queries, keys] = scale * q k^T + bias with illegal entries at -infinity.
void maskedScores(const Shape &s, int64_t b, int64_t head, const float *q, const float *k, int64_t first_query, int64_t queries,
                  int64_t first_key, int64_t keys, const int64_t *first_legal, float *scores) {
  multiplyTransposed(queries, keys, s.qk_dim, q, s.heads * s.qk_dim, k, s.kv_heads * s.qk_dim, scores);
  for (int64_t i = 0; i < queries; ++i) {
    float *row = scores + i * row_stride;
    int64_t low = std::clamp<int64_t>(first_legal[i] - first_key, 0, keys);
    int64_t high = std::clamp<int64_t>(first_query + i + 1 - first_key, 0, keys);
    std::fill(row, row + low, -INFINITY);
    for (int64_t j = low; j < high; ++j)
      row[j] *= s.scale;
    if (float *table = s.table(b, head)) {
      const int32_t *chunk = s.bias.chunk + b * s.sequence;
      const float *bias = s.bias.row(table, chunk[first_query + i]);
      for (int64_t j = low; bias && j < high; ++j)
        if (int32_t key = chunk[first_key + j]; s.bias.has(key))
          row[j] += bias[key];
    }
    std::fill(row + high, row + keys, -INFINITY);
  }
}

/// One block of queries of one head: its rows of y where there is a y, and of lse where there is one. Not inlined: forward and backward
/// must get the same bits.
[[gnu::noinline]] void attendBlock(const Shape &s, int64_t tile, const float *all_q, const float *all_k, const float *all_v, float *all_y,
                                   float *all_lse) {
  int64_t S = s.sequence, blocks = (S + query_tile - 1) / query_tile;
  int64_t stride_q = s.heads * s.qk_dim, stride_k = s.kv_heads * s.qk_dim, stride_v = s.kv_heads * s.v_dim, stride_y = s.heads * s.v_dim;
  int64_t block = tile % blocks, head = tile / blocks % s.heads, b = tile / blocks / s.heads;
  int64_t first_query = block * query_tile, queries = std::min(query_tile, S - first_query);
  float *y = all_y ? all_y + (b * S + first_query) * stride_y + head * s.v_dim : nullptr;
  const float *q = all_q + (b * S + first_query) * stride_q + head * s.qk_dim;
  const float *k = all_k + b * S * stride_k + s.kvHead(head) * s.qk_dim;
  const float *v = all_v + b * S * stride_v + s.kvHead(head) * s.v_dim;
  alignas(64) float scores[query_tile * row_stride];
  float largest[query_tile], sum[query_tile];
  int64_t first_legal[query_tile];
  for (int64_t i = 0; i < queries; ++i) {
    largest[i] = -INFINITY, sum[i] = 0, first_legal[i] = s.firstKey(b, first_query + i);
    if (y)
      std::memset(y + i * stride_y, 0, s.v_dim * sizeof(float));
  }
  int64_t end = first_query + queries;
  for (int64_t first_key = first_legal[0] / key_tile * key_tile; first_key < end; first_key += key_tile) {
    int64_t keys = std::min(key_tile, end - first_key);
    maskedScores(s, b, head, q, k + first_key * stride_k, first_query, queries, first_key, keys, first_legal, scores);
    for (int64_t i = 0; i < queries; ++i) {
      float *row = scores + i * row_stride, top = largestOf(row, keys, largest[i]);
      if (top == -INFINITY) {
        std::fill(row, row + keys, 0.0f);
        continue;
      }
      for (int64_t j = 0; j < keys; ++j)
        row[j] = fastExp(row[j] - top);
      float shrink = fastExp(largest[i] - top), total = sumOf(keys, [&](int64_t j) { return row[j]; });
      sum[i] = sum[i] * shrink + total;
      largest[i] = top;
      if (y)
        for (int64_t c = 0; c < s.v_dim; ++c)
          y[i * stride_y + c] *= shrink;
    }
    if (y)
      tileProduct(queries, s.v_dim, keys, {scores, row_stride, 1}, v + first_key * stride_v, stride_v, y, stride_y, true);
  }
  for (int64_t i = 0; i < queries; ++i) {
    if (all_lse)
      all_lse[(b * s.heads + head) * S + first_query + i] = largest[i] + std::log(sum[i]);
    if (y)
      for (int64_t c = 0; c < s.v_dim; ++c)
        y[i * stride_y + c] /= sum[i];
  }
}

/// Blocks of all heads and batch rows.
int64_t countBlocks(const Shape &s) { return s.batch * s.heads * ((s.sequence + query_tile - 1) / query_tile); }

/// The tables of a bias, where there is one: sums of the weights [heads, relations] of the relations that hold between two chunks.
void fillTables(const Shape &s) {
  const Bias &bias = s.bias;
  parallelFor(bias.tables ? s.batch * s.heads : 0, [&](int64_t index) {
    int64_t b = index / s.heads, head = index % s.heads;
    float *table = s.table(b, head);
    for (int64_t i = 0; i < bias.pairs(); ++i) {
      table[i] = 0;
      for (int64_t r = 0; r < bias.relations; ++r)
        if (bias.bits[b * bias.pairs() + i] >> r & 1)
          table[i] += bias.weight[head * bias.relations + r];
    }
  });
}

struct Operands {
  const float *q, *k, *v;
  const int32_t *documents;
};

int32_t attend(const Shape &s, const Operands &from, float *y, float *lse) {
  findFirstKeys(s, from.documents);
  fillTables(s);
  parallelFor(countBlocks(s), [&](int64_t tile) { attendBlock(s, tile, from.q, from.k, from.v, y, lse); });
  return 0;
}

/// What the backward has of a launch beside the operands of the forward; d_tables are like the tables of the bias, null without.
struct Gradients {
  float *d_q, *d_k, *d_v, *d_tables;
  const float *d_y, *y, *lse;
};

/// Adds to a table's row what a row of tokens' scores leaves for each chunk of keys: runs of equal chunks are summed first.
void sumChunks(const Shape &s, const int32_t *chunk, const float *d_scores, int64_t keys, float *d_row) {
  for (int64_t j = 0; j < keys;) {
    int32_t key = chunk[j];
    float sum = 0;
    for (; j < keys && chunk[j] == key; ++j)
      sum += d_scores[j];
    if (s.bias.has(key))
      d_row[key] += sum / s.scale;
  }
}

/// With p = exp(scores - lse), dp = d_y v^T, delta = sum(d_y * y): d_scores = p * (dp - delta) * scale. d_k and d_v of every query head
/// are summed over the query heads of a kv head afterwards.
int32_t differentiate(const Shape &s, const Operands &from, const Gradients &to, Scratch &scratch, const char *kernel) {
  int64_t S = s.sequence, head_rows = s.batch * s.heads * S;
  int64_t stride_q = s.heads * s.qk_dim, stride_k = s.kv_heads * s.qk_dim, stride_v = s.kv_heads * s.v_dim, stride_y = s.heads * s.v_dim;
  float *all_delta = scratch.take<float>(head_rows), *all_d_k = scratch.take<float>(head_rows * s.qk_dim);
  float *all_d_v = scratch.take<float>(head_rows * s.v_dim);
  const float *all_lse = to.lse;
  float *own_lse = all_lse ? nullptr : scratch.take<float>(head_rows);
  if (int32_t status = scratch.check(kernel))
    return status;
  findFirstKeys(s, from.documents);
  fillTables(s);
  if (own_lse) {
    parallelFor(countBlocks(s), [&](int64_t tile) { attendBlock(s, tile, from.q, from.k, from.v, /*all_y=*/nullptr, own_lse); });
    all_lse = own_lse;
  }
  parallelFor(s.batch * s.heads, [&](int64_t tile) {
    int64_t head = tile % s.heads, b = tile / s.heads;
    float *d_q = to.d_q + b * S * stride_q + head * s.qk_dim;
    const float *d_y = to.d_y + b * S * stride_y + head * s.v_dim;
    const float *y = to.y + b * S * stride_y + head * s.v_dim;
    const float *lse = all_lse + tile * S, *q = from.q + b * S * stride_q + head * s.qk_dim;
    const float *k = from.k + b * S * stride_k + s.kvHead(head) * s.qk_dim;
    const float *v = from.v + b * S * stride_v + s.kvHead(head) * s.v_dim;
    float *delta = all_delta + tile * S, *d_k = all_d_k + tile * S * s.qk_dim, *d_v = all_d_v + tile * S * s.v_dim;
    std::memset(d_k, 0, S * s.qk_dim * sizeof(float));
    std::memset(d_v, 0, S * s.v_dim * sizeof(float));
    const int32_t *chunk = to.d_tables ? s.bias.chunk + b * S : nullptr;
    float *d_table = to.d_tables ? to.d_tables + tile * s.bias.pairs() : nullptr;
    if (d_table)
      std::memset(d_table, 0, s.bias.pairs() * sizeof(float));
    alignas(64) float p[query_tile * row_stride], d_p[query_tile * row_stride];
    for (int64_t first_query = 0; first_query < S; first_query += query_tile) {
      int64_t queries = std::min(query_tile, S - first_query), end = first_query + queries, first_legal[query_tile];
      const float *block_q = q + first_query * stride_q, *block_d_y = d_y + first_query * stride_y;
      for (int64_t i = 0; i < queries; ++i) {
        int64_t t = first_query + i;
        first_legal[i] = s.firstKey(b, t);
        delta[t] = dot(d_y + t * stride_y, y + t * stride_y, s.v_dim);
        std::memset(d_q + t * stride_q, 0, s.qk_dim * sizeof(float));
      }
      for (int64_t first_key = first_legal[0] / key_tile * key_tile; first_key < end; first_key += key_tile) {
        int64_t keys = std::min(key_tile, end - first_key);
        const float *block_k = k + first_key * stride_k;
        maskedScores(s, b, head, block_q, block_k, first_query, queries, first_key, keys, first_legal, p);
        multiplyTransposed(queries, keys, s.v_dim, block_d_y, stride_y, v + first_key * stride_v, stride_v, d_p);
        for (int64_t i = 0; i < queries; ++i) {
          int64_t t = first_query + i;
          float *__restrict p_row = p + i * row_stride, *__restrict d_p_row = d_p + i * row_stride;
          for (int64_t j = 0; j < keys; ++j) {
            p_row[j] = fastExp(p_row[j] - lse[t]);
            d_p_row[j] = p_row[j] * (d_p_row[j] - delta[t]) * s.scale;
          }
          if (float *row = d_table ? s.bias.row(d_table, chunk[t]) : nullptr)
            sumChunks(s, chunk + first_key, d_p_row, keys, row);
        }
        tileProduct(keys, s.v_dim, queries, {p, 1, row_stride}, block_d_y, stride_y, d_v + first_key * s.v_dim, s.v_dim, true);
        tileProduct(keys, s.qk_dim, queries, {d_p, 1, row_stride}, block_q, stride_q, d_k + first_key * s.qk_dim, s.qk_dim, true);
        tileProduct(queries, s.qk_dim, keys, {d_p, row_stride, 1}, block_k, stride_k, d_q + first_query * stride_q, stride_q, true);
      }
    }
  });
  // Sums over the query heads of each kv head, in head order.
  auto sumHeads = [&](const float *all, float *result, int64_t dim) {
    int64_t group = s.heads / s.kv_heads;
    parallelFor(s.batch * s.kv_heads, [&](int64_t tile) {
      int64_t b = tile / s.kv_heads, kv = tile % s.kv_heads;
      for (int64_t t = 0; t < S; ++t)
        for (int64_t c = 0; c < dim; ++c) {
          float sum = 0;
          for (int64_t g = 0; g < group; ++g)
            sum += all[((b * s.heads + kv * group + g) * S + t) * dim + c];
          result[((b * S + t) * s.kv_heads + kv) * dim + c] = sum;
        }
    });
  };
  sumHeads(all_d_k, to.d_k, s.qk_dim);
  sumHeads(all_d_v, to.d_v, s.v_dim);
  return 0;
}

/// Packed keys are for records that no op of this target asks for.
int32_t refusePacked(const MgLaunch *launch, const char *kernel) {
  int64_t shared = launch->ints[number_mg_attention::shared_dim];
  return shared ? mg_fail("%s: shared_dim is %lld, these kernels take 0", kernel, (long long)shared) : 0;
}

} // namespace

extern "C" {

int32_t mg_attention(const MgLaunch *launch) {
  MG_ENTER(mg_attention);
  if (int32_t status = refusePacked(launch, "mg_attention"))
    return status;
  Scratch scratch(launch, at::scratch);
  Operands from = {input(launch, at::q), input(launch, at::k), input(launch, at::v), integers(launch, at::documents)};
  const Shape s(launch, from.documents, scratch);
  if (int32_t status = scratch.check("mg_attention"))
    return status;
  return attend(s, from, output(launch, at::y), output(launch, at::lse));
}

int32_t mg_attention_grad(const MgLaunch *launch) {
  MG_ENTER(mg_attention_grad);
  if (int32_t status = refusePacked(launch, "mg_attention_grad"))
    return status;
  Scratch scratch(launch, at::scratch);
  Operands from = {input(launch, at::q), input(launch, at::k), input(launch, at::v), integers(launch, at::documents)};
  const Shape s(launch, from.documents, scratch);
  Gradients to = {output(launch, at::d_q), output(launch, at::d_k), output(launch, at::d_v), /*d_tables=*/nullptr,
                  input(launch, at::d_y),  input(launch, at::y),    input(launch, at::lse)};
  return differentiate(s, from, to, scratch, "mg_attention_grad");
}

int32_t mg_biased_attention(const MgLaunch *launch) {
  MG_ENTER(mg_biased_attention);
  Scratch scratch(launch, at::scratch);
  Operands from = {input(launch, at::q), input(launch, at::k), input(launch, at::v), integers(launch, at::documents)};
  Shape s(launch, from.documents, scratch);
  int64_t chunks = launch->ints[number::chunks];
  s.bias = {scratch.take<float>(s.batch * s.heads * chunks * chunks),
            integers(launch, at::chunk),
            integers(launch, at::bits),
            input(launch, at::weight),
            chunks,
            launch->ints[number::relations]};
  if (int32_t status = scratch.check("mg_biased_attention"))
    return status;
  return attend(s, from, output(launch, at::y), output(launch, at::lse));
}

int32_t mg_biased_attention_grad(const MgLaunch *launch) {
  MG_ENTER(mg_biased_attention_grad);
  Scratch scratch(launch, at::scratch);
  Operands from = {input(launch, at::q), input(launch, at::k), input(launch, at::v), integers(launch, at::documents)};
  Shape s(launch, from.documents, scratch);
  int64_t chunks = launch->ints[number::chunks], relations = launch->ints[number::relations], pairs = chunks * chunks;
  const int32_t *bits = integers(launch, at::bits);
  s.bias = {
      scratch.take<float>(s.batch * s.heads * pairs), integers(launch, at::chunk), bits, input(launch, at::weight), chunks, relations};
  float *d_tables = scratch.take<float>(s.batch * s.heads * pairs);
  Gradients to = {output(launch, at::d_q), output(launch, at::d_k), output(launch, at::d_v), d_tables,
                  input(launch, at::d_y),  input(launch, at::y),    input(launch, at::lse)};
  if (int32_t status = differentiate(s, from, to, scratch, "mg_biased_attention_grad"))
    return status;
  float *d_weight = output(launch, at::d_weight);
  parallelFor(s.heads * relations, [&](int64_t index) {
    int64_t head = index / relations, r = index % relations;
    double sum = 0;
    for (int64_t b = 0; b < s.batch; ++b)
      for (int64_t i = 0; i < pairs; ++i)
        if (bits[b * pairs + i] >> r & 1)
          sum += d_tables[(b * s.heads + head) * pairs + i];
    d_weight[index] = float(sum);
  });
  return 0;
}
}
