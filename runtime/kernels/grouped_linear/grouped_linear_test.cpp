#include "runtime/kernels/TestSupport.h"

using namespace megacc::test;

namespace {

Doubles product(const std::vector<int32_t> &offsets, int64_t rows, int64_t in, int64_t out, const Doubles &packed) {
  const double *x = packed.data(), *weight = x + rows * in;
  Doubles y(rows * out);
  for (size_t e = 0; e + 1 < offsets.size(); ++e)
    for (int64_t t = offsets[e]; t < offsets[e + 1]; ++t)
      for (int64_t o = 0; o < out; ++o)
        for (int64_t i = 0; i < in; ++i)
          y[t * out + o] += x[t * in + i] * weight[(e * out + o) * in + i];
  return y;
}

} // namespace

TEST(GroupedLinear, MatchesFiniteDifferences) {
  // Experts without rows at the start, inside and at the end; a tail; no rows at all.
  for (auto [offsets, rows, in, out] : {std::tuple<std::vector<int32_t>, int64_t, int64_t, int64_t>{{0, 1}, 1, 1, 1},
                                        {{0, 0, 3, 3, 8, 8}, 11, 5, 3}, {{0, 2, 7}, 7, 3, 131}, {{0, 0, 0}, 4, 3, 2}}) {
    int64_t experts = int64_t(offsets.size()) - 1, tail = offsets.back();
    Values packed = randomValues(rows * in + experts * out * in, 1), y(rows * out, NAN), d_y = randomValues(y.size(), 2);
    Values gradient(packed.size(), NAN);
    auto f = [&, o = offsets, r = rows, i = in, n = out](const Doubles &v) { return product(o, r, i, n, v); };
    Doubles expected = f(widen(packed)), numeric = numericGradient(f, widen(packed), d_y);
    float *x = packed.data(), *weight = x + rows * in, *d_weight = gradient.data() + rows * in;
    std::fill(x + tail * in, x + rows * in, NAN); // nobody reads the tail
    std::fill(d_y.begin() + tail * out, d_y.end(), NAN);
    void *places = const_cast<int32_t *>(offsets.data());
    ASSERT_EQ(call(mg_grouped_linear, {y.data(), x, weight, places}, {rows, in, out, experts}), 0);
    EXPECT_LT(relativeError(y, expected), 1e-6);
    ASSERT_EQ(call(mg_grouped_linear_grad_input, {gradient.data(), d_y.data(), weight, places}, {rows, in, out, experts}), 0);
    ASSERT_EQ(call(mg_grouped_linear_grad_weight, {d_weight, d_y.data(), x, places}, {rows, in, out, experts, 1}), 0);
    EXPECT_LT(relativeError(gradient, numeric), 1e-6);
    // A later micro-batch adds, and leaves alone what no row reaches.
    ASSERT_EQ(call(mg_grouped_linear_grad_weight, {d_weight, d_y.data(), x, places}, {rows, in, out, experts, 1}, {}, 1), 0);
    for (int64_t i = 0; i < experts * out * in; ++i)
      ASSERT_NEAR(d_weight[i], 2 * numeric[rows * in + i], 1e-4);
  }
}

TEST(GroupedLinear, GivesTheSameBitsAtAnyNumberOfThreads) {
  const int64_t rows = 700, in = 24, out = 200, experts = 3;
  std::vector<int32_t> offsets = {0, 500, 501, 650};
  Values x = randomValues(rows * in, 1), weight = randomValues(experts * out * in, 2), d_y = randomValues(rows * out, 3);
  auto run = [&](int32_t threads) {
    mg_cpu_set_threads(threads);
    Values all(rows * out + rows * in + experts * out * in, NAN);
    call(mg_grouped_linear, {all.data(), x.data(), weight.data(), offsets.data()}, {rows, in, out, experts});
    call(mg_grouped_linear_grad_input, {all.data() + rows * out, d_y.data(), weight.data(), offsets.data()}, {rows, in, out, experts});
    call(mg_grouped_linear_grad_weight, {all.data() + rows * (out + in), d_y.data(), x.data(), offsets.data()}, {rows, in, out, experts, 0});
    return all;
  };
  Values one = run(1);
  EXPECT_EQ(run(3), one);
  EXPECT_EQ(run(2), one);
}
