#include "runtime/kernels/TestSupport.h"
#include "runtime/kernels/attention/EntropyReference.h"

using namespace megacc::test;

TEST(AttentionEntropy, MatchesTheFormula) {
  for (const EntropyProblem &p : entropyProblems()) {
    Values q = randomValues(p.batch * p.sequence * p.heads * p.dim, 1, 2),
           k = randomValues(p.batch * p.sequence * p.kv_heads * p.dim, 2, 2);
    Values entropy(1, NAN);
    std::vector<Operand> operands = {{"entropy", entropy}, {"q", q}, {"k", k}, Operand::documents(p.documents)};
    if (p.kept)
      operands.push_back({"support", p.support});
    auto measure = [&] {
      return call(
          "mg_attention_entropy", operands,
          {{"batch", p.batch}, {"sequence", p.sequence}, {"heads", p.heads}, {"kv_heads", p.kv_heads}, {"qk_dim", p.dim}, {"kept", p.kept}},
          {{"scale", p.scale}, {"share", p.share()}});
    };
    ASSERT_EQ(measure(), 0);
    EXPECT_NEAR(entropy[0], p.entropy(q, k), 2e-6 * std::log(double(p.sequence) + 1)) << p.sequence;
    float two_threads = entropy[0];
    mg_cpu_set_threads(1);
    ASSERT_EQ(measure(), 0);
    mg_cpu_set_threads(2);
    EXPECT_EQ(entropy[0], two_threads);
  }
}

// Equal scores: the logarithm of the number of keys. Scores so far apart that one key has all: zero.
TEST(AttentionEntropy, KnownValues) {
  int64_t sequence = 100;
  Values q(sequence, 1), k(sequence, 1), entropy(1);
  Ints sizes = {{"batch", 1}, {"sequence", sequence}, {"heads", 1}, {"kv_heads", 1}, {"qk_dim", 1}, {"kept", 0}};
  Reals reals = {{"scale", 1.0}, {"share", 0.01}};
  double expected = 0;
  for (int64_t t = 0; t < sequence; ++t)
    expected += 0.01 * std::log(double(t + 1));
  ASSERT_EQ(call("mg_attention_entropy", {{"entropy", entropy}, {"q", q}, {"k", k}}, sizes, reals), 0);
  EXPECT_NEAR(entropy[0], expected, 1e-6);
  for (int64_t t = 0; t < sequence; ++t)
    k[t] = float(t) * 1000;
  ASSERT_EQ(call("mg_attention_entropy", {{"entropy", entropy}, {"q", q}, {"k", k}}, sizes, reals), 0);
  EXPECT_EQ(entropy[0], 0);
}
