#include "runtime/kernels/TestSupport.h"

using namespace megacc::test;

TEST(RmsNorm, MatchesFiniteDifferences) {
  for (auto [rows, cols] : {std::pair<int64_t, int64_t>{1, 1}, {3, 7}, {130, 9}}) {
    Values packed = randomValues(rows * cols + cols, 1), y(rows * cols), rstd(rows), d_y = randomValues(y.size(), 2);
    Values gradient(packed.size(), NAN), partial((rows + 63) / 64 * cols, NAN);
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
    ASSERT_EQ(call(mg_rms_norm, {y.data(), rstd.data(), nullptr, x, weight}, {rows, cols, 0}, {1e-5}), 0);
    EXPECT_LT(relativeError(y, f(widen(packed))), 1e-6);
    ASSERT_EQ(call(mg_rms_norm_grad, {gradient.data(), gradient.data() + rows * cols, d_y.data(), x, rstd.data(), weight, partial.data()},
                   {rows, cols, 0}),
              0);
    EXPECT_LT(relativeError(gradient, numericGradient(f, widen(packed), d_y)), 1e-5);
  }
}

TEST(RmsNorm, NotesWhatIsNotFinite) {
  const int64_t rows = 70, cols = 5;
  Values x = randomValues(rows * cols, 1), weight(cols, 1.0f), y(x.size()), rstd(rows);
  float flag = NAN;
  auto run = [&](int64_t micro_batch) {
    return call(mg_rms_norm, {y.data(), rstd.data(), &flag, x.data(), weight.data()}, {rows, cols, 1}, {1e-5}, micro_batch);
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
