#include "runtime/kernels/TestSupport.h"

using namespace megacc::test;

TEST(MoeCombine, MatchesFiniteDifferences) {
  // Token 1 has one pick, token 2 none: the last three of six rows are empty.
  const int64_t tokens = 3, cols = 11, kept = 2, experts = 2;
  std::vector<int32_t> position = {2, 0, 1, -1, -1, -1}, offsets = {0, 1, 3};
  Values x = randomValues(tokens * cols, 1), rows(6 * cols, NAN), y(x.size(), NAN);
  Ints ints = {{"tokens", tokens}, {"cols", cols}, {"kept", kept}}, with_experts = ints;
  with_experts.emplace_back("experts", experts);
  ASSERT_EQ(call("mg_moe_dispatch", {{"rows", rows}, {"x", x}, {"position", position}, {"offsets", offsets}}, with_experts), 0);
  for (int64_t j = 0; j < cols; ++j) {
    EXPECT_EQ(rows[j], x[j]);
    EXPECT_EQ(rows[cols + j], x[cols + j]);
    EXPECT_EQ(rows[2 * cols + j], x[j]);
  }
  for (int64_t j = 3 * cols; j < 6 * cols; ++j)
    EXPECT_EQ(rows[j], 0.0f);

  auto f = [&](const Doubles &v) {
    Doubles sum(tokens * cols);
    for (int64_t pick = 0; pick < 6; ++pick)
      for (int64_t j = 0; j < cols && position[pick] >= 0; ++j)
        sum[pick / 2 * cols + j] += v[position[pick] * cols + j];
    return sum;
  };
  std::fill(rows.begin(), rows.begin() + 3 * cols, 0.0f);
  Values values = randomValues(3 * cols, 2);
  std::copy(values.begin(), values.end(), rows.begin());
  const Doubles expected = f(widen(rows));
  std::fill(rows.begin() + 3 * cols, rows.end(), NAN); // nobody reads an empty row
  ASSERT_EQ(call("mg_moe_combine", {{"y", y}, {"rows", rows}, {"position", position}}, ints), 0);
  EXPECT_LT(relativeError(y, expected), 1e-6);
  // Its gradient is dispatch.
  Values d_y = randomValues(y.size(), 3), d_rows(rows.size(), NAN);
  ASSERT_EQ(call("mg_moe_dispatch", {{"rows", d_rows}, {"x", d_y}, {"position", position}, {"offsets", offsets}}, with_experts), 0);
  EXPECT_LT(relativeError(d_rows, numericGradient(f, Doubles(rows.size()), d_y)), 1e-6);
  // An addend at the place of the result.
  Values sum(y.size(), 5.0f);
  ASSERT_EQ(call("mg_moe_combine", {{"y", sum}, {"rows", rows}, {"position", position}, {"addend", sum}}, ints), 0);
  for (size_t i = 0; i < y.size(); ++i)
    EXPECT_NEAR(sum[i], y[i] + 5, 1e-6);
}

TEST(MoeCombine, WeightsGoToTheirRowsAndBack) {
  const int64_t picks = 6;
  std::vector<int32_t> position = {2, 0, 1, -1, -1, -1}, offsets = {0, 1, 3};
  Values weights = {1, 2, 3, 4, 5, 6}, rows(picks, NAN), d_rows = {10, 20, 30, NAN, NAN, NAN}, d_weights(picks, NAN);
  Ints sizes = {{"picks", picks}}, with_experts = {{"picks", picks}, {"experts", 2}};
  ASSERT_EQ(
      call("mg_moe_dispatch_weights", {{"rows", rows}, {"weights", weights}, {"position", position}, {"offsets", offsets}}, with_experts),
      0);
  EXPECT_EQ(rows, (Values{2, 3, 1, 0, 0, 0}));
  ASSERT_EQ(call("mg_moe_dispatch_weights_grad", {{"d_weights", d_weights}, {"d_rows", d_rows}, {"position", position}}, sizes), 0);
  EXPECT_EQ(d_weights, (Values{30, 10, 20, 0, 0, 0}));
}
