#include "runtime/kernels/TestSupport.h"

using namespace megacc::test;

TEST(Split, ConcatIsItsInverse) {
  const int64_t rows = 67, groups = 3;
  Values x = randomValues(rows * groups * 7, 1), a(rows * groups * 2), b(rows * groups), c(rows * groups * 4), y(x.size(), NAN);
  Ints ints = {{"rows", rows}, {"groups", groups}, {"width0", 2}, {"width1", 1}, {"width2", 4}, {"width3", 0}, {"parts", 3}};
  ASSERT_EQ(call("mg_split", {{"x", x}, {"part", a}, {"part", b}, {"part", c}}, ints), 0);
  EXPECT_EQ(b[groups + 1], x[7 * (groups + 1) + 2]);
  ASSERT_EQ(call("mg_concat", {{"y", y}, {"part", a}, {"part", b}, {"part", c}}, ints), 0);
  EXPECT_EQ(x, y);
}

TEST(RepeatGroups, SumIsItsGradient) {
  Values x = {1, 2, 3, 4}, y(12), sum(4);
  Ints sizes = {{"rows", 2}, {"groups", 3}, {"width", 2}};
  ASSERT_EQ(call("mg_repeat_groups", {{"y", y}, {"x", x}}, sizes, {{"scale", 1.0}}), 0);
  EXPECT_EQ(y, (Values{1, 2, 1, 2, 1, 2, 3, 4, 3, 4, 3, 4}));
  ASSERT_EQ(call("mg_sum_groups", {{"y", sum}, {"x", y}}, sizes, {{"scale", 1.0}}), 0);
  EXPECT_EQ(sum, (Values{3, 6, 9, 12}));
  // Scaled, and added at the place of the result.
  ASSERT_EQ(call("mg_sum_groups", {{"y", sum}, {"x", y}}, sizes, {{"scale", 0.5}}), 0);
  EXPECT_EQ(sum, (Values{1.5, 3, 4.5, 6}));
  ASSERT_EQ(call("mg_repeat_groups", {{"y", y}, {"x", x}, {"addend", y}}, sizes, {{"scale", 2.0}}), 0);
  EXPECT_EQ(y, (Values{3, 6, 3, 6, 3, 6, 9, 12, 9, 12, 9, 12}));
}
