#include "runtime/kernels/GpuTestSupport.h"

#include <gtest/gtest.h>

using namespace megacc::gpu;

namespace {

struct Shape {
  int64_t rows, in, out;
};

/// d[m,n] = sum over k of a(m,k) b(k,n).
template <typename A, typename B> Values multiply(int64_t m, int64_t n, int64_t k, A &&a, B &&b) {
  Values d(m * n);
  for (int64_t i = 0; i < m; ++i)
    for (int64_t p = 0; p < k; ++p)
      for (int64_t j = 0; j < n; ++j)
        d[i * n + j] += a(i, p) * b(p, j);
  return d;
}

class LinearGpu : public testing::TestWithParam<Shape> {
protected:
  /// `type`: of weight, y and d_y.
  static void check(MgType type, double y_limit) {
    const auto [rows, in, out] = GetParam();
    Values x = randomValues(rows * in, 1), weight = randomValues(out * in, 2, 1, type), d_y = randomValues(rows * out, 3, 1, type);
    auto x_at = [&, in = in](int64_t t, int64_t i) { return x[t * in + i]; };
    auto w_at = [&, in = in](int64_t o, int64_t i) { return weight[o * in + i]; };
    auto g_at = [&, out = out](int64_t t, int64_t o) { return d_y[t * out + o]; };
    auto setSizes = [&, rows = rows, in = in, out = out](Call &call) { call.set("rows", rows).set("in", in).set("out", out); };

    Call forward = MG_CALL(mg_linear);
    setSizes(forward.poisoned("y", type, rows * out).give("x", MG_BF16, x).give("weight", type, weight));
    ASSERT_EQ(forward.run(), "");
    EXPECT_LT(relativeError(forward.read("y"), multiply(rows, out, in, x_at, [&](int64_t i, int64_t o) { return w_at(o, i); })), y_limit);

    Call input = MG_CALL(mg_linear_grad_input);
    setSizes(input.poisoned("d_x", MG_BF16, rows * in).give("d_y", type, d_y).give("weight", type, weight));
    ASSERT_EQ(input.run(), "");
    EXPECT_LT(relativeError(input.read("d_x"), multiply(rows, in, out, g_at, w_at)), 4e-3);

    // The gradient of a parameter is f32.
    if (type == MG_BF16) {
      Call parameter = MG_CALL(mg_linear_grad_input);
      setSizes(parameter.poisoned("d_x", MG_F32, rows * in).give("d_y", type, d_y).give("weight", type, weight));
      ASSERT_EQ(parameter.run(), "");
      EXPECT_LT(relativeError(parameter.read("d_x"), multiply(rows, in, out, g_at, w_at)), 2e-6);
    }

    // An addend at the place of the result; the forward takes one with a bf16 weight alone.
    Values addend = randomValues(rows * out, 4), input_addend = randomValues(rows * in, 5);
    if (type == MG_BF16) {
      Call sum = MG_CALL(mg_linear);
      setSizes(sum.poisoned("y", type, rows * out).give("x", MG_BF16, x).give("weight", type, weight).give("addend", type, addend));
      ASSERT_EQ(sum.run(), "");
      Values expected = multiply(rows, out, in, x_at, [&](int64_t i, int64_t o) { return w_at(o, i); });
      for (size_t i = 0; i < expected.size(); ++i)
        expected[i] += addend[i];
      EXPECT_LT(relativeError(sum.read("y"), expected), 2 * y_limit);
    }
    Call inputSum = MG_CALL(mg_linear_grad_input);
    setSizes(inputSum.give("d_x", MG_BF16, input_addend).give("d_y", type, d_y).give("weight", type, weight).share("addend", "d_x"));
    ASSERT_EQ(inputSum.run(), "");
    Values expected_input = multiply(rows, in, out, g_at, w_at);
    for (size_t i = 0; i < expected_input.size(); ++i)
      expected_input[i] += input_addend[i];
    EXPECT_LT(relativeError(inputSum.read("d_x"), expected_input), 8e-3); // the product may be rounded before the sum is

    Values d_weight = multiply(out, in, rows, [&](int64_t o, int64_t t) { return g_at(t, o); }, x_at);
    for (auto [accumulate, micro_batch] : {std::pair(0, 1), {1, 0}, {1, 1}, {2, 0}}) {
      bool adds = accumulate == 2 || (accumulate == 1 && micro_batch > 0);
      Call sums = MG_CALL(mg_linear_grad_weight);
      adds ? sums.give("d_weight", MG_F32, Values(out * in, 1)) : sums.poisoned("d_weight", MG_F32, out * in);
      setSizes(sums.give("d_y", type, d_y).give("x", MG_BF16, x).set("accumulate", accumulate).at(micro_batch));
      ASSERT_EQ(sums.run(), "");
      Values got = sums.read("d_weight");
      for (double &value : got)
        value -= adds;
      EXPECT_LT(relativeError(got, d_weight), 2e-6);
    }
  }
};

} // namespace

TEST_P(LinearGpu, MatchesTheReference) {
  MG_NEEDS_CARD();
  check(MG_BF16, 4e-3);
}

TEST_P(LinearGpu, KeepsFp32WhereTensorsAreFp32) {
  MG_NEEDS_CARD();
  check(MG_F32, 2e-6);
}

INSTANTIATE_TEST_SUITE_P(Shapes, LinearGpu,
                         testing::Values(Shape{1, 1, 1}, Shape{67, 5, 3}, Shape{130, 64, 17}, Shape{200, 136, 8}, Shape{128, 256, 192},
                                         Shape{1, 512, 33}));

TEST(LinearOnGpu, WantsItsWholeScratch) {
  MG_NEEDS_CARD();
  Call call = MG_CALL(mg_linear);
  call.poisoned("y", MG_BF16, 64).poisoned("x", MG_BF16, 64).poisoned("weight", MG_BF16, 64).poisoned("scratch", MG_RAW, 128);
  call.set("rows", 8).set("in", 8).set("out", 8);
  EXPECT_NE(call.launch(), 0);
  EXPECT_STREQ(mg_last_error(), "mg_linear: its scratch has 128 bytes, it needs 33554432; fix: compile the declaration again");
}
