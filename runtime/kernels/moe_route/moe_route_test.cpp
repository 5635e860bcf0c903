#include "runtime/kernels/TestSupport.h"
#include "runtime/kernels/moe_route/RouteReference.h"

#include <algorithm>

using namespace megacc::test;

namespace {

using Case = RouteCase;

struct Route : RouteReference {
  Values logits, bias, weights, losses;
  Doubles statistics;
  std::vector<int32_t> choice, position, offsets;

  explicit Route(const Case &c, float spread = 1.5f)
      : RouteReference(c), logits(randomValues(c.rows * columns, 1, spread)), bias(randomValues(columns, 2, 0.1f)),
        weights(c.rows * kept, NAN), losses(2, NAN), statistics(2 * c.experts + 1, NAN), choice(c.rows * kept, -7),
        position(c.rows * kept, -7), offsets(c.experts + 1, -7) {}

  Ints ints(int64_t rows) const { return {{"rows", rows}, {"experts", c.experts}, {"nulls", c.nulls}, {"sigmoid", c.sigmoid}}; }
  Ints picking(int64_t rows) const {
    Ints all = ints(rows);
    all.insert(all.end(), {{"slots", c.slots}, {"kept", kept}});
    return all;
  }

  /// Routing, its statistics and its losses.
  int32_t run() {
    if (int32_t status = call("mg_moe_route",
                              {{"weights", weights},
                               {"choice", choice},
                               {"position", position},
                               {"offsets", offsets},
                               {"logits", logits},
                               c.sigmoid ? Operand("bias", bias) : Operand("bias", nullptr)},
                              picking(c.rows), {{"scale", c.scale}}))
      return status;
    if (int32_t status = call("mg_moe_statistics", {{"statistics", statistics}, {"logits", logits}, {"offsets", offsets}}, ints(c.rows)))
      return status;
    return sumLosses();
  }

  int32_t sumLosses() {
    return call("mg_moe_losses", {{"aux_loss", losses.data(), 1}, {"z_loss", losses.data() + 1, 1}, {"statistics", statistics}},
                {{"tokens", c.rows}, {"experts", c.experts}}, {{"aux", c.aux}, {"z", c.z}});
  }

  Values gradient(const Values &d_weights) {
    Values d_logits(logits.size(), NAN);
    Ints all = picking(c.rows);
    all.emplace_back("tokens", c.rows);
    EXPECT_EQ(call("mg_moe_route_grad",
                   {{"d_logits", d_logits}, {"d_weights", d_weights}, {"logits", logits}, {"choice", choice}, {"statistics", statistics}},
                   all, {{"scale", c.scale}, {"aux", c.aux}, {"z", c.z}}),
              0);
    return d_logits;
  }

  std::vector<std::vector<int32_t>> chosen() const { return choose(widen(logits), widen(bias)); }
};

class MoeRoute : public testing::TestWithParam<Case> {};

} // namespace

TEST_P(MoeRoute, MatchesTheReferenceAndFiniteDifferences) {
  Route route(GetParam());
  const Case &c = route.c;
  ASSERT_EQ(route.run(), 0) << mg_last_error();
  auto picks = route.chosen();
  std::vector<int32_t> next(c.experts);
  for (int64_t t = 0; t < c.rows; ++t)
    for (int64_t k = 0; k < route.kept; ++k)
      ASSERT_EQ(route.choice[t * route.kept + k], k < int64_t(picks[t].size()) ? picks[t][k] : -1) << t;
  for (int64_t pick = 0; pick < c.rows * route.kept; ++pick) { // sorted by expert, then token
    int32_t expert = route.choice[pick];
    ASSERT_EQ(route.position[pick], expert < 0 ? -1 : route.offsets[expert] + next[expert]++) << pick;
  }
  ASSERT_EQ(route.offsets[0], 0);
  for (int64_t e = 0; e < c.experts; ++e)
    ASSERT_EQ(route.offsets[e + 1] - route.offsets[e], next[e]);

  Doubles x = widen(route.logits), expected = route.reference(x, picks);
  Doubles losses(expected.end() - 2, expected.end());
  EXPECT_LT(relativeError(route.weights, Doubles(expected.begin(), expected.end() - 2)), 1e-6);
  EXPECT_LT(relativeError({route.losses[0]}, {losses[0]}), 1e-6);
  EXPECT_LT(relativeError({route.losses[1]}, {losses[1]}), 1e-6);

  Values d_weights = randomValues(route.weights.size(), 3), seeds = d_weights;
  seeds.insert(seeds.end(), {1.0f, 1.0f});
  Doubles numeric = numericGradient([&](const Doubles &v) { return route.reference(v, picks); }, x, seeds);
  EXPECT_LT(relativeError(route.gradient(d_weights), numeric), 2e-6);
}

INSTANTIATE_TEST_SUITE_P(Shapes, MoeRoute,
                         testing::Values(Case{1, 3, 1, 0, false, 1.0, 0.1, 0.0}, Case{1, 7, 2, 0, false, 1.0, 0.1, 0.2},
                                         Case{5, 5, 5, 0, false, 2.5, 0.1, 0.2}, Case{67, 6, 2, 0, false, 1.0, 0.3, 0.1},
                                         Case{130, 5, 3, 2, false, 1.5, 0.3, 0.1}, Case{9, 4, 6, 1, false, 1.0, 0.3, 0.1},
                                         Case{5, 4, 4, 9, false, 1.0, 0.3, 0.1}, Case{1, 3, 1, 0, true, 1.0, 0.1, 0.0},
                                         Case{9, 1, 1, 0, true, 1.0, 0.1, 0.2}, Case{67, 6, 2, 0, true, 2.5, 0.3, 0.0},
                                         Case{130, 5, 4, 6, true, 1.0, 0.3, 0.1}, Case{66, 4, 1, 4, true, 1.0, 0.3, 0.1}));

TEST_P(MoeRoute, StatisticsAreTheSumsOfTheFormula) {
  Route route(GetParam());
  const Case &c = route.c;
  ASSERT_EQ(route.run(), 0) << mg_last_error();
  Doubles x = widen(route.logits), expected(2 * c.experts + 1);
  for (const std::vector<int32_t> &picks : route.chosen())
    for (int32_t e : picks)
      ++expected[e];
  for (int64_t t = 0; t < c.rows; ++t) {
    Doubles all = route.pool(x, t), real(all.begin(), all.begin() + c.experts);
    double whole = 0, sum = 0;
    real = c.sigmoid ? Route::sigmoids(real) : Route::softmax(real);
    for (double value : real)
      whole += value;
    for (int64_t e = 0; e < c.experts; ++e)
      expected[c.experts + e] += real[e] / whole;
    for (double value : all)
      sum += std::exp(value);
    expected.back() += std::pow(std::log(sum), 2);
  }
  for (size_t i = 0; i < expected.size(); ++i)
    EXPECT_NEAR(route.statistics[i], expected[i], int64_t(i) < c.experts ? 0 : 2e-6 * expected[i]) << i;
}

// Ranks route their own tokens; their statistics, added, give the losses and gradients of all tokens.
TEST(MoeRoute, StatisticsOfTwoHalvesAddUp) {
  for (bool sigmoid : {false, true}) {
    Case c = {96, 6, 2, 2, sigmoid, 1.5, 0.3, 0.1}, half = c;
    half.rows = 48;
    Route whole(c), parts[2] = {Route(half), Route(half)};
    Values d_weights = randomValues(whole.weights.size(), 3);
    ASSERT_EQ(whole.run(), 0);
    Doubles sum(whole.statistics.size());
    for (int64_t part : {0, 1}) {
      Route &route = parts[part];
      route.logits.assign(whole.logits.begin() + part * 48 * whole.columns, whole.logits.begin() + (part + 1) * 48 * whole.columns);
      route.bias = whole.bias;
      ASSERT_EQ(route.run(), 0);
      for (size_t i = 0; i < sum.size(); ++i)
        sum[i] += route.statistics[i];
    }
    for (size_t i = 0; i < sum.size(); ++i)
      EXPECT_NEAR(sum[i], whole.statistics[i], 1e-12 * whole.statistics[i]);
    Values gradient = whole.gradient(d_weights);
    for (int64_t part : {0, 1}) {
      Route &route = parts[part];
      route.statistics = sum, route.c.rows = c.rows;
      ASSERT_EQ(route.sumLosses(), 0);
      EXPECT_FLOAT_EQ(route.losses[0], whole.losses[0]);
      EXPECT_FLOAT_EQ(route.losses[1], whole.losses[1]);
      Values half_weights(d_weights.begin() + part * 48 * whole.kept, d_weights.begin() + (part + 1) * 48 * whole.kept);
      Values d_logits(route.logits.size(), NAN);
      Ints ints = route.picking(48);
      ints.emplace_back("tokens", 96);
      ASSERT_EQ(call("mg_moe_route_grad",
                     {{"d_logits", d_logits},
                      {"d_weights", half_weights},
                      {"logits", route.logits},
                      {"choice", route.choice},
                      {"statistics", sum}},
                     ints, {{"scale", c.scale}, {"aux", c.aux}, {"z", c.z}}),
                0);
      for (size_t i = 0; i < d_logits.size(); ++i)
        EXPECT_NEAR(d_logits[i], gradient[part * 48 * whole.columns + i], 1e-6);
    }
  }
}

TEST(MoeRoute, OfEqualScoresTheLowerIndexWins) {
  for (bool sigmoid : {false, true}) {
    Route route({3, 5, 3, 4, sigmoid, 1.0, 0.1, 0.0});
    std::fill(route.bias.begin(), route.bias.end(), 0.0f);
    std::fill(route.logits.begin(), route.logits.end(), 0.5f);
    route.logits[6 + 4] = 0.75f;                       // token 1: expert 4 first
    route.logits[12] = -0.0f, route.logits[13] = 0.0f; // token 2: -0 equals +0, and the null expert comes second
    route.logits[14] = route.logits[15] = -1.0f, route.logits[16] = 0.25f, route.logits[17] = -0.5f;
    ASSERT_EQ(route.run(), 0);
    EXPECT_EQ(route.choice, (std::vector<int32_t>{0, 1, 2, 0, 1, 4, 0, 1, 4}));
    EXPECT_FLOAT_EQ(route.weights[0], 1.0f / 3);
  }
}

TEST(MoeRoute, NullPicksLeaveNothing) {
  for (bool sigmoid : {false, true}) {
    Route route({3, 2, 2, 3, sigmoid, 1.0, 0.1, 0.1});
    std::fill(route.bias.begin(), route.bias.end(), 0.0f);
    for (int64_t t = 0; t < 3; ++t)
      route.logits[3 * t + 2] = 300.0f;
    ASSERT_EQ(route.run(), 0) << mg_last_error();
    EXPECT_EQ(route.weights, Values(6, 0.0f));
    EXPECT_EQ(route.position, std::vector<int32_t>(6, -1));
    EXPECT_EQ(route.offsets, std::vector<int32_t>(3, 0));
    EXPECT_EQ(route.losses[0], 0.0f);
    Values d_weights(6, 1.0f), d_logits = route.gradient(d_weights);
    EXPECT_EQ(d_logits[0], 0.0f);
    EXPECT_NEAR(d_logits[2], 0.1 * 2 / 3 * (300 + std::log(3)), 1e-4); // of the z loss
  }
}

TEST(MoeRoute, ScoreThatIsNotANumberPicksNothingAndMakesTheLossNotFinite) {
  for (bool sigmoid : {false, true}) {
    Route route({70, 5, 2, 2, sigmoid, 1.0, 0.1, 0.0});
    route.logits[66 * 6 + 5] = NAN;
    ASSERT_EQ(route.run(), 0);
    EXPECT_TRUE(std::isnan(route.losses[0]));
    for (int64_t pick = 66 * 2; pick < 67 * 2; ++pick)
      EXPECT_EQ(route.position[pick], -1);
    EXPECT_GE(route.position[67 * 2], 0);
    Values d_weights(route.weights.size(), 1.0f), d_logits = route.gradient(d_weights);
    EXPECT_TRUE(std::isnan(d_logits[66 * 6]));
  }
}

TEST(MoeRoute, GivesTheSameBitsAtAnyNumberOfThreads) {
  Case c = {1000, 11, 3, 4, true, 1.0, 0.1, 0.1};
  Route one(c);
  Values d_weights = randomValues(one.weights.size(), 3);
  mg_cpu_set_threads(1);
  one.run();
  Values gradient = one.gradient(d_weights);
  for (int32_t threads : {3, 2}) {
    Route other(c);
    mg_cpu_set_threads(threads);
    other.run();
    EXPECT_EQ(other.weights, one.weights);
    EXPECT_EQ(other.position, one.position);
    EXPECT_EQ(other.losses, one.losses);
    EXPECT_EQ(other.gradient(d_weights), gradient);
  }
}

TEST(MoeBias, MovesTowardsExpertsThatLackPicks) {
  std::vector<int32_t> offsets = {0, 3, 3, 5, 9};
  Values picks(4, NAN), bias = {0.5f, 0, 0, 0, 7}, norm = {1.0f};
  Ints counting = {{"experts", 4}, {"accumulate", 1}};
  ASSERT_EQ(call("mg_moe_count_picks", {{"picks", picks}, {"offsets", offsets}}, counting, {}, 0), 0);
  EXPECT_EQ(picks, (Values{3, 0, 2, 4}));
  offsets = {0, 0, 0, 1, 3};
  ASSERT_EQ(call("mg_moe_count_picks", {{"picks", picks}, {"offsets", offsets}}, counting, {}, 1), 0);
  EXPECT_EQ(picks, (Values{3, 0, 3, 6})); // the mean is 3
  ASSERT_EQ(call("mg_moe_bias_update", {{"bias", bias}, {"picks", picks}, {"norm", norm}}, {{"experts", 4}}, {{"rate", 0.25}}), 0);
  EXPECT_EQ(bias, (Values{0.5f, 0.25f, 0, -0.25f, 7}));
  norm[0] = INFINITY;
  ASSERT_EQ(call("mg_moe_bias_update", {{"bias", bias}, {"picks", picks}, {"norm", norm}}, {{"experts", 4}}, {{"rate", 0.25}}), 0);
  EXPECT_EQ(bias[1], 0.25f);
}
