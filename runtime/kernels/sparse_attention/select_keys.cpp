// The keys of every query with the largest scores of an indexer (conventions 1.7 and 6.5 to 6.6). Scores exist for 64 queries and 256 keys
// at a time; a query keeps its best so far.
#include "runtime/core/Documents.h"
#include "runtime/core/Launch.h"
#include "runtime/core/Scratch.h"
#include "runtime/core/TileProduct.h"
#include "runtime/kernels/sparse_attention/Support.h"

using namespace megacc::runtime;

namespace {

constexpr int64_t key_tile = 256;
/// Of tiles of scores: not a power of two, whose columns would fall in the same few sets of the caches.
constexpr int64_t row_stride = key_tile + 16;

struct Candidate {
  float score;
  int32_t key;
  /// A larger score, of equal ones the lower key; -0 equals +0.
  bool operator<(const Candidate &other) const { return score > other.score || (score == other.score && key < other.key); }
};

/// The best `kept` of the keys that a query was given so far; they come in ascending order.
class Best {
public:
  void start(Candidate *room, int64_t most) { *this = Best(), list = room, kept = most; }

  /// `list` has room for the keys of one tile beyond `kept`.
  void add(const float *scores, int64_t first_key, int64_t begin, int64_t end) {
    bool nan = false;
    for (int64_t j = begin; j < end; ++j)
      nan |= scores[j] != scores[j];
    broken |= nan;
    if (broken)
      return;
    // Once `kept` are there, an equal score comes too late: its key is larger.
    for (int64_t j = begin; j < end; ++j)
      if (!full || scores[j] > least)
        list[count++] = {scores[j], int32_t(first_key + j)};
    if (count <= kept)
      return;
    std::nth_element(list, list + kept - 1, list + count);
    count = kept, full = true, least = list[kept - 1].score;
  }

  void write(int32_t *support) const {
    int64_t picked = broken ? 0 : count;
    for (int64_t j = 0; j < picked; ++j)
      support[j] = list[j].key;
    std::sort(support, support + picked);
    std::fill(support + picked, support + kept, -1);
  }

private:
  Candidate *list = nullptr;
  int64_t kept = 0, count = 0;
  float least = 0;
  bool full = false, broken = false;
};

} // namespace

extern "C" {

int32_t mg_select_keys(const MgLaunch *launch) {
  MG_ENTER(mg_select_keys);
  int64_t batch = launch->ints[number::batch], S = launch->ints[number::sequence], heads = launch->ints[number::heads];
  int64_t dim = launch->ints[number::dim], kept = launch->ints[number::kept];
  const float *all_q = input(launch, at::q), *all_k = input(launch, at::k), *all_weights = input(launch, at::weights);
  const int32_t *documents = integers(launch, at::documents);
  int32_t *support = static_cast<int32_t *>(launch->operands[at::support]);
  int64_t blocks = (S + query_tile - 1) / query_tile, tiles = batch * blocks, room = kept + key_tile;
  Scratch scratch(launch, at::scratch);
  Candidate *candidates = scratch.take<Candidate>(std::min(tiles, most_lanes) * query_tile * room);
  if (int32_t status = scratch.check("mg_select_keys"))
    return status;
  parallelLanes(tiles, [&](int64_t lane, int64_t tile) {
    int64_t b = tile / blocks, first_query = tile % blocks * query_tile, queries = std::min(query_tile, S - first_query);
    const float *q = all_q + (b * S + first_query) * heads * dim, *k = all_k + b * S * dim;
    const float *weights = all_weights + (b * S + first_query) * heads;
    alignas(64) float scores[query_tile * row_stride], products[query_tile * row_stride];
    Best best[query_tile];
    int64_t first_legal[query_tile], end = first_query + queries;
    for (int64_t i = 0; i < queries; ++i) {
      int64_t t = first_query + i;
      best[i].start(candidates + (lane * query_tile + i) * room, kept);
      if (!documents)
        first_legal[i] = 0;
      else if (i)
        first_legal[i] = startsDocument(documents + b * S, t) ? t : first_legal[i - 1];
      else
        first_legal[i] = t + 1 - countReach(documents + b * S, S, t, -1, S);
    }
    for (int64_t first_key = first_legal[0] / key_tile * key_tile; first_key < end; first_key += key_tile) {
      int64_t keys = std::min(key_tile, end - first_key);
      for (int64_t h = 0; h < heads; ++h) {
        tileProductTransposed(queries, keys, dim, q + h * dim, heads * dim, k + first_key * dim, dim, products, row_stride);
        for (int64_t i = 0; i < queries; ++i) {
          float weight = weights[i * heads + h], *row = scores + i * row_stride;
          const float *product = products + i * row_stride;
          for (int64_t j = 0; j < keys; ++j) {
            float positive = product[j] < 0 ? 0 : product[j]; // NaN stays
            row[j] = (h ? row[j] : 0.0f) + weight * positive;
          }
        }
      }
      for (int64_t i = 0; i < queries; ++i) {
        int64_t begin = std::clamp<int64_t>(first_legal[i] - first_key, 0, keys);
        best[i].add(scores + i * row_stride, first_key, begin, std::clamp<int64_t>(first_query + i + 1 - first_key, begin, keys));
      }
    }
    for (int64_t i = 0; i < queries; ++i)
      best[i].write(support + (b * S + first_query + i) * kept);
  });
  return 0;
}
}
