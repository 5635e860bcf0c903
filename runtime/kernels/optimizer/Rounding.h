// Stochastic rounding of moments to bf16 by counter, conventions 14.6, for both targets.
#pragma once
#include "megacc/Random.h"

#include <cstdint>

namespace megacc::runtime {

/// The bits of a bf16 of the bits of a finite fp32 and 16 random bits: up as often as the bits that are dropped say, never to infinity.
MG_BOTH uint16_t roundBits(uint32_t bits, uint32_t random) {
  uint32_t up = (bits + (random & 0xFFFFu)) >> 16;
  return uint16_t((up & 0x7F80u) == 0x7F80u ? bits >> 16 : up);
}

/// Where this rank stands on the axes of the mesh.
struct Ranks {
  int64_t rank[3], size[3];
};

/// Index in the whole tensor of element `index` of this rank's part, which `part` describes: its dimensions, then of each the elements that
/// one step in it is in the part and in the whole, the number of its pieces, and (axis, size, block) of each; axis -1: all ranks have it.
MG_BOTH int64_t indexInWhole(const int64_t *part, int64_t index, const Ranks &ranks) {
  int64_t whole = 0, dimensions = *part++;
  for (int64_t dim = 0; dim < dimensions; ++dim) {
    int64_t at = index / part[0], begin = 0, pieces = part[2], step = part[1];
    index %= part[0];
    part += 3;
    for (int64_t piece = 0; piece < pieces; ++piece, part += 3) {
      int64_t axis = part[0], ranks_of = axis < 0 ? 1 : ranks.size[axis], own = part[1] / ranks_of, share = part[2] / ranks_of;
      if (at >= 0 && at < own)
        whole += step * (begin + at / share * part[2] + (axis < 0 ? 0 : ranks.rank[axis]) * share + at % share);
      at -= own, begin += part[1];
    }
  }
  return whole;
}

/// A parameter's draws of one update.
struct RoundingStream {
  uint64_t key = 0;
  const int64_t *part = nullptr; // how its part is described; null: it is whole

  MG_BOTH uint64_t draw(int64_t index, const Ranks &ranks) const {
    return megacc::draw(key, uint64_t(part ? indexInWhole(part, index, ranks) : index));
  }
};

/// The stream of a table's entry [key, place of the description or 0] in update t.
MG_BOTH RoundingStream roundingStream(const int64_t *table, const int64_t *entry, int64_t t) {
  return {megacc::draw(uint64_t(entry[0]), uint64_t(t)), entry[1] ? table + entry[1] : nullptr};
}

/// The entry [first, key, place] of mg_adamw_rounded's table that has the element.
MG_BOTH const int64_t *findEntry(const int64_t *table, int64_t element) {
  int64_t low = 0, high = table[0]; // the last whose first element is not behind
  while (high - low > 1) {
    int64_t middle = (low + high) / 2;
    (table[1 + 3 * middle] <= element ? low : high) = middle;
  }
  return table + 1 + 3 * low;
}

} // namespace megacc::runtime
