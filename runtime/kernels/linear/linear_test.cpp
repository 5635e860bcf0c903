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
    ASSERT_EQ(call(mg_linear, {y.data(), x, weight}, {rows, in, out}), 0);
    EXPECT_LT(relativeError(y, f(widen(packed))), 1e-6);
    ASSERT_EQ(call(mg_linear_grad_input, {gradient.data(), d_y.data(), weight}, {rows, in, out}), 0);
    ASSERT_EQ(call(mg_linear_grad_weight, {d_weight, d_y.data(), x}, {rows, in, out, 1}), 0);
    Doubles expected = numericGradient(f, widen(packed), d_y);
    EXPECT_LT(relativeError(gradient, expected), 1e-6);
    // A later micro-batch adds.
    ASSERT_EQ(call(mg_linear_grad_weight, {d_weight, d_y.data(), x}, {rows, in, out, 1}, {}, 1), 0);
    EXPECT_NEAR(d_weight[0], 2 * expected[rows * in], 1e-5);
  }
}

TEST(Linear, GivesTheSameBitsAtAnyNumberOfThreads) {
  Values packed = randomValues(300 * 64 + 96 * 64, 1), one(300 * 96), three(one.size());
  mg_cpu_set_threads(1);
  call(mg_linear, {one.data(), packed.data(), packed.data() + 300 * 64}, {300, 64, 96});
  mg_cpu_set_threads(3);
  call(mg_linear, {three.data(), packed.data(), packed.data() + 300 * 64}, {300, 64, 96});
  mg_cpu_set_threads(2);
  EXPECT_EQ(one, three);
}
