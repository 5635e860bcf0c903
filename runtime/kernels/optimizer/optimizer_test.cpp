#include "runtime/kernels/TestSupport.h"

using namespace megacc::test;

namespace {

int32_t update(Values &w, Values &m, Values &v, const Values &g, const Values &norm, const Values &scalars, int64_t decays) {
  return call("mg_adamw", {{"weight", w}, {"m", m}, {"v", v}, {"gradient", g}, {"norm", norm}, {"scalars", scalars}},
              {{"count", int64_t(w.size())}, {"decays", decays}},
              {{"beta1", 0.9}, {"beta2", 0.95}, {"eps", 1e-8}, {"decay", 0.1}, {"clip", 1.0}});
}

} // namespace

TEST(GradientNorm, SumsInDouble) {
  Values g = randomValues(10001, 1), norm(1, NAN);
  Doubles first(1), rest(1);
  double sum = 0;
  for (float value : g)
    sum += double(value) * value;
  ASSERT_EQ(call("mg_square_sum", {{"sum", first}, {"x", g}}, {{"count", 10001}}), 0);
  EXPECT_NEAR(first[0] / sum, 1.0, 1e-13);
  ASSERT_EQ(call("mg_norm", {{"norm", norm}, {"part", first}}, {{"parts", 1}}), 0);
  EXPECT_FLOAT_EQ(norm[0], float(std::sqrt(sum)));
  norm[0] = NAN;
  ASSERT_EQ(call("mg_log_norm", {{"norm", norm}, {"x", g}}, {{"count", 10001}}), 0);
  EXPECT_FLOAT_EQ(norm[0], float(std::sqrt(sum)));
  // In two parts.
  ASSERT_EQ(call("mg_square_sum", {{"sum", first}, {"x", g.data(), 5000}}, {{"count", 5000}}), 0);
  ASSERT_EQ(call("mg_square_sum", {{"sum", rest}, {"x", g.data() + 5000, 5001}}, {{"count", 5001}}), 0);
  ASSERT_EQ(call("mg_norm", {{"norm", norm}, {"part", first}, {"part", rest}}, {{"parts", 2}}), 0);
  EXPECT_FLOAT_EQ(norm[0], float(std::sqrt(sum)));
}

TEST(AdamW, FollowsTheFormulaWithClipAndDecay) {
  for (int64_t decays : {0, 1}) {
    Values w = {1.0f, -2.0f}, m = {0.1f, 0.2f}, v = {0.3f, 0.4f}, g = {3.0f, 4.0f}, norm = {5.0f}, scalars = {0.01f, 0.19f, 0.0975f};
    Values w0 = w, m0 = m, v0 = v;
    ASSERT_EQ(update(w, m, v, g, norm, scalars, decays), 0);
    for (int i = 0; i < 2; ++i) {
      double clipped = g[i] * (1.0 / (5.0 + 1e-6)), mi = 0.9 * m0[i] + 0.1 * clipped, vi = 0.95 * v0[i] + 0.05 * clipped * clipped;
      double expected = w0[i] * (decays ? 1 - 0.01 * 0.1 : 1.0) - 0.01 * (mi / 0.19) / (std::sqrt(vi / 0.0975) + 1e-8);
      EXPECT_NEAR(m[i], mi, 1e-6);
      EXPECT_NEAR(v[i], vi, 1e-6);
      EXPECT_NEAR(w[i], expected, 1e-6);
    }
  }
}

TEST(AdamW, WritesNothingWhenTheNormIsNotFinite) {
  Values w = {1}, m = {2}, v = {3}, g = {4}, norm = {NAN}, scalars = {0.1f, 0.1f, 0.1f};
  ASSERT_EQ(update(w, m, v, g, norm, scalars, 1), 0);
  EXPECT_EQ(w[0], 1);
  EXPECT_EQ(m[0], 2);
  EXPECT_EQ(v[0], 3);
}
