// Rows of hashed n-gram tables, conventions 11.3 and 11.4.
#include "runtime/core/Documents.h"
#include "runtime/core/Launch.h"
#include "runtime/core/ThreadPool.h"

using namespace megacc::runtime;

extern "C" int32_t mg_ngram_rows(const MgLaunch *launch) {
  MG_ENTER(mg_ngram_rows);
  int64_t batch = launch->ints[number::batch], sequence = launch->ints[number::sequence];
  int64_t count = launch->ints[number::count], longest = launch->ints[number::longest];
  const int64_t *tables = static_cast<const int64_t *>(launch->operands[at::table]);
  int32_t *ids = static_cast<int32_t *>(launch->operands[at::ids]);
  const int32_t *tokens = integers(launch, at::tokens), *documents = integers(launch, at::documents);
  constexpr int64_t tile_rows = 256;
  parallelRanges(batch * sequence, tile_rows, [&](int64_t begin, int64_t end) {
    int64_t known[tile_rows]; // tokens of the row and the document, the current one included, up to `longest`
    for (int64_t row = begin; row < end; ++row) {
      int64_t t = row % sequence;
      known[row - begin] = countReach(documents ? documents + row - t : nullptr, sequence, t, -1, longest);
    }
    uint64_t offset = 0;
    for (int64_t index = 0; index < count; ++index) {
      const int64_t *table = tables + index * (3 + longest), *multipliers = table + 3;
      int64_t order = table[0];
      uint64_t hash[tile_rows], size = uint64_t(table[1]), bias = uint64_t(table[2]);
      for (int64_t row = begin; row < end; ++row)
        hash[row - begin] = bias;
      for (int64_t i = 0; i < order; ++i)
        for (int64_t row = begin; row < end; ++row)
          if (i < known[row - begin])
            hash[row - begin] ^= uint64_t(multipliers[i]) * uint64_t(tokens[row - i]);
      for (int64_t row = begin; row < end; ++row)
        ids[row * count + index] = int32_t(hash[row - begin] % size + offset);
      offset += size;
    }
  });
  return 0;
}
