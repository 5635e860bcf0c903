#include "runtime/kernels/TestSupport.h"

using namespace megacc::test;

TEST(Split, ConcatIsItsInverse) {
  const int64_t rows = 67, groups = 3;
  Values x = randomValues(rows * groups * 7, 1), a(rows * groups * 2), b(rows * groups), c(rows * groups * 4), y(x.size(), NAN);
  std::vector<int64_t> ints = {rows, groups, 3, 2, 1, 4, 0};
  ASSERT_EQ(call(mg_split, {a.data(), b.data(), c.data(), x.data()}, ints), 0);
  EXPECT_EQ(b[groups + 1], x[7 * (groups + 1) + 2]);
  ASSERT_EQ(call(mg_concat, {y.data(), a.data(), b.data(), c.data()}, ints), 0);
  EXPECT_EQ(x, y);
}

TEST(RepeatGroups, SumIsItsGradient) {
  Values x = {1, 2, 3, 4}, y(12), sum(4);
  ASSERT_EQ(call(mg_repeat_groups, {y.data(), x.data()}, {2, 3, 2}), 0);
  EXPECT_EQ(y, (Values{1, 2, 1, 2, 1, 2, 3, 4, 3, 4, 3, 4}));
  ASSERT_EQ(call(mg_sum_groups, {sum.data(), y.data()}, {2, 3, 2}), 0);
  EXPECT_EQ(sum, (Values{3, 6, 9, 12}));
}
