// Rows of hashed n-gram tables, conventions 11.3 and 11.4.
#include "runtime/core/Documents.h"
#include "runtime/core/Launch.h"
#include "runtime/core/ThreadPool.h"
#include "runtime/state/Random.h"

using namespace megacc::runtime;

extern "C" int32_t mg_ngram_rows(const MgLaunch *launch) {
  int64_t batch = launch->ints[0], sequence = launch->ints[1], longest = launch->ints[3], count = (launch->int_count - 4) / 2;
  uint64_t multipliers = streamKey(uint64_t(launch->ints[2]), "ngram_hash.multipliers");
  uint64_t biases = streamKey(uint64_t(launch->ints[2]), "ngram_hash.bias");
  const int64_t *tables = launch->ints + 4;
  int32_t *rows = static_cast<int32_t *>(launch->operands[0]);
  const int32_t *tokens = integers(launch, 1), *documents = integers(launch, 2);
  constexpr int64_t tile_rows = 256;
  parallelRanges(batch * sequence, tile_rows, [&](int64_t begin, int64_t end) {
    int64_t known[tile_rows]; // tokens of the row and the document, the current one included, up to `longest`
    for (int64_t row = begin; row < end; ++row) {
      int64_t t = row % sequence;
      known[row - begin] = countReach(documents ? documents + row - t : nullptr, sequence, t, -1, longest);
    }
    int64_t offset = 0;
    for (int64_t table = 0; table < count; offset += tables[2 * table++ + 1]) {
      int64_t order = tables[2 * table], size = tables[2 * table + 1];
      uint64_t hash[tile_rows], bias = draw(biases, table) >> 33;
      for (int64_t row = begin; row < end; ++row)
        hash[row - begin] = bias;
      for (int64_t i = 0; i < order; ++i) {
        uint64_t multiplier = draw(multipliers, table * longest + i) >> 33 | 1;
        for (int64_t row = begin; row < end; ++row)
          if (i < known[row - begin])
            hash[row - begin] ^= multiplier * uint64_t(tokens[row - i]);
      }
      for (int64_t row = begin; row < end; ++row)
        rows[row * count + table] = int32_t(hash[row - begin] % uint64_t(size) + uint64_t(offset));
    }
  });
  return 0;
}
