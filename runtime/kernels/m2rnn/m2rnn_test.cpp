#include "runtime/kernels/TestSupport.h"

using namespace megacc::test;

namespace {

struct Case {
  int64_t batch, sequence, heads, key, value, block;
  std::vector<int32_t> documents;

  int64_t tokens() const { return batch * sequence; }
  /// Elements of q, k, v, f, A_log, dt_bias and state_weight.
  std::vector<int64_t> counts() const {
    return {tokens() * key, tokens() * key, tokens() * heads * value, tokens() * heads, heads, heads, heads * value * value};
  }
  int64_t total() const {
    int64_t sum = 0;
    for (int64_t count : counts())
      sum += count;
    return sum;
  }

  /// y of all operands, one after the other; `norm` becomes the mean norm of the last states of all rows and heads.
  Doubles operator()(const Doubles &all, double *norm = nullptr) const {
    const double *part[7] = {all.data()};
    for (int i = 1; i < 7; ++i)
      part[i] = part[i - 1] + counts()[i - 1];
    auto [q, k, v, f, a_log, dt_bias, weight] = part;
    Doubles y(tokens() * heads * value);
    for (int64_t b = 0; b < batch; ++b)
      for (int64_t n = 0; n < heads; ++n) {
        Doubles h(key * value);
        for (int64_t t = b * sequence; t < (b + 1) * sequence; ++t) {
          if (!documents.empty() && t > b * sequence && documents[t] != documents[t - 1])
            h.assign(key * value, 0);
          double decay = std::exp(-std::exp(a_log[n]) * std::log1p(std::exp(f[t * heads + n] + dt_bias[n])));
          Doubles before = h;
          for (int64_t i = 0; i < key; ++i)
            for (int64_t j = 0; j < value; ++j) {
              double sum = k[t * key + i] * v[(t * heads + n) * value + j];
              for (int64_t l = 0; l < value; ++l)
                sum += before[i * value + l] * weight[(n * value + l) * value + j];
              h[i * value + j] = decay * before[i * value + j] + (1 - decay) * std::tanh(sum);
              y[(t * heads + n) * value + j] += h[i * value + j] * q[t * key + i];
            }
        }
        double square = 0;
        for (double number : h)
          square += number * number;
        if (norm)
          *norm += std::sqrt(square) / double(batch * heads);
      }
    return y;
  }
};

Values makeOperands(const Case &c) {
  Values all;
  const float scales[] = {1, 1, 1, 1, 0.3f, 1, 0.6f};
  for (size_t i = 0; i < 7; ++i) {
    Values part = randomValues(c.counts()[i], 10 + i, scales[i]);
    all.insert(all.end(), part.begin(), part.end());
  }
  return all;
}

struct Result {
  Values y, gradients;
};

/// `cached`: the states before every block are kept for the backward.
Result run(const Case &c, Values &all, Values &d_y, int64_t micro_batch = 0, const Values &gradients = {}, bool cached = true,
           int64_t accumulate = 1) {
  Result result{Values(d_y.size(), NAN), gradients.empty() ? Values(all.size(), NAN) : gradients};
  Values states(c.batch * c.heads * ((c.sequence + c.block - 1) / c.block) * c.key * c.value, NAN);
  Operand cache = cached ? Operand("states", states) : Operand("states", nullptr);
  const char *names[] = {"q", "k", "v", "f", "a_log", "dt_bias", "state_weight"};
  std::vector<Operand> inputs = {cache, Operand::documents(c.documents)}, outputs = {{"d_y", d_y}};
  float *in = all.data(), *d = result.gradients.data();
  for (size_t i = 0; i < 7; ++i) {
    int64_t count = c.counts()[i];
    inputs.push_back({names[i], in, count}), outputs.push_back({std::string("d_") + names[i], d, count});
    in += count, d += count;
  }
  Ints ints = {{"batch", c.batch}, {"sequence", c.sequence}, {"heads", c.heads}, {"key", c.key}, {"value", c.value}, {"interval", c.block}};
  std::vector<Operand> operands = inputs;
  operands.push_back({"y", result.y});
  EXPECT_EQ(call("mg_m2rnn_scan", operands, ints), 0);
  ints.emplace_back("accumulate", accumulate);
  operands = inputs;
  operands.insert(operands.end(), outputs.begin(), outputs.end());
  EXPECT_EQ(call("mg_m2rnn_scan_grad", operands, ints, {}, micro_batch), 0);
  return result;
}

void check(const Case &c) {
  Values all = makeOperands(c), d_y = randomValues(c.tokens() * c.heads * c.value, 2);
  Result result = run(c, all, d_y);
  double norm = 0;
  EXPECT_LT(relativeError(result.y, c(widen(all), &norm)), 1e-5);
  Values measured(1, NAN);
  std::vector<Operand> operands = {{"norm", measured}, Operand::documents(c.documents)};
  const char *names[] = {"q", "k", "v", "f", "a_log", "dt_bias", "state_weight"};
  const float *from = all.data();
  for (size_t i = 0; i < 7; from += c.counts()[i++])
    operands.push_back({names[i], from, c.counts()[i]});
  ASSERT_EQ(
      call("mg_m2rnn_state_norm", operands,
           {{"batch", c.batch}, {"sequence", c.sequence}, {"heads", c.heads}, {"key", c.key}, {"value", c.value}, {"interval", c.block}},
           {{"share", 1.0 / double(c.batch * c.heads)}}),
      0);
  EXPECT_NEAR(measured[0], norm, 1e-5 * norm);
  Doubles expected = numericGradient([&](const Doubles &v) { return c(v); }, widen(all), d_y);
  size_t at = 0;
  for (int64_t count : c.counts()) {
    Values part(result.gradients.begin() + at, result.gradients.begin() + at + count);
    Doubles exact(expected.begin() + at, expected.begin() + at + count);
    EXPECT_LT(relativeError(part, exact), 1e-4) << "operand at " << at;
    if (c.sequence > 1)
      for (float value : part)
        ASSERT_NE(value, 0.0f) << "operand at " << at;
    at += count;
  }
}

} // namespace

TEST(M2rnn, OneToken) { check({1, 1, 2, 3, 2, 64, {}}); }
TEST(M2rnn, ShorterThanABlock) { check({2, 5, 3, 9, 5, 64, {}}); }
TEST(M2rnn, CrossesBlocks) { check({2, 11, 2, 8, 4, 3, {}}); }
TEST(M2rnn, WholeBlocksAndWideStates) { check({1, 8, 2, 17, 12, 4, {}}); }
TEST(M2rnn, OneKeyOneValue) { check({1, 7, 2, 1, 1, 4, {}}); }
TEST(M2rnn, MoreHeadsThanSlots) { check({1, 4, 35, 2, 2, 3, {}}); }

TEST(M2rnn, RestartsWithADocument) {
  Case c{2, 9, 2, 5, 3, 4, {1, 1, 2, 2, 2, 1, 1, 1, 1, 0, 0, 0, 0, 5, 5, 5, 5, 5}};
  Values all = makeOperands(c), d_y = randomValues(c.tokens() * c.heads * c.value, 2);
  Result result = run(c, all, d_y);
  EXPECT_LT(relativeError(result.y, c(widen(all))), 1e-5);
  EXPECT_LT(relativeError(result.gradients, numericGradient(c, widen(all), d_y)), 1e-4);
}

TEST(M2rnn, StaysAccurateOverALongSequenceOfSlowDecay) {
  Case c{1, 2000, 1, 8, 4, 64, {}};
  Values all = makeOperands(c), d_y = randomValues(c.tokens() * c.value, 2);
  all[c.counts()[0] + c.counts()[1] + c.counts()[2] + c.counts()[3] + 1] = -7.0f; // dt_bias
  EXPECT_LT(relativeError(run(c, all, d_y).y, c(widen(all))), 1e-5);
}

TEST(M2rnn, SameBitsWithoutTheCache) {
  std::vector<int32_t> documents(2 * 40);
  for (size_t t = 0; t < documents.size(); ++t)
    documents[t] = int32_t((t >= 5) + (t >= 16) + (t >= 17) + (t >= 60));
  for (const Case &c : {Case{2, 40, 3, 9, 5, 16, {}}, Case{2, 40, 20, 16, 16, 16, documents}, Case{1, 5, 2, 3, 4, 64, {}}}) {
    Values all = makeOperands(c), d_y = randomValues(c.tokens() * c.heads * c.value, 2);
    Result kept = run(c, all, d_y), computed = run(c, all, d_y, 0, {}, /*cached=*/false);
    EXPECT_EQ(kept.y, computed.y);
    EXPECT_EQ(kept.gradients, computed.gradients);
  }
}

TEST(M2rnn, WeightGradientOverwritesFirstAndAddsLater) {
  Case c{2, 6, 2, 3, 4, 4, {}};
  Values all = makeOperands(c), d_y = randomValues(c.tokens() * c.heads * c.value, 2);
  Values once = run(c, all, d_y).gradients, twice = run(c, all, d_y, 1, once).gradients;
  EXPECT_EQ(run(c, all, d_y, 0, once, /*cached=*/true, /*accumulate=*/2).gradients, twice);
  int64_t weight = c.total() - c.counts().back();
  for (size_t i = 0; i < once.size(); ++i)
    EXPECT_FLOAT_EQ(twice[i], int64_t(i) >= weight ? 2 * once[i] : once[i]);
}

TEST(M2rnn, SameBitsAtAnyNumberOfThreads) {
  Case c{2, 40, 20, 16, 16, 16, {}};
  Values all = makeOperands(c), d_y = randomValues(c.tokens() * c.heads * c.value, 2);
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
