#include "runtime/kernels/TestSupport.h"

using namespace megacc::test;

TEST(RmsNorm, MatchesFiniteDifferences) {
  for (auto [rows, cols] : {std::pair<int64_t, int64_t>{1, 1}, {3, 7}, {130, 9}}) {
    Values packed = randomValues(rows * cols + cols, 1), y(rows * cols), rstd(rows), d_y = randomValues(y.size(), 2);
    Values gradient(packed.size(), NAN), again(packed.size(), NAN), y_again(y.size(), NAN);
    float *x = packed.data(), *weight = x + rows * cols;
    auto f = [r = rows, c = cols](const Doubles &v) {
      Doubles result(r * c);
      for (int64_t t = 0; t < r; ++t) {
        double sum = 0;
        for (int64_t j = 0; j < c; ++j)
          sum += v[t * c + j] * v[t * c + j];
        for (int64_t j = 0; j < c; ++j)
          result[t * c + j] = v[t * c + j] / std::sqrt(sum / c + 1e-5) * v[r * c + j];
      }
      return result;
    };
    Ints sizes = {{"rows", rows}, {"cols", cols}}, summed = sizes;
    summed.emplace_back("accumulate", 0);
    Operand given_x("x", x, rows * cols), given_weight("weight", weight, cols);
    ASSERT_EQ(call("mg_rms_norm", {{"y", y}, {"rstd", rstd}, given_x, given_weight}, sizes, {{"eps", 1e-5}}), 0);
    EXPECT_LT(relativeError(y, f(widen(packed))), 1e-6);
    auto grad = [&](Values &to, const Operand &cache) {
      return call(
          "mg_rms_norm_grad",
          {{"d_x", to.data(), rows * cols}, {"d_weight", to.data() + rows * cols, cols}, {"d_y", d_y}, given_x, given_weight, cache},
          summed, {{"eps", 1e-5}});
    };
    ASSERT_EQ(grad(gradient, {"rstd", rstd}), 0);
    EXPECT_LT(relativeError(gradient, numericGradient(f, widen(packed), d_y)), 1e-5);
    // An addend of the backward at the place of its result; the norm of a sum, kept or not, has the bits of the norm of the sum.
    Values added = randomValues(packed.size(), 3), other = randomValues(y.size(), 4), sum(y.size(), NAN), y_sum(y.size(), NAN);
    Doubles expected = numericGradient(f, widen(packed), d_y);
    for (int64_t i = 0; i < rows * cols; ++i)
      expected[i] += added[i];
    ASSERT_EQ(call("mg_rms_norm_grad",
                   {{"d_x", added.data(), rows * cols},
                    {"d_weight", added.data() + rows * cols, cols},
                    {"d_y", d_y},
                    given_x,
                    {"addend", added.data(), rows * cols},
                    given_weight},
                   summed, {{"eps", 1e-5}}),
              0);
    EXPECT_LT(relativeError(added, expected), 1e-5);
    Operand given_other("addend", other);
    ASSERT_EQ(call("mg_rms_norm", {{"y", y_sum}, {"sum", sum}, given_x, given_other, given_weight}, sizes, {{"eps", 1e-5}}), 0);
    for (size_t i = 0; i < sum.size(); ++i)
      EXPECT_EQ(sum[i], x[i] + other[i]);
    ASSERT_EQ(call("mg_rms_norm", {{"y", y_again}, {"x", sum}, given_weight}, sizes, {{"eps", 1e-5}}), 0);
    EXPECT_EQ(y_sum, y_again);
    ASSERT_EQ(call("mg_rms_norm", {{"y", y_sum}, given_x, given_other, given_weight}, sizes, {{"eps", 1e-5}}), 0);
    EXPECT_EQ(y_sum, y_again);
    // Without the cache: the same bits.
    ASSERT_EQ(call("mg_rms_norm", {{"y", y_again}, given_x, given_weight}, sizes, {{"eps", 1e-5}}), 0);
    EXPECT_EQ(y_again, y);
    ASSERT_EQ(grad(again, {"rstd", nullptr}), 0);
    EXPECT_EQ(again, gradient);
    // accumulate = 2 adds in the first micro-batch, too.
    summed.back().second = 2;
    ASSERT_EQ(grad(again, {"rstd", rstd}), 0);
    for (int64_t j = rows * cols; j < (rows + 1) * cols; ++j)
      EXPECT_NEAR(again[j], 2 * gradient[j], 1e-5 * std::abs(gradient[j]));
  }
}

TEST(RmsNorm, NotesWhatIsNotFinite) {
  const int64_t rows = 70, cols = 5;
  Values x = randomValues(rows * cols, 1), weight(cols, 1.0f), y(x.size());
  Values flags(1, NAN);
  float &flag = flags[0];
  auto run = [&](int64_t micro_batch) {
    return call("mg_rms_norm", {{"y", y}, {"nonfinite", flags}, {"x", x}, {"weight", weight}}, {{"rows", rows}, {"cols", cols}},
                {{"eps", 1e-5}}, micro_batch);
  };
  for (float bad : {1.0f, NAN, INFINITY, 1e30f}) {
    x[67 * cols + 2] = bad;
    ASSERT_EQ(run(0), 0);
    EXPECT_EQ(flag, bad == 1.0f ? 0.0f : 1.0f);
  }
  x[67 * cols + 2] = 0;
  ASSERT_EQ(run(1), 0);
  EXPECT_EQ(flag, 1.0f) << "an earlier micro-batch is forgotten";
  ASSERT_EQ(run(0), 0);
  EXPECT_EQ(flag, 0.0f);
}
