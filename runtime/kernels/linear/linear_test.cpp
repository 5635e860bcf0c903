#include "runtime/kernels/TestSupport.h"

using namespace megacc::test;

namespace {

Doubles product(int64_t rows, int64_t in, int64_t out, const Doubles &packed) {
  const double *x = packed.data(), *weight = x + rows * in;
  Doubles y(rows * out);
  for (int64_t t = 0; t < rows; ++t)
    for (int64_t o = 0; o < out; ++o)
      for (int64_t i = 0; i < in; ++i)
        y[t * out + o] += x[t * in + i] * weight[o * in + i];
  return y;
}

} // namespace

TEST(Linear, MatchesFiniteDifferencesAtOddSizes) {
  for (auto [rows, in, out] : {std::tuple<int64_t, int64_t, int64_t>{1, 1, 1}, {3, 5, 7}, {37, 4, 3}, {2, 3, 41}}) {
    Values packed = randomValues(rows * in + out * in, 1), y(rows * out), d_y = randomValues(y.size(), 2), gradient(packed.size(), NAN);
    float *x = packed.data(), *weight = x + rows * in, *d_weight = gradient.data() + rows * in;
    auto f = [&, r = rows, i = in, o = out](const Doubles &v) { return product(r, i, o, v); };
    Ints sizes = {{"rows", rows}, {"in", in}, {"out", out}}, summed = sizes;
    summed.emplace_back("accumulate", 1);
    Operand given_x("x", x, rows * in), given_weight("weight", weight, out * in), given_d_weight("d_weight", d_weight, out * in);
    ASSERT_EQ(call("mg_linear", {{"y", y}, given_x, given_weight}, sizes), 0);
    EXPECT_LT(relativeError(y, f(widen(packed))), 1e-6);
    ASSERT_EQ(call("mg_linear_grad_input", {{"d_x", gradient.data(), rows * in}, {"d_y", d_y}, given_weight}, sizes), 0);
    ASSERT_EQ(call("mg_linear_grad_weight", {given_d_weight, {"d_y", d_y}, given_x}, summed), 0);
    Doubles expected = numericGradient(f, widen(packed), d_y);
    EXPECT_LT(relativeError(gradient, expected), 1e-6);
    // An addend, at its own place and at that of the result.
    Values addend = randomValues(y.size(), 3), input_addend = randomValues(rows * in, 4), sum(y.size(), NAN), input_sum = input_addend;
    Doubles expected_sum = f(widen(packed)), expected_input(expected.begin(), expected.begin() + rows * in);
    for (size_t i = 0; i < sum.size(); ++i)
      expected_sum[i] += addend[i];
    for (size_t i = 0; i < input_sum.size(); ++i)
      expected_input[i] += input_addend[i];
    ASSERT_EQ(call("mg_linear", {{"y", sum}, given_x, given_weight, {"addend", addend}}, sizes), 0);
    EXPECT_LT(relativeError(sum, expected_sum), 1e-6);
    ASSERT_EQ(call("mg_linear_grad_input", {{"d_x", input_sum}, {"d_y", d_y}, given_weight, {"addend", input_sum}}, sizes), 0);
    EXPECT_LT(relativeError(input_sum, expected_input), 1e-6);
    // A later micro-batch adds, and so does accumulate = 2 in the first.
    ASSERT_EQ(call("mg_linear_grad_weight", {given_d_weight, {"d_y", d_y}, given_x}, summed, {}, 1), 0);
    EXPECT_NEAR(d_weight[0], 2 * expected[rows * in], 1e-5);
    summed.back().second = 2;
    ASSERT_EQ(call("mg_linear_grad_weight", {given_d_weight, {"d_y", d_y}, given_x}, summed), 0);
    EXPECT_NEAR(d_weight[0], 3 * expected[rows * in], 1e-5);
  }
}

TEST(Linear, GivesTheSameBitsAtAnyNumberOfThreads) {
  Values packed = randomValues(300 * 64 + 96 * 64, 1), one(300 * 96), three(one.size());
  auto run = [&](int32_t threads, Values &y) {
    mg_cpu_set_threads(threads);
    EXPECT_EQ(call("mg_linear", {{"y", y}, {"x", packed.data(), 300 * 64}, {"weight", packed.data() + 300 * 64, 96 * 64}},
                   {{"rows", 300}, {"in", 64}, {"out", 96}}),
              0);
  };
  run(1, one);
  run(3, three);
  mg_cpu_set_threads(2);
  EXPECT_EQ(one, three);
}
