// The keys of every query with the largest scores of an indexer (conventions 1.7 and 6.5 to 6.6). Scores exist for 64 queries and 256 keys
// at a time; a query keeps its best so far.
#include "runtime/core/Documents.h"
#include "runtime/core/Launch.h"
#include "runtime/core/Scratch.h"
#include "runtime/core/TileProduct.h"
#include "runtime/kernels/sparse_attention/Support.h"

#include <bit>

using namespace megacc::runtime;

namespace {

constexpr int64_t key_tile = 256;
/// Of tiles of scores: not a power of two, whose columns would fall in the same few sets of the caches.
constexpr int64_t row_stride = key_tile + 16;

/// Whole numbers in the order of the scores; -0 becomes +0. Those of scores that are no NaN are more than 0.
inline uint32_t orderOf(float score) {
  uint32_t bits = std::bit_cast<uint32_t>(score + 0.0f);
  return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

/// The best `kept` of the keys that a query was given so far. They come in ascending order, so that of equal scores the earlier one stays.
class Best {
public:
  /// Two arrays of getRoom(kept) numbers.
  void start(uint32_t *order_room, int32_t *key_room, int64_t most) { *this = Best(), orders = order_room, keys = key_room, kept = most; }
  static int64_t getRoom(int64_t kept) { return 2 * kept + key_tile; }

  void add(const float *scores, int64_t first_key, int64_t begin, int64_t end) {
    bool nan = false;
    for (int64_t j = begin; j < end; ++j)
      nan |= scores[j] != scores[j];
    broken |= nan;
    if (broken)
      return;
    for (int64_t j = begin; j < end; ++j) { // without a branch: written over where it is not taken
      uint32_t order = orderOf(scores[j]);
      orders[count] = order, keys[count] = int32_t(first_key + j);
      count += order > least;
    }
    if (count > 2 * kept)
      shrink();
  }

  void write(int32_t *support) {
    if (count > kept)
      shrink();
    int64_t picked = broken ? 0 : count;
    std::copy(keys, keys + picked, support);
    std::fill(support + picked, support + kept, -1);
  }

private:
  int64_t countFrom(uint32_t order) const {
    int32_t found = 0;
    for (int64_t j = 0; j < count; ++j)
      found += orders[j] >= order;
    return found;
  }

  /// Leaves the best `kept` of more, in their order. The smallest of them is found bit by bit.
  void shrink() {
    least = 0;
    for (uint32_t bit = 0x80000000u; bit; bit >>= 1)
      if (countFrom(least | bit) >= kept)
        least |= bit;
    int64_t equals = kept - countFrom(least + 1), left = 0;
    for (int64_t j = 0; j < count; ++j) {
      uint32_t order = orders[j];
      orders[left] = order, keys[left] = keys[j];
      bool equal = order == least;
      left += order > least || (equal && equals > 0);
      equals -= equal;
    }
    count = kept;
  }

  uint32_t *orders = nullptr, least = 0;
  int32_t *keys = nullptr;
  int64_t kept = 0, count = 0;
  bool broken = false;
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
  int64_t blocks = (S + query_tile - 1) / query_tile, tiles = batch * blocks, room = Best::getRoom(kept);
  int64_t lanes = std::min(tiles, most_lanes);
  Scratch scratch(launch, at::scratch);
  uint32_t *orders = scratch.take<uint32_t>(lanes * query_tile * room);
  int32_t *candidates = scratch.take<int32_t>(lanes * query_tile * room);
  float *all_transposed = scratch.take<float>(lanes * dim * row_stride); // keys of a tile
  if (int32_t status = scratch.check("mg_select_keys"))
    return status;
  parallelLanes(tiles, [&](int64_t lane, int64_t tile) {
    int64_t b = tile / blocks, first_query = tile % blocks * query_tile, queries = std::min(query_tile, S - first_query);
    const float *q = all_q + (b * S + first_query) * heads * dim, *k = all_k + b * S * dim;
    const float *weights = all_weights + (b * S + first_query) * heads;
    alignas(64) float scores[query_tile * row_stride], products[query_tile * row_stride];
    float *transposed = all_transposed + lane * dim * row_stride;
    Best best[query_tile];
    int64_t first_legal[query_tile], end = first_query + queries;
    for (int64_t i = 0; i < queries; ++i) {
      int64_t t = first_query + i;
      int64_t place = (lane * query_tile + i) * room;
      best[i].start(orders + place, candidates + place, kept);
      if (!documents)
        first_legal[i] = 0;
      else if (i)
        first_legal[i] = startsDocument(documents + b * S, t) ? t : first_legal[i - 1];
      else
        first_legal[i] = t + 1 - countReach(documents + b * S, S, t, -1, S);
    }
    for (int64_t first_key = first_legal[0] / key_tile * key_tile; first_key < end; first_key += key_tile) {
      int64_t keys = std::min(key_tile, end - first_key);
      tileTranspose(keys, dim, k + first_key * dim, dim, transposed, row_stride);
      for (int64_t h = 0; h < heads; ++h) {
        tileProduct(queries, keys, dim, {q + h * dim, heads * dim, 1}, transposed, row_stride, products, row_stride, /*add=*/false);
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
