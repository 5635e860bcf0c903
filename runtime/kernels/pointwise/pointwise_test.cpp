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
    Ints ints = {{"rows", rows}, {"width", width}, {"kind", kind}};
    ASSERT_EQ(call("mg_activation", {{"y", y}, {"x", x}}, ints), 0);
    EXPECT_LT(relativeError(y, f(widen(x))), 1e-6) << kind;
    ASSERT_EQ(call("mg_activation_grad", {{"d_x", d_x}, {"d_y", d_y}, {"x", x}}, ints), 0);
    EXPECT_LT(relativeError(d_x, numericGradient(f, widen(x), d_y)), 1e-5) << kind;
  }
  Values one(1);
  EXPECT_NE(call("mg_activation", {{"y", one}, {"x", one}}, {{"rows", 1}, {"width", 1}, {"kind", 4}}), 0);
}

TEST(Activation, ScalesRows) {
  for (int64_t kind = 0; kind < 4; ++kind)
    for (int64_t width : {1, 7, 300}) {
      int64_t rows = 5, inputs = rows * (kind == 3 ? 2 * width : width);
      Values packed = randomValues(inputs + rows, 1, 2.0f), y(rows * width), d_y = randomValues(y.size(), 2), gradient(packed.size(), NAN);
      packed[inputs] = 0; // a row without a pick
      auto f = [&](const Doubles &v) {
        Doubles result = activated(kind, width, Doubles(v.begin(), v.begin() + inputs));
        for (size_t i = 0; i < result.size(); ++i)
          result[i] *= v[inputs + i / width];
        return result;
      };
      Ints ints = {{"rows", rows}, {"width", width}, {"kind", kind}};
      Operand x("x", packed.data(), inputs), scale("scale", packed.data() + inputs, rows);
      ASSERT_EQ(call("mg_activation", {{"y", y}, x, scale}, ints), 0);
      EXPECT_LT(relativeError(y, f(widen(packed))), 1e-6) << kind;
      Operand d_x("d_x", gradient.data(), inputs), d_scale("d_scale", gradient.data() + inputs, rows);
      ASSERT_EQ(call("mg_activation_grad", {d_x, d_scale, {"d_y", d_y}, x, scale}, ints), 0);
      EXPECT_LT(relativeError(gradient, numericGradient(f, widen(packed), d_y)), 1e-5) << kind;
    }
}

TEST(Activation, NanReachesTheResult) {
  Values x(16, NAN), y(8), d_y(8, 1), d_x(16);
  Ints ints = {{"rows", 1}, {"width", 8}, {"kind", 3}};
  ASSERT_EQ(call("mg_activation", {{"y", y}, {"x", x}}, ints), 0);
  ASSERT_EQ(call("mg_activation_grad", {{"d_x", d_x}, {"d_y", d_y}, {"x", x}}, ints), 0);
  for (float value : y)
    EXPECT_TRUE(std::isnan(value));
  for (float value : d_x)
    EXPECT_TRUE(std::isnan(value));
}

TEST(Copies, AddCopyAndFillCrossATileBoundary) {
  const int64_t count = 32768 + 5;
  Values a = randomValues(count, 1), b = randomValues(count, 2), y(count, NAN);
  ASSERT_EQ(call("mg_add", {{"y", y}, {"a", a}, {"b", b}}, {{"count", count}}), 0);
  for (int64_t i = 0; i < count; ++i)
    ASSERT_EQ(y[i], a[i] + b[i]);
  ASSERT_EQ(call("mg_copy", {{"y", y}, {"x", a}}, {{"count", count}}), 0);
  EXPECT_EQ(y, a);
  ASSERT_EQ(call("mg_fill_zero", {{"y", y}}, {{"count", count}, {"accumulate", 1}}, {}, 1), 0);
  ASSERT_EQ(call("mg_fill_zero", {{"y", y}}, {{"count", count}, {"accumulate", 2}}), 0);
  EXPECT_EQ(y, a);
  ASSERT_EQ(call("mg_fill_zero", {{"y", y}}, {{"count", count}, {"accumulate", 1}}), 0);
  EXPECT_EQ(y, Values(count, 0.0f));
}

TEST(Accumulate, OverwritesFirstAndAddsLater) {
  Values sum(3, NAN), x = {1, 2, 3};
  auto add = [&](int64_t accumulate, int64_t micro_batch) {
    Ints ints = {{"count", 3}, {"accumulate", accumulate}};
    EXPECT_EQ(call("mg_accumulate", {{"sum", sum}, {"x", x}}, ints, {{"scale", 0.5}}, micro_batch), 0);
  };
  add(1, 0);
  EXPECT_EQ(sum, (Values{0.5f, 1, 1.5f}));
  add(1, 1);
  EXPECT_EQ(sum, x);
  add(2, 0);
  EXPECT_EQ(sum, (Values{1.5f, 3, 4.5f}));
  add(0, 1);
  EXPECT_EQ(sum, (Values{0.5f, 1, 1.5f}));
}

TEST(Accumulate, SumsTheTermsOfALoss) {
  Values sum(1, NAN), a = {1}, b = {2}, c = {4};
  ASSERT_EQ(call("mg_accumulate_terms", {{"sum", sum}, {"part", a}, {"part", b}, {"part", c}}, {{"accumulate", 1}, {"parts", 3}},
                 {{"scale", 0.5}}),
            0);
  EXPECT_EQ(sum[0], 3.5f);
  ASSERT_EQ(call("mg_accumulate_terms", {{"sum", sum}, {"part", b}}, {{"accumulate", 1}, {"parts", 1}}, {{"scale", 0.5}}, 1), 0);
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
