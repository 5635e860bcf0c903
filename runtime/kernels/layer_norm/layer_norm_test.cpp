#include "runtime/kernels/TestSupport.h"

using namespace megacc::test;

TEST(LayerNorm, MatchesFiniteDifferences) {
  for (auto [rows, cols] : {std::pair<int64_t, int64_t>{1, 1}, {1, 2}, {3, 7}, {130, 9}}) {
    int64_t count = rows * cols;
    Values packed = randomValues(count + 2 * cols, 1), y(count, NAN), d_y = randomValues(count, 2), gradient(packed.size(), NAN);
    for (int64_t j = 0; j < cols; ++j)
      packed[j] = packed[j] * 1e-2f + 0.5f; // a row whose mean is far from zero, whose variance is near eps
    auto f = [r = rows, c = cols](const Doubles &v) {
      Doubles result(r * c);
      for (int64_t t = 0; t < r; ++t) {
        double mean = 0, variance = 0;
        for (int64_t j = 0; j < c; ++j)
          mean += v[t * c + j] / c;
        for (int64_t j = 0; j < c; ++j)
          variance += (v[t * c + j] - mean) * (v[t * c + j] - mean) / c;
        for (int64_t j = 0; j < c; ++j)
          result[t * c + j] = (v[t * c + j] - mean) / std::sqrt(variance + 1e-5) * v[r * c + j] + v[(r + 1) * c + j];
      }
      return result;
    };
    Ints sizes = {{"rows", rows}, {"cols", cols}};
    const float *x = packed.data();
    Operand given_x("x", x, count), weight("weight", x + count, cols);
    ASSERT_EQ(call("mg_layer_norm", {{"y", y}, given_x, weight, {"bias", x + count + cols, cols}}, sizes, {{"eps", 1e-5}}), 0);
    EXPECT_LT(relativeError(y, f(widen(packed))), 1e-5);
    float *d = gradient.data();
    auto grad = [&] {
      return call("mg_layer_norm_grad",
                  {{"d_x", d, count}, {"d_weight", d + count, cols}, {"d_bias", d + count + cols, cols}, {"d_y", d_y}, given_x, weight},
                  sizes, {{"eps", 1e-5}});
    };
    ASSERT_EQ(grad(), 0);
    EXPECT_LT(relativeError(gradient, numericGradient(f, widen(packed), d_y)), 2e-5);
    Values two_threads = gradient;
    mg_cpu_set_threads(1);
    ASSERT_EQ(grad(), 0);
    mg_cpu_set_threads(2);
    EXPECT_EQ(gradient, two_threads);
  }
}
