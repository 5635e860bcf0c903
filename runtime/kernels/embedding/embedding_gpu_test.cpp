#include "runtime/kernels/GpuTestSupport.h"

#include <gtest/gtest.h>

using namespace megacc::gpu;

TEST(EmbeddingGpu, RowsOfATable) {
  MG_NEEDS_CARD();
  for (MgType type : {MG_BF16, MG_F32})
    for (int64_t cols : {1, 45, 64, 3584}) {
      Values table = randomValues(11 * cols, 1, 1, type), tokens = {3, 0, 10, 3}, y;
      for (double token : tokens)
        y.insert(y.end(), table.begin() + int64_t(token) * cols, table.begin() + int64_t(token + 1) * cols);
      Call call = MG_CALL(mg_embedding);
      call.give("table", type, table).give("tokens", MG_I32, tokens).poisoned("y", type, y.size()).poisoned("invalid", MG_F32, 1);
      call.set("rows", 4).set("cols", cols).set("vocab", 11).set("vocab_axis", -1);
      ASSERT_EQ(call.run(), "");
      EXPECT_EQ(call.read("y"), y);
      EXPECT_EQ(call.read("invalid")[0], 0);
    }
}

TEST(EmbeddingGpu, InvalidTokensAndParts) {
  MG_NEEDS_CARD();
  Values table = randomValues(5 * 8, 1), tokens = {4, -1, 12, 10, 15}, y(5 * 8);
  std::copy(table.begin() + 2 * 8, table.begin() + 3 * 8, y.begin() + 2 * 8); // rank 2 of 3 has tokens 10 to 14
  std::copy(table.begin(), table.begin() + 8, y.begin() + 3 * 8);
  Call call = MG_CALL(mg_embedding);
  call.give("table", MG_BF16, table).give("tokens", MG_I32, tokens).poisoned("y", MG_BF16, y.size()).poisoned("invalid", MG_F32, 1);
  call.set("rows", 5).set("cols", 8).set("vocab", 5).set("vocab_axis", MG_TP).onAxis(MG_TP, 2, 3);
  ASSERT_EQ(call.run(), "");
  EXPECT_EQ(call.read("y"), y);
  EXPECT_EQ(call.read("invalid")[0], 1);
}

TEST(EmbeddingGpu, GradientInTokenOrder) {
  MG_NEEDS_CARD();
  for (MgType type : {MG_BF16, MG_F32})
    for (auto [rows, vocab, cols] : {std::array<int64_t, 3>{1, 1, 1}, {100, 7, 45}, {5000, 50, 64}, {300, 1000, 1100}, {9000, 70000, 4}})
      for (int64_t accumulate : {0, 2}) {
        Values tokens, d_y = randomValues(rows * cols, 1, 1, type), before = randomValues(vocab * cols, 2, 1, MG_F32);
        for (int64_t t = 0; t < rows; ++t)
          tokens.push_back(double(t * t * 7919 % (3 * t + vocab) % vocab));
        if (rows > 50)
          tokens[20] = -1, tokens[30] = double(vocab);
        // The order of the sums decides the bits.
        std::vector<float> sum(vocab * cols);
        for (size_t i = 0; i < sum.size(); ++i)
          sum[i] = accumulate ? float(before[i]) : 0;
        for (int64_t t = 0; t < rows; ++t)
          for (int64_t j = 0; j < cols && tokens[t] >= 0 && tokens[t] < double(vocab); ++j)
            sum[int64_t(tokens[t]) * cols + j] += float(d_y[t * cols + j]);
        Call call = MG_CALL(mg_embedding_grad);
        call.give("d_y", type, d_y).give("tokens", MG_I32, tokens).give("d_table", MG_F32, before);
        call.set("rows", rows).set("cols", cols).set("vocab", vocab).set("vocab_axis", -1).set("accumulate", accumulate);
        ASSERT_EQ(call.run(), "");
        EXPECT_EQ(call.read("d_table"), Values(sum.begin(), sum.end())) << rows << " " << vocab << " " << cols;
      }
}
