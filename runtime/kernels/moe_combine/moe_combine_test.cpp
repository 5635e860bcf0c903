#include "runtime/kernels/TestSupport.h"

using namespace megacc::test;

TEST(MoeCombine, MatchesFiniteDifferences) {
  // Token 1 has one pick, token 2 none: the last three of six rows are empty.
  const int64_t tokens = 3, cols = 11, kept = 2, experts = 2;
  std::vector<int32_t> position = {2, 0, 1, -1, -1, -1}, offsets = {0, 1, 3};
  Values x = randomValues(tokens * cols, 1), rows(6 * cols, NAN), packed = randomValues(6 * cols + 6, 2), y(x.size(), NAN);
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
        sum[pick / 2 * cols + j] += v[6 * cols + pick] * v[position[pick] * cols + j];
    return sum;
  };
  for (int64_t i = 3 * cols; i < 6 * cols; ++i)
    packed[i] = NAN; // nobody reads an empty row
  float *out = packed.data(), *weights = out + 6 * cols;
  Operand given_rows("rows", out, 6 * cols), given_weights("weights", weights, 6);
  ASSERT_EQ(call("mg_moe_combine", {{"y", y}, given_rows, given_weights, {"position", position}}, ints), 0);
  EXPECT_LT(relativeError(y, f(widen(packed))), 1e-6);

  Values d_y = randomValues(y.size(), 3), gradient(packed.size(), NAN);
  float *d_rows = gradient.data();
  std::vector<Operand> inputs = {{"d_y", d_y}, given_rows, given_weights, {"position", position}, {"offsets", offsets}}, operands = inputs;
  operands.insert(operands.end(), {{"d_rows", d_rows, 6 * cols}, {"d_weights", d_rows + 6 * cols, 6}});
  ASSERT_EQ(call("mg_moe_combine_grad", operands, with_experts), 0);
  EXPECT_LT(relativeError(gradient, numericGradient(f, widen(packed), d_y)), 1e-6);
  Values d_weights(6, NAN); // in place
  operands = inputs;
  operands.insert(operands.end(), {{"d_rows", out, 6 * cols}, {"d_weights", d_weights}});
  ASSERT_EQ(call("mg_moe_combine_grad", operands, with_experts), 0);
  for (int64_t i = 0; i < 6 * cols; ++i)
    EXPECT_EQ(out[i], gradient[i]);
  EXPECT_EQ(d_weights, Values(gradient.end() - 6, gradient.end()));

  // Without weights: the gradient of dispatch.
  ASSERT_EQ(call("mg_moe_combine", {{"y", y}, {"rows", gradient.data(), 6 * cols}, {"position", position}}, ints), 0);
  EXPECT_FLOAT_EQ(y[0], gradient[2 * cols] + gradient[0]);
  EXPECT_EQ(y[cols], gradient[cols]);
  EXPECT_EQ(y[2 * cols], 0.0f);
  // An addend at the place of the result.
  Values sum(y.size(), 5.0f);
  ASSERT_EQ(call("mg_moe_combine", {{"y", sum}, {"rows", gradient.data(), 6 * cols}, {"position", position}, {"addend", sum}}, ints), 0);
  for (size_t i = 0; i < y.size(); ++i)
    EXPECT_NEAR(sum[i], y[i] + 5, 1e-6);
}
