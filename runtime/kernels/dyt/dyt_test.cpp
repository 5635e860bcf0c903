#include "runtime/kernels/TestSupport.h"

using namespace megacc::test;

namespace {

/// y of [x, weight, bias, alpha], one after the other.
Doubles dyt(const Doubles &v, int64_t rows, int64_t cols) {
  Doubles y(rows * cols);
  for (int64_t t = 0; t < rows; ++t)
    for (int64_t j = 0; j < cols; ++j)
      y[t * cols + j] = v[rows * cols + j] * std::tanh(v[(rows + 2) * cols] * v[t * cols + j]) + v[(rows + 1) * cols + j];
  return y;
}

} // namespace

TEST(Dyt, MatchesFiniteDifferences) {
  for (auto [rows, cols] : {std::pair<int64_t, int64_t>{1, 1}, {1, 2}, {3, 7}, {130, 9}, {2, 40}}) {
    int64_t count = rows * cols;
    Values packed = randomValues(count + 2 * cols + 1, 1), y(count, NAN), d_y = randomValues(count, 2), gradient(packed.size(), NAN);
    packed.back() = 0.7f;
    packed[0] = 30.0f; // where tanh is flat
    Ints sizes = {{"rows", rows}, {"cols", cols}};
    const float *x = packed.data();
    Operand given_x("x", x, count), weight("weight", x + count, cols), bias("bias", x + count + cols, cols),
        alpha("alpha", &packed.back(), 1);
    ASSERT_EQ(call("mg_dyt", {{"y", y}, given_x, weight, bias, alpha}, sizes), 0);
    auto f = [r = rows, c = cols](const Doubles &v) { return dyt(v, r, c); };
    EXPECT_LT(relativeError(y, f(widen(packed))), 1e-6);
    float *d = gradient.data();
    auto grad = [&] {
      return call("mg_dyt_grad",
                  {{"d_x", d, count},
                   {"d_weight", d + count, cols},
                   {"d_bias", d + count + cols, cols},
                   {"d_alpha", &gradient.back(), 1},
                   {"d_y", d_y},
                   given_x,
                   weight,
                   alpha},
                  sizes);
    };
    ASSERT_EQ(grad(), 0);
    EXPECT_LT(relativeError(gradient, numericGradient(f, widen(packed), d_y)), 1e-5);
    Values two_threads = gradient;
    mg_cpu_set_threads(1);
    ASSERT_EQ(grad(), 0);
    mg_cpu_set_threads(2);
    EXPECT_EQ(gradient, two_threads);
    // In the place of d_y and of x.
    for (const char *other : {"d_y", "x"}) {
      Values shared = other == std::string("x") ? Values(x, x + count) : d_y, d_weight(cols), d_bias(cols), d_alpha(1);
      Operand taken(other, shared), kept = other == std::string("x") ? Operand("d_y", d_y) : given_x;
      ASSERT_EQ(call("mg_dyt_grad",
                     {{"d_x", shared}, {"d_weight", d_weight}, {"d_bias", d_bias}, {"d_alpha", d_alpha}, taken, kept, weight, alpha},
                     sizes),
                0);
      EXPECT_EQ(shared, Values(gradient.begin(), gradient.begin() + count));
      EXPECT_EQ(d_alpha[0], gradient.back());
    }
  }
}

TEST(Dyt, NumbersThatAreNotFiniteRaiseTheFlag) {
  Values weight(9, 1), bias(9, 0), alpha(1, 0.5f), y(18), flag(1, NAN);
  for (auto [wrong, expected] : {std::pair<float, float>{1, 0}, {3e38f, 0}, {INFINITY, 1}, {-INFINITY, 1}, {NAN, 1}}) {
    Values x(18, 1);
    x[16] = wrong;
    ASSERT_EQ(call("mg_dyt", {{"y", y}, {"nonfinite", flag}, {"x", x}, {"weight", weight}, {"bias", bias}, {"alpha", alpha}},
                   {{"rows", 2}, {"cols", 9}}),
              0);
    EXPECT_EQ(flag[0], expected) << wrong;
  }
}
