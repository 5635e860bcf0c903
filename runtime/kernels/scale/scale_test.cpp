#include "runtime/kernels/TestSupport.h"

using namespace megacc::test;

TEST(Scale, MatchesFiniteDifferences) {
  for (auto [rows, cols, scales] :
       {std::tuple<int64_t, int64_t, int64_t>{1, 1, 1}, {1, 5, 5}, {1, 5, 1}, {3, 7, 7}, {130, 9, 9}, {130, 9, 1}}) {
    int64_t count = rows * cols;
    Values packed = randomValues(count + scales, 1), y(count, NAN), d_y = randomValues(count, 2), gradient(packed.size(), NAN);
    auto f = [r = rows, c = cols, s = scales](const Doubles &v) {
      Doubles result(r * c);
      for (int64_t i = 0; i < r * c; ++i)
        result[i] = v[i] * v[r * c + (s == c ? i % c : 0)];
      return result;
    };
    Ints sizes = {{"rows", rows}, {"cols", cols}, {"scales", scales}};
    Operand x("x", packed.data(), count), scale("scale", packed.data() + count, scales);
    ASSERT_EQ(call("mg_scale", {{"y", y}, x, scale}, sizes), 0);
    EXPECT_LT(relativeError(y, f(widen(packed))), 1e-6);
    auto grad = [&] {
      return call("mg_scale_grad", {{"d_x", gradient.data(), count}, {"d_scale", gradient.data() + count, scales}, {"d_y", d_y}, x, scale},
                  sizes);
    };
    ASSERT_EQ(grad(), 0);
    EXPECT_LT(relativeError(gradient, numericGradient(f, widen(packed), d_y)), 1e-5);
    Values two_threads = gradient;
    mg_cpu_set_threads(1);
    ASSERT_EQ(grad(), 0);
    mg_cpu_set_threads(2);
    EXPECT_EQ(gradient, two_threads);
  }
}
