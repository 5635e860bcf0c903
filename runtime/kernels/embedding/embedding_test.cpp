#include "runtime/kernels/TestSupport.h"

using namespace megacc::test;

namespace {

struct Sizes {
  int64_t rows, cols, vocab;
};

int32_t lookUp(Values &y, const Values &table, const std::vector<int32_t> &tokens, Sizes size, Values *invalid = nullptr,
               int64_t micro_batch = 0) {
  return call("mg_embedding",
              {{"y", y}, {"table", table}, {"tokens", tokens}, invalid ? Operand("invalid", *invalid) : Operand("invalid", nullptr)},
              {{"rows", size.rows}, {"cols", size.cols}, {"vocab", size.vocab}, {"vocab_axis", -1}}, {}, micro_batch);
}

int32_t sumRows(Values &d_table, const Values &d_y, const std::vector<int32_t> &tokens, Sizes size, int64_t accumulate,
                int64_t micro_batch = 0) {
  return call("mg_embedding_grad", {{"d_table", d_table}, {"d_y", d_y}, {"tokens", tokens}},
              {{"rows", size.rows}, {"cols", size.cols}, {"vocab", size.vocab}, {"vocab_axis", -1}, {"accumulate", accumulate}}, {},
              micro_batch);
}

} // namespace

TEST(Embedding, SumsDuplicateTokensAndClearsUntouchedRows) {
  Values table = randomValues(40 * 3, 1), y(5 * 3), d_y = randomValues(15, 2), d_table(120, NAN);
  std::vector<int32_t> tokens = {7, 39, 7, 0, 7};
  ASSERT_EQ(lookUp(y, table, tokens, {5, 3, 40}), 0);
  EXPECT_EQ(y[3 * 1 + 2], table[39 * 3 + 2]);
  ASSERT_EQ(sumRows(d_table, d_y, tokens, {5, 3, 40}, 1), 0);
  EXPECT_FLOAT_EQ(d_table[7 * 3], d_y[0] + d_y[6] + d_y[12]);
  EXPECT_EQ(d_table[1 * 3], 0.0f);
  ASSERT_EQ(sumRows(d_table, d_y, tokens, {5, 3, 40}, 1, /*micro_batch=*/1), 0);
  EXPECT_FLOAT_EQ(d_table[39 * 3], 2 * d_y[3]);
  ASSERT_EQ(sumRows(d_table, d_y, tokens, {5, 3, 40}, 2), 0);
  EXPECT_FLOAT_EQ(d_table[39 * 3], 3 * d_y[3]);
}

TEST(Embedding, ATokenOutsideTheVocabularyRaisesAFlag) {
  Values table(12, 2.0f), y(6, NAN), invalid(1, NAN), d_y(6, 1.0f), d_table(12, NAN);
  for (int32_t bad : {4, -1, INT32_MAX}) {
    std::vector<int32_t> tokens = {bad, 3};
    ASSERT_EQ(lookUp(y, table, tokens, {2, 3, 4}, &invalid), 0);
    EXPECT_EQ(invalid[0], 1.0f);
    EXPECT_EQ(y, (Values{0, 0, 0, 2, 2, 2}));
    ASSERT_EQ(sumRows(d_table, d_y, tokens, {2, 3, 4}, 0), 0);
    EXPECT_EQ(d_table, (Values{0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1}));
  }
  std::vector<int32_t> tokens = {0, 3};
  ASSERT_EQ(lookUp(y, table, tokens, {2, 3, 4}, &invalid, /*micro_batch=*/1), 0);
  EXPECT_EQ(invalid[0], 1.0f) << "an earlier micro-batch is forgotten";
  ASSERT_EQ(lookUp(y, table, tokens, {2, 3, 4}, &invalid), 0);
  EXPECT_EQ(invalid[0], 0.0f);
}

TEST(Embedding, ARankHasItsPartOfTheVocabulary) {
  const int64_t rows = 5, cols = 3, vocab = 4;
  Values whole = randomValues(2 * vocab * cols, 1), d_y = randomValues(rows * cols, 2), expected(rows * cols), sum(rows * cols);
  Values d_whole(whole.size()), d_parts;
  std::vector<int32_t> tokens = {7, 0, 3, 4, 7}, outside = {7, 0, 3, 4, 8};
  ASSERT_EQ(lookUp(expected, whole, tokens, {rows, cols, 2 * vocab}), 0);
  ASSERT_EQ(sumRows(d_whole, d_y, tokens, {rows, cols, 2 * vocab}, 0), 0);
  for (int64_t rank : {0, 1}) {
    Values table(whole.begin() + rank * vocab * cols, whole.begin() + (rank + 1) * vocab * cols), y(rows * cols, NAN), invalid(1, NAN);
    Values d_table(table.size(), NAN);
    Ints ints = {{"rows", rows}, {"cols", cols}, {"vocab", vocab}, {"vocab_axis", MG_TP}};
    Launch launch("mg_embedding", {{"y", y}, {"table", table}, {"tokens", tokens}, {"invalid", invalid}}, ints, {});
    launch.context.axes[MG_TP] = {rank, 2, nullptr};
    ASSERT_EQ(run(launch), 0);
    EXPECT_EQ(invalid[0], 0.0f);
    for (size_t i = 0; i < sum.size(); ++i)
      sum[i] += y[i];
    ints.emplace_back("accumulate", 0);
    Launch gradient("mg_embedding_grad", {{"d_table", d_table}, {"d_y", d_y}, {"tokens", tokens}}, ints, {});
    gradient.context = launch.context;
    ASSERT_EQ(run(gradient), 0);
    d_parts.insert(d_parts.end(), d_table.begin(), d_table.end());
    launch.operands[3] = outside.data();
    ASSERT_EQ(run(launch), 0);
    EXPECT_EQ(invalid[0], 1.0f);
  }
  EXPECT_EQ(sum, expected);
  EXPECT_EQ(d_parts, d_whole);
}

TEST(Embedding, SeveralIdsARowStandSideBySide) {
  Values table = randomValues(9 * 2, 1), y(2 * 3 * 2, NAN), d_y = randomValues(12, 2), d_table(18, NAN);
  std::vector<int32_t> ids = {0, 4, 8, 4, 4, 1}; // two rows of three
  ASSERT_EQ(lookUp(y, table, ids, {6, 2, 9}), 0);
  EXPECT_EQ(Values(y.begin() + 2, y.begin() + 4), Values(table.begin() + 8, table.begin() + 10));
  ASSERT_EQ(sumRows(d_table, d_y, ids, {6, 2, 9}, 0), 0);
  EXPECT_FLOAT_EQ(d_table[8], d_y[2] + d_y[6] + d_y[8]);
  EXPECT_EQ(d_table[4], 0.0f);
}
