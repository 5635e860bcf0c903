#include "runtime/kernels/GpuTestSupport.h"

#include <gtest/gtest.h>

using namespace megacc::gpu;

TEST(NgramHashGpu, RowsOfTables) {
  MG_NEEDS_CARD();
  constexpr int64_t batch = 2, sequence = 19, count = 3, longest = 3, rows = batch * sequence;
  // order, size, bias, multipliers newest first
  int64_t tables[count][3 + longest] = {
      {2, 499801, 2080727276, 194389185, 593674053, 0}, {3, 499819, 669703661, 933243457, 12345677, 1999999999}, {1, 13, 5, 3, 0, 0}};
  for (bool has_documents : {false, true}) {
    Values tokens, documents, table(&tables[0][0], &tables[0][0] + count * (3 + longest)), ids;
    for (int64_t row = 0; row < rows; ++row) {
      tokens.push_back(double(row * 2654435761 % 65536));
      documents.push_back(double(row / 5 % 2));
    }
    for (int64_t row = 0; row < rows; ++row) {
      int64_t offset = 0;
      for (auto &about : tables) {
        uint64_t hash = uint64_t(about[2]);
        for (int64_t i = 0; i < about[0] && i <= row % sequence; ++i) {
          if (has_documents && i && documents[row - i] != documents[row - i + 1])
            break;
          hash ^= uint64_t(about[3 + i]) * uint64_t(tokens[row - i]);
        }
        ids.push_back(double(hash % uint64_t(about[1]) + uint64_t(offset)));
        offset += about[1];
      }
    }
    Call call = MG_CALL(mg_ngram_rows);
    call.give("tokens", MG_I32, tokens).give("table", MG_I64, table).poisoned("ids", MG_I32, rows * count);
    call.set("batch", batch).set("sequence", sequence).set("count", count).set("longest", longest);
    if (has_documents)
      call.give("documents", MG_I32, documents);
    ASSERT_EQ(call.run(), "");
    EXPECT_EQ(call.read("ids"), ids);
  }
}
