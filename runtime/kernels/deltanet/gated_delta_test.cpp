#include "runtime/kernels/TestSupport.h"

#include <algorithm>

using namespace megacc::test;

namespace {

struct Case {
  int64_t batch, sequence, heads, groups, key, value, chunk;
  bool neg_eigval = false;
  std::vector<int32_t> documents = {};

  int64_t tokens() const { return batch * sequence; }
  /// Elements of q, k, v, b, a, A_log and dt_bias.
  std::vector<int64_t> counts() const {
    return {tokens() * groups * key, tokens() * groups * key, tokens() * heads * value, tokens() * heads, tokens() * heads, heads, heads};
  }
  int64_t total() const {
    int64_t sum = 0;
    for (int64_t count : counts())
      sum += count;
    return sum;
  }

  /// y of all operands, one after the other, token by token (conventions 19).
  Doubles operator()(const Doubles &all) const {
    const double *part[7] = {all.data()};
    for (int i = 1; i < 7; ++i)
      part[i] = part[i - 1] + counts()[i - 1];
    auto [q, k, v, b, a, a_log, dt_bias] = part;
    Doubles y(tokens() * heads * value), unit_q(key), unit_k(key), state(value * key);
    for (int64_t row = 0; row < batch; ++row)
      for (int64_t h = 0; h < heads; ++h)
        for (int64_t t = row * sequence; t < (row + 1) * sequence; ++t) {
          if (t == row * sequence || (!documents.empty() && documents[t] != documents[t - 1]))
            state.assign(value * key, 0);
          for (auto [from, unit, scale] : {std::tuple(q, &unit_q, 1 / std::sqrt(double(key))), std::tuple(k, &unit_k, 1.0)}) {
            const double *x = from + (t * groups + h / (heads / groups)) * key;
            double square = 1e-6;
            for (int64_t n = 0; n < key; ++n)
              square += x[n] * x[n];
            for (int64_t n = 0; n < key; ++n)
              (*unit)[n] = x[n] / std::sqrt(square) * scale;
          }
          double x = a[t * heads + h] + dt_bias[h], alpha = std::exp(-std::exp(a_log[h]) * std::log1p(std::exp(x)));
          double beta = (neg_eigval ? 2 : 1) / (1 + std::exp(-b[t * heads + h]));
          for (int64_t p = 0; p < value; ++p) {
            double known = 0;
            for (int64_t n = 0; n < key; ++n)
              known += alpha * state[p * key + n] * unit_k[n];
            double u = beta * (v[(t * heads + h) * value + p] - known);
            for (int64_t n = 0; n < key; ++n) {
              state[p * key + n] = alpha * state[p * key + n] + u * unit_k[n];
              y[(t * heads + h) * value + p] += state[p * key + n] * unit_q[n];
            }
          }
        }
    return y;
  }
};

Values makeOperands(const Case &c) {
  Values all;
  const float scales[] = {1, 1, 1, 1.5f, 1, 0.7f, 1};
  for (size_t i = 0; i < 7; ++i) {
    Values part = randomValues(c.counts()[i], 10 + i, scales[i]);
    all.insert(all.end(), part.begin(), part.end());
  }
  return all;
}

struct Result {
  Values y, gradients;
};

/// `cached`: the states before every chunk are kept for the backward.
Result run(const Case &c, Values &all, Values &d_y, bool cached = true) {
  Result result{Values(d_y.size(), NAN), Values(all.size(), NAN)};
  Values states(c.batch * c.heads * ((c.sequence + c.chunk - 1) / c.chunk) * c.key * c.value, NAN);
  const char *names[] = {"q", "k", "v", "b", "a", "a_log", "dt_bias"};
  std::vector<Operand> inputs = {cached ? Operand("states", states) : Operand("states", nullptr), Operand::documents(c.documents)};
  std::vector<Operand> outputs = {{"d_y", d_y}};
  float *in = all.data(), *d = result.gradients.data();
  for (size_t i = 0; i < 7; ++i) {
    int64_t count = c.counts()[i];
    inputs.push_back({names[i], in, count}), outputs.push_back({std::string("d_") + names[i], d, count});
    in += count, d += count;
  }
  Ints ints = {{"batch", c.batch}, {"sequence", c.sequence}, {"heads", c.heads}, {"key_heads", c.groups},
               {"key", c.key},     {"value", c.value},       {"chunk", c.chunk}, {"neg_eigval", c.neg_eigval}};
  std::vector<Operand> operands = inputs;
  operands.push_back({"y", result.y});
  EXPECT_EQ(call("mg_gated_delta", operands, ints), 0);
  operands = inputs;
  operands.insert(operands.end(), outputs.begin(), outputs.end());
  EXPECT_EQ(call("mg_gated_delta_grad", operands, ints), 0);
  return result;
}

/// Compares y with the token loop, and every gradient with its finite differences: relative to the largest of its operand, or to a
/// thousandth of the largest of all, since a decay or a length may hardly matter.
void check(const Case &c, Values all) {
  Values d_y = randomValues(c.tokens() * c.heads * c.value, 2);
  Result result = run(c, all, d_y);
  EXPECT_LT(relativeError(result.y, c(widen(all))), 1e-5);
  Doubles expected = numericGradient(c, widen(all), d_y);
  double largest = 0;
  for (double value : expected)
    largest = std::max(largest, std::abs(value));
  size_t at = 0;
  for (int64_t count : c.counts()) {
    // One more number for both, of which only the size counts.
    Values part(result.gradients.begin() + at, result.gradients.begin() + at + count);
    Doubles exact(expected.begin() + at, expected.begin() + at + count);
    part.push_back(float(1e-3 * largest)), exact.push_back(1e-3 * largest);
    EXPECT_LT(relativeError(part, exact), 1e-4) << "operand at " << at;
    at += count;
  }
}
void check(const Case &c) { check(c, makeOperands(c)); }

/// Ids of documents of these lengths, one row after another; neighbours differ, and ids come again.
std::vector<int32_t> documentsOf(std::initializer_list<int> lengths) {
  std::vector<int32_t> ids;
  int32_t next = 0;
  for (int length : lengths)
    ids.insert(ids.end(), length, next++ % 3);
  return ids;
}

} // namespace

TEST(GatedDelta, OneToken) {
  Case c{2, 1, 2, 1, 4, 3, 16};
  check(c);
  Values all = makeOperands(c), d_y = randomValues(c.tokens() * c.heads * c.value, 2), gradients = run(c, all, d_y).gradients;
  for (int64_t i = c.total() - 2 * c.heads - c.tokens() * c.heads; i < c.total(); ++i)
    EXPECT_NEAR(gradients[i], 0.0f, 1e-6f) << "nothing decays before the first token";
}
TEST(GatedDelta, ShorterThanAChunk) { check({2, 5, 3, 3, 4, 6, 64}); }
TEST(GatedDelta, WholeChunks) { check({1, 32, 2, 2, 8, 8, 16}); }
TEST(GatedDelta, RaggedTail) { check({2, 37, 2, 1, 5, 7, 16}); }
TEST(GatedDelta, TwoKeysOneValue) { check({1, 19, 2, 2, 2, 1, 16}); }
TEST(GatedDelta, SharedKeys) { check({1, 21, 6, 2, 3, 4, 16}); }
TEST(GatedDelta, MoreHeadsThanLanes) { check({1, 3, 36, 36, 2, 2, 16}); }
TEST(GatedDelta, NegativeEigenvalues) { check({1, 40, 2, 2, 6, 5, 32, true}); }

TEST(GatedDelta, RestartsWithADocument) {
  check({2, 29, 2, 1, 4, 3, 16, true, documentsOf({9, 1, 11, 8, 29})});
  check({2, 33, 2, 2, 4, 3, 16, false, documentsOf({16, 16, 1, 15, 1, 17})}); // at the edges of chunks
  check({1, 7, 2, 2, 4, 3, 32, false, documentsOf({1, 1, 1, 1, 1, 1, 1})});
}

TEST(GatedDelta, PackedRowsAreSeparateRows) {
  Case packed{1, 34, 4, 2, 8, 6, 16, false, documentsOf({17, 17})}, separate{2, 17, 4, 2, 8, 6, 16};
  Values all = makeOperands(packed), d_y = randomValues(packed.tokens() * packed.heads * packed.value, 2);
  Result one = run(packed, all, d_y), two = run(separate, all, d_y);
  EXPECT_LT(relativeError(one.y, widen(two.y)), 1e-5);
  EXPECT_LT(relativeError(one.gradients, widen(two.gradients)), 1e-5);
}

TEST(GatedDelta, EveryChunkGivesTheSame) {
  Case c{1, 150, 4, 2, 16, 12, 16, true, documentsOf({40, 1, 70, 39})};
  Values all = makeOperands(c), d_y = randomValues(c.tokens() * c.heads * c.value, 2);
  Result first = run(c, all, d_y);
  EXPECT_LT(relativeError(first.y, c(widen(all))), 1e-5);
  for (int64_t chunk : {32, 64, 128}) {
    c.chunk = chunk;
    Result other = run(c, all, d_y);
    EXPECT_LT(relativeError(other.y, widen(first.y)), 2e-6);
    EXPECT_LT(relativeError(other.gradients, widen(first.gradients)), 2e-5);
  }
}

TEST(GatedDelta, FastAndSlowDecayInOneChunk) {
  Case c{1, 40, 2, 2, 4, 3, 32};
  Values all = makeOperands(c);
  int64_t a = c.total() - 2 * c.heads - c.tokens() * c.heads;
  for (int64_t t = 0; t < c.tokens(); ++t) // the first head forgets all of some tokens, the second almost nothing
    all[a + t * c.heads] = t % 7 == 3 ? 40.0f : -8.0f, all[a + t * c.heads + 1] = -9.0f;
  check(c, all);
}

TEST(GatedDelta, StaysAccurateOverALongSequence) {
  Case c{1, 3000, 1, 1, 8, 4, 64};
  Values all = makeOperands(c), d_y = randomValues(c.tokens() * c.value, 2);
  all.back() = -7.0f; // dt_bias
  EXPECT_LT(relativeError(run(c, all, d_y).y, c(widen(all))), 1e-5);
}

TEST(GatedDelta, SameBitsWithoutTheCache) {
  for (const Case &c :
       {Case{2, 40, 4, 2, 9, 5, 16, false, documentsOf({30, 20, 30})}, Case{1, 5, 2, 2, 3, 4, 64}, Case{2, 70, 40, 20, 8, 8, 32}}) {
    Values all = makeOperands(c), d_y = randomValues(c.tokens() * c.heads * c.value, 2);
    Result kept = run(c, all, d_y), computed = run(c, all, d_y, /*cached=*/false);
    EXPECT_EQ(kept.y, computed.y);
    EXPECT_EQ(kept.gradients, computed.gradients);
  }
}

TEST(GatedDelta, SameBitsAtAnyNumberOfThreads) {
  Case c{2, 40, 20, 10, 16, 16, 16};
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
