#include "runtime/core/FastMath.h"
#include "runtime/core/NormalCdf.h"
#include "runtime/kernels/TestSupport.h"

using namespace megacc::test;

namespace {

Doubles activated(int64_t kind, int64_t width, const Doubles &x) {
  Doubles y(kind == 3 ? x.size() / 2 : x.size());
  for (size_t i = 0; i < y.size(); ++i) {
    double v = kind == 3 ? x[i / width * 2 * width + i % width] : x[i];
    if (kind == 0)
      y[i] = 0.5 * v * (1 + std::erf(v / std::sqrt(2.0)));
    else if (kind == 1)
      y[i] = 0.5 * v * (1 + std::tanh(std::sqrt(2 / M_PI) * (v + 0.044715 * v * v * v)));
    else if (kind == 2)
      y[i] = v > 0 ? v * v : 0;
    else
      y[i] = v / (1 + std::exp(-v)) * x[i / width * 2 * width + width + i % width];
  }
  return y;
}

} // namespace

TEST(Activation, MatchesFiniteDifferencesForEveryKind) {
  for (int64_t kind = 0; kind < 4; ++kind) {
    int64_t rows = 5, width = 7, wide = kind == 3 ? 2 * width : width;
    Values x = randomValues(rows * wide, 1, 2.0f), y(rows * width), d_y = randomValues(y.size(), 2), d_x(x.size(), NAN);
    auto f = [&](const Doubles &v) { return activated(kind, width, v); };
    ASSERT_EQ(call(mg_activation, {y.data(), x.data()}, {rows, width, kind}), 0);
    EXPECT_LT(relativeError(y, f(widen(x))), 1e-6) << kind;
    ASSERT_EQ(call(mg_activation_grad, {d_x.data(), d_y.data(), x.data()}, {rows, width, kind}), 0);
    EXPECT_LT(relativeError(d_x, numericGradient(f, widen(x), d_y)), 1e-5) << kind;
  }
  EXPECT_NE(call(mg_activation, {nullptr, nullptr}, {1, 1, 4}), 0);
}

TEST(Activation, NanReachesTheResult) {
  Values x(16, NAN), y(8), d_y(8, 1), d_x(16);
  ASSERT_EQ(call(mg_activation, {y.data(), x.data()}, {1, 8, 3}), 0);
  ASSERT_EQ(call(mg_activation_grad, {d_x.data(), d_y.data(), x.data()}, {1, 8, 3}), 0);
  for (float value : y)
    EXPECT_TRUE(std::isnan(value));
  for (float value : d_x)
    EXPECT_TRUE(std::isnan(value));
}

TEST(Copies, AddCopyAndFillCrossATileBoundary) {
  const int64_t count = 32768 + 5;
  Values a = randomValues(count, 1), b = randomValues(count, 2), y(count, NAN);
  ASSERT_EQ(call(mg_add, {y.data(), a.data(), b.data()}, {count}), 0);
  for (int64_t i = 0; i < count; ++i)
    ASSERT_EQ(y[i], a[i] + b[i]);
  ASSERT_EQ(call(mg_copy, {y.data(), a.data()}, {count}), 0);
  EXPECT_EQ(y, a);
  ASSERT_EQ(call(mg_fill_zero, {y.data()}, {count, 1}, {}, 1), 0);
  EXPECT_EQ(y, a);
  ASSERT_EQ(call(mg_fill_zero, {y.data()}, {count, 1}), 0);
  EXPECT_EQ(y, Values(count, 0.0f));
}

TEST(Accumulate, OverwritesFirstAndAddsLater) {
  Values sum(3, NAN), x = {1, 2, 3};
  call(mg_accumulate, {sum.data(), x.data()}, {3, 1}, {0.5}, 0);
  EXPECT_EQ(sum, (Values{0.5f, 1, 1.5f}));
  call(mg_accumulate, {sum.data(), x.data()}, {3, 1}, {0.5}, 1);
  EXPECT_EQ(sum, x);
}

TEST(Accumulate, SumsTheTermsOfALoss) {
  Values sum(1, NAN), a = {1}, b = {2}, c = {4};
  call(mg_accumulate_terms, {sum.data(), a.data(), b.data(), c.data()}, {3, 1}, {0.5}, 0);
  EXPECT_EQ(sum[0], 3.5f);
  call(mg_accumulate_terms, {sum.data(), b.data()}, {1, 1}, {0.5}, 1);
  EXPECT_EQ(sum[0], 4.5f);
}

TEST(FastMath, ExponentialIsWithinTwoUlp) {
  for (float x = -86.5f; x < 88.5f; x += 0.0137f) {
    double exact = std::exp(double(x));
    EXPECT_NEAR(megacc::runtime::fastExp(x) / exact, 1.0, 2 * 0x1p-23) << x;
  }
  EXPECT_EQ(megacc::runtime::fastExp(-INFINITY), 0.0f);
  EXPECT_EQ(megacc::runtime::fastExp(INFINITY), INFINITY);
  EXPECT_TRUE(std::isnan(megacc::runtime::fastExp(NAN)));
}

TEST(NormalCdf, IsWithinOneUlpOfOne) {
  for (float x = -12.0f; x < 12.0f; x += 0.00137f)
    EXPECT_NEAR(megacc::runtime::normalCdf(x), 0.5 * std::erfc(-double(x) / std::sqrt(2.0)), 0x1p-23) << x;
  EXPECT_EQ(megacc::runtime::normalCdf(-INFINITY), 0.0f);
  EXPECT_EQ(megacc::runtime::normalCdf(INFINITY), 1.0f);
  EXPECT_TRUE(std::isnan(megacc::runtime::normalCdf(NAN)));
}

TEST(FastMath, HyperbolicTangentIsWithinTwoUlp) {
  for (float x = -12.0f; x < 12.0f; x += 0.00137f)
    EXPECT_NEAR(megacc::runtime::fastTanh(x) / std::tanh(double(x)), 1.0, 2 * 0x1p-23) << x;
  EXPECT_EQ(megacc::runtime::fastTanh(0.0f), 0.0f);
  EXPECT_EQ(megacc::runtime::fastTanh(1e-30f), 1e-30f);
  EXPECT_EQ(megacc::runtime::fastTanh(INFINITY), 1.0f);
  EXPECT_EQ(megacc::runtime::fastTanh(-INFINITY), -1.0f);
  EXPECT_LE(megacc::runtime::fastTanh(7.9f), 1.0f);
  EXPECT_TRUE(std::isnan(megacc::runtime::fastTanh(NAN)));
}
