#include "runtime/kernels/TestSupport.h"

using namespace megacc::test;

TEST(StateGate, MatchesFiniteDifferences) {
  for (auto [rows, heads] : {std::pair<int64_t, int64_t>{1, 1}, {3, 13}, {130, 4}}) {
    Values packed = randomValues(rows * heads + heads, 1), cut(rows * heads, NAN), d_cut = randomValues(cut.size(), 2);
    Values gradient(packed.size(), NAN);
    auto f = [r = rows, h = heads](const Doubles &v) {
      Doubles result(r * h);
      for (int64_t i = 0; i < r * h; ++i)
        result[i] = std::log1p(std::exp(-(v[i] + v[r * h + i % h])));
      return result;
    };
    Operand logits("logits", packed.data(), rows * heads), bias("bias", packed.data() + rows * heads, heads);
    Ints sizes = {{"rows", rows}, {"heads", heads}};
    ASSERT_EQ(call("mg_state_gate", {{"cut", cut}, logits, bias}, sizes), 0);
    EXPECT_LT(relativeError(cut, f(widen(packed))), 1e-6);
    ASSERT_EQ(call("mg_state_gate_grad",
                   {{"d_logits", gradient.data(), rows * heads},
                    {"d_bias", gradient.data() + rows * heads, heads},
                    {"d_cut", d_cut},
                    logits,
                    bias},
                   sizes),
              0);
    EXPECT_LT(relativeError(gradient, numericGradient(f, widen(packed), d_cut)), 1e-6);
  }
}

/// Gates that are shut or open for good: the whole of the logit, and nothing.
TEST(StateGate, Extremes) {
  Values logits = {-800, 60, 0}, bias = {0, 0, 0}, cut(3, NAN), d_cut = {1, 1, 1}, d_logits(3, NAN), d_bias(3, NAN);
  Ints sizes = {{"rows", 1}, {"heads", 3}};
  ASSERT_EQ(call("mg_state_gate", {{"cut", cut}, {"logits", logits}, {"bias", bias}}, sizes), 0);
  EXPECT_EQ(cut[0], 800.0f);
  EXPECT_LT(cut[1], 1e-20f);
  EXPECT_NEAR(cut[2], 0.6931472, 1e-7);
  ASSERT_EQ(
      call("mg_state_gate_grad", {{"d_logits", d_logits}, {"d_bias", d_bias}, {"d_cut", d_cut}, {"logits", logits}, {"bias", bias}}, sizes),
      0);
  EXPECT_EQ(d_logits[0], -1.0f);
  EXPECT_LT(std::fabs(d_logits[1]), 1e-20f);
  EXPECT_NEAR(d_logits[2], -0.5, 1e-7);
}
