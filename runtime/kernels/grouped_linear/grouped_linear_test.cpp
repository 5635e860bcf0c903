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
                                        {{0, 0, 3, 3, 8, 8}, 11, 5, 3},
                                        {{0, 2, 7}, 7, 3, 131},
                                        {{0, 0, 0}, 4, 3, 2}}) {
    int64_t experts = int64_t(offsets.size()) - 1, tail = offsets.back();
    Values packed = randomValues(rows * in + experts * out * in, 1), y(rows * out, NAN), d_y = randomValues(y.size(), 2);
    Values gradient(packed.size(), NAN);
    auto f = [&, o = offsets, r = rows, i = in, n = out](const Doubles &v) { return product(o, r, i, n, v); };
    Doubles expected = f(widen(packed)), numeric = numericGradient(f, widen(packed), d_y);
    float *x = packed.data(), *weight = x + rows * in, *d_weight = gradient.data() + rows * in;
    std::fill(x + tail * in, x + rows * in, NAN); // nobody reads the tail
    std::fill(d_y.begin() + tail * out, d_y.end(), NAN);
    Operand given_x("x", x, rows * in), given_weight("weight", weight, experts * out * in), places("offsets", offsets);
    Ints sizes = {{"rows", rows}, {"in", in}, {"out", out}, {"experts", experts}}, summed = sizes;
    summed.emplace_back("accumulate", 1);
    ASSERT_EQ(call("mg_grouped_linear", {{"y", y}, given_x, given_weight, places}, sizes), 0);
    EXPECT_LT(relativeError(y, expected), 1e-6);
    ASSERT_EQ(call("mg_grouped_linear_grad_input", {{"d_x", gradient.data(), rows * in}, {"d_y", d_y}, given_weight, places}, sizes), 0);
    std::vector<Operand> operands = {{"d_weight", d_weight, experts * out * in}, {"d_y", d_y}, given_x, places};
    ASSERT_EQ(call("mg_grouped_linear_grad_weight", operands, summed), 0);
    EXPECT_LT(relativeError(gradient, numeric), 1e-6);
    // A later micro-batch adds, and leaves alone what no row reaches; so does accumulate = 2 in the first.
    ASSERT_EQ(call("mg_grouped_linear_grad_weight", operands, summed, {}, 1), 0);
    for (int64_t i = 0; i < experts * out * in; ++i)
      ASSERT_NEAR(d_weight[i], 2 * numeric[rows * in + i], 1e-4);
    summed.back().second = 2;
    ASSERT_EQ(call("mg_grouped_linear_grad_weight", operands, summed), 0);
    for (int64_t i = 0; i < experts * out * in; ++i)
      ASSERT_NEAR(d_weight[i], 3 * numeric[rows * in + i], 2e-4);
  }
}

TEST(GroupedLinear, GivesTheSameBitsAtAnyNumberOfThreads) {
  const int64_t rows = 700, in = 24, out = 200, experts = 3;
  std::vector<int32_t> offsets = {0, 500, 501, 650};
  Values x = randomValues(rows * in, 1), weight = randomValues(experts * out * in, 2), d_y = randomValues(rows * out, 3);
  auto run = [&](int32_t threads) {
    mg_cpu_set_threads(threads);
    Values all(rows * out + rows * in + experts * out * in, NAN);
    Ints sizes = {{"rows", rows}, {"in", in}, {"out", out}, {"experts", experts}}, summed = sizes;
    summed.emplace_back("accumulate", 0);
    Operand d_weight("d_weight", all.data() + rows * (out + in), experts * out * in);
    EXPECT_EQ(call("mg_grouped_linear", {{"y", all.data(), rows * out}, {"x", x}, {"weight", weight}, {"offsets", offsets}}, sizes), 0);
    EXPECT_EQ(call("mg_grouped_linear_grad_input",
                   {{"d_x", all.data() + rows * out, rows * in}, {"d_y", d_y}, {"weight", weight}, {"offsets", offsets}}, sizes),
              0);
    EXPECT_EQ(call("mg_grouped_linear_grad_weight", {d_weight, {"d_y", d_y}, {"x", x}, {"offsets", offsets}}, summed), 0);
    return all;
  };
  Values one = run(1);
  EXPECT_EQ(run(3), one);
  EXPECT_EQ(run(2), one);
}
