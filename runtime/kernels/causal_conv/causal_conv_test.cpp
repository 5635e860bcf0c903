#include "runtime/kernels/TestSupport.h"

using namespace megacc::test;

namespace {

struct Case {
  int64_t batch, sequence, channels, width;
  bool silu, bias;
  std::vector<int32_t> documents;

  int64_t count() const { return batch * sequence * channels; }
  bool reaches(int64_t b, int64_t t, int64_t back) const {
    if (back > t)
      return false;
    for (int64_t i = 0; i < back && !documents.empty(); ++i)
      if (documents[b * sequence + t - i] != documents[b * sequence + t - i - 1])
        return false;
    return true;
  }

  /// y of x, weight and bias, one after the other.
  Doubles operator()(const Doubles &all) const {
    const double *x = all.data(), *weight = x + count(), *offset = weight + channels * width;
    Doubles y(count());
    for (int64_t b = 0; b < batch; ++b)
      for (int64_t t = 0; t < sequence; ++t)
        for (int64_t c = 0; c < channels; ++c) {
          double sum = bias ? offset[c] : 0;
          for (int64_t j = 0; j < width; ++j)
            if (reaches(b, t, j))
              sum += weight[c * width + width - 1 - j] * x[((b * sequence + t - j) * channels) + c];
          y[(b * sequence + t) * channels + c] = silu ? sum / (1 + std::exp(-sum)) : sum;
        }
    return y;
  }
};

struct Result {
  Values y, gradients;
};

Result run(const Case &c, Values &all, Values &d_y, int64_t micro_batch = 0, const Values &gradients = {}, int64_t accumulate = 1) {
  Result result{Values(c.count(), NAN), gradients.empty() ? Values(all.size(), NAN) : gradients};
  int64_t taps = c.channels * c.width;
  float *x = all.data(), *weight = x + c.count(), *bias = c.bias ? weight + taps : nullptr, *d = result.gradients.data();
  std::vector<Operand> inputs = {{"x", x, c.count()}, {"weight", weight, taps}, {"bias", bias, c.channels}};
  inputs.push_back(Operand::documents(c.documents));
  std::vector<Operand> operands = inputs;
  operands.push_back({"y", result.y});
  Ints ints = {{"batch", c.batch}, {"sequence", c.sequence}, {"channels", c.channels}, {"taps", c.width}, {"silu", c.silu}};
  EXPECT_EQ(call("mg_causal_conv", operands, ints), 0);
  ints.emplace_back("accumulate", accumulate);
  operands = inputs;
  operands.insert(operands.end(),
                  {{"d_x", d, c.count()}, {"d_weight", d + c.count(), taps}, {"d_bias", d + c.count() + taps, c.channels}, {"d_y", d_y}});
  EXPECT_EQ(call("mg_causal_conv_grad", operands, ints, {}, micro_batch), 0);
  return result;
}

void check(const Case &c) {
  Values all = randomValues(c.count() + c.channels * (c.width + 1), 1), d_y = randomValues(c.count(), 2);
  Result result = run(c, all, d_y);
  EXPECT_LT(relativeError(result.y, c(widen(all))), 1e-5);
  Doubles expected = numericGradient(c, widen(all), d_y);
  if (!c.bias) { // d_bias is there all the same
    result.gradients.resize(all.size() - c.channels);
    expected.resize(result.gradients.size());
  }
  EXPECT_LT(relativeError(result.gradients, expected), 1e-4);
}

} // namespace

TEST(CausalConv, OneToken) { check({1, 1, 3, 4, true, true, {}}); }
TEST(CausalConv, ShorterThanTheFilter) { check({2, 3, 5, 6, true, true, {}}); }
TEST(CausalConv, WidthOne) { check({2, 4, 3, 1, false, true, {}}); }
TEST(CausalConv, NoBiasNoActivation) { check({2, 9, 17, 3, false, false, {}}); }
TEST(CausalConv, CrossesATileOfRows) { check({1, 130, 2, 4, true, true, {}}); }
TEST(CausalConv, SeesZeroAcrossDocuments) { check({2, 9, 4, 4, true, true, {1, 1, 2, 2, 2, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 7}}); }

TEST(CausalConv, WeightGradientOverwritesFirstAndAddsLater) {
  Case c{2, 9, 17, 4, true, true, {}};
  Values all = randomValues(c.count() + c.channels * 5, 1), d_y = randomValues(c.count(), 2);
  Values once = run(c, all, d_y).gradients, twice = run(c, all, d_y, 1, once).gradients;
  EXPECT_EQ(run(c, all, d_y, 0, once, /*accumulate=*/2).gradients, twice);
  for (size_t i = 0; i < once.size(); ++i)
    EXPECT_FLOAT_EQ(twice[i], int64_t(i) >= c.count() && int64_t(i) < c.count() + c.channels * c.width ? 2 * once[i] : once[i]);
}

TEST(CausalConv, SameBitsAtAnyNumberOfThreads) {
  Case c{2, 200, 70, 4, true, true, {}};
  Values all = randomValues(c.count() + c.channels * 5, 1), d_y = randomValues(c.count(), 2);
  Result first;
  for (int threads : {1, 2, 3}) {
    mg_cpu_set_threads(threads);
    Result result = run(c, all, d_y);
    if (threads == 1)
      first = result;
    EXPECT_EQ(result.y, first.y);
    EXPECT_EQ(result.gradients, first.gradients);
  }
}
