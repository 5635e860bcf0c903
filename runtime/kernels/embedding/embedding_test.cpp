#include "runtime/kernels/TestSupport.h"

#include <cstring>

using namespace megacc::test;

TEST(Embedding, SumsDuplicateTokensAndClearsUntouchedRows) {
  Values table = randomValues(40 * 3, 1), y(5 * 3), d_y = randomValues(15, 2), d_table(120, NAN);
  std::vector<int32_t> tokens = {7, 39, 7, 0, 7};
  ASSERT_EQ(call(mg_embedding, {y.data(), table.data(), tokens.data()}, {5, 3, 40}), 0);
  EXPECT_EQ(y[3 * 1 + 2], table[39 * 3 + 2]);
  ASSERT_EQ(call(mg_embedding_grad, {d_table.data(), d_y.data(), tokens.data()}, {5, 3, 40, 1}), 0);
  EXPECT_FLOAT_EQ(d_table[7 * 3], d_y[0] + d_y[6] + d_y[12]);
  EXPECT_EQ(d_table[1 * 3], 0.0f);
  ASSERT_EQ(call(mg_embedding_grad, {d_table.data(), d_y.data(), tokens.data()}, {5, 3, 40, 1}, {}, 1), 0);
  EXPECT_FLOAT_EQ(d_table[39 * 3], 2 * d_y[3]);
}

TEST(Embedding, RefusesATokenOutsideTheVocabulary) {
  Values table(12), y(3);
  std::vector<int32_t> tokens = {4};
  EXPECT_NE(call(mg_embedding, {y.data(), table.data(), tokens.data()}, {1, 3, 4}), 0);
  EXPECT_NE(std::strstr(mg_last_error(), "token id 4"), nullptr);
}

TEST(Embedding, SeveralIdsARowStandSideBySide) {
  Values table = randomValues(9 * 2, 1), y(2 * 3 * 2, NAN), d_y = randomValues(12, 2), d_table(18, NAN);
  std::vector<int32_t> ids = {0, 4, 8, 4, 4, 1}; // two rows of three
  ASSERT_EQ(call(mg_embedding, {y.data(), table.data(), ids.data()}, {6, 2, 9}), 0);
  EXPECT_EQ(Values(y.begin() + 2, y.begin() + 4), Values(table.begin() + 8, table.begin() + 10));
  ASSERT_EQ(call(mg_embedding_grad, {d_table.data(), d_y.data(), ids.data()}, {6, 2, 9, 0}), 0);
  EXPECT_FLOAT_EQ(d_table[8], d_y[2] + d_y[6] + d_y[8]);
  EXPECT_EQ(d_table[4], 0.0f);
}
