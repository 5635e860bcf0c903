#include "runtime/kernels/GpuTestSupport.h"
#include "runtime/kernels/NumericGradient.h"
#include "runtime/kernels/moe_route/RouteReference.h"

#include <algorithm>
#include <gtest/gtest.h>

using namespace megacc::gpu;

namespace {

using Case = megacc::test::RouteCase;

/// A router, its kernels' results, and the same in float64.
struct Route : megacc::test::RouteReference {
  Values logits, bias, weights, choice, position, offsets, statistics, losses;

  explicit Route(const Case &c)
      : RouteReference(c), logits(randomValues(c.rows * columns, 1, 1.5, MG_F32)), bias(randomValues(columns, 2, 0.1, MG_F32)) {}

  /// Routes, then computes statistics and losses.
  void run() {
    Call route = MG_CALL(mg_moe_route);
    route.poisoned("weights", MG_F32, c.rows * kept).poisoned("choice", MG_I32, c.rows * kept).poisoned("position", MG_I32, c.rows * kept);
    route.poisoned("offsets", MG_I32, c.experts + 1).give("logits", MG_F32, logits);
    if (c.sigmoid)
      route.give("bias", MG_F32, bias);
    route.set("rows", c.rows)
        .set("experts", c.experts)
        .set("slots", c.slots)
        .set("kept", kept)
        .set("nulls", c.nulls)
        .set("sigmoid", c.sigmoid);
    ASSERT_EQ(route.setReal("scale", c.scale).run(), "");
    weights = route.read("weights"), choice = route.read("choice"), position = route.read("position"), offsets = route.read("offsets");

    Call sums = MG_CALL(mg_moe_statistics);
    sums.poisoned("statistics", MG_F64, 2 * c.experts + 1).give("logits", MG_F32, logits).give("offsets", MG_I32, offsets);
    sums.set("rows", c.rows).set("experts", c.experts).set("nulls", c.nulls).set("sigmoid", c.sigmoid);
    ASSERT_EQ(sums.run(), "");
    statistics = sums.read("statistics");

    Call loss = MG_CALL(mg_moe_losses);
    loss.poisoned("aux_loss", MG_F32, 1).poisoned("z_loss", MG_F32, 1).give("statistics", MG_F64, statistics);
    loss.set("tokens", c.rows).set("experts", c.experts).setReal("aux", c.aux).setReal("z", c.z);
    ASSERT_EQ(loss.run(), "");
    losses = {loss.read("aux_loss")[0], loss.read("z_loss")[0]};
  }

  Values gradient(const Values &d_weights) {
    Call call = MG_CALL(mg_moe_route_grad);
    call.poisoned("d_logits", MG_F32, logits.size()).give("d_weights", MG_F32, d_weights).give("logits", MG_F32, logits);
    call.give("choice", MG_I32, choice)
        .give("statistics", MG_F64, statistics)
        .set("rows", c.rows)
        .set("tokens", c.rows)
        .set("experts", c.experts);
    call.set("slots", c.slots).set("kept", kept).set("nulls", c.nulls).set("sigmoid", c.sigmoid);
    call.setReal("scale", c.scale).setReal("aux", c.aux).setReal("z", c.z);
    EXPECT_EQ(call.run(), "");
    return call.read("d_logits");
  }

  void expectRouting() const {
    auto picks = choose(logits, bias);
    std::vector<int64_t> next(c.experts);
    for (int64_t t = 0; t < c.rows; ++t)
      for (int64_t k = 0; k < kept; ++k)
        ASSERT_EQ(choice[t * kept + k], k < int64_t(picks[t].size()) ? picks[t][k] : -1) << t;
    for (int64_t pick = 0; pick < c.rows * kept; ++pick) { // sorted by expert, then token
      int64_t expert = int64_t(choice[pick]);
      ASSERT_EQ(position[pick], expert < 0 ? -1 : offsets[expert] + next[expert]++) << pick;
    }
    ASSERT_EQ(offsets[0], 0);
    for (int64_t e = 0; e < c.experts; ++e)
      ASSERT_EQ(offsets[e + 1] - offsets[e], next[e]);
    Values expected = reference(logits, picks);
    EXPECT_LT(relativeError(weights, Values(expected.begin(), expected.end() - 2)), 2e-6);
    EXPECT_LT(relativeError({losses[0]}, {expected[c.rows * kept]}), 2e-6);
    EXPECT_LT(relativeError({losses[1]}, {expected[c.rows * kept + 1]}), 2e-6);
  }
};

class MoeRouteGpu : public testing::TestWithParam<Case> {};

} // namespace

TEST_P(MoeRouteGpu, MatchesTheReferenceAndFiniteDifferences) {
  MG_NEEDS_CARD();
  Route route(GetParam());
  route.run();
  route.expectRouting();
  auto picks = route.choose(route.logits, route.bias);
  Values d_weights = randomValues(route.weights.size(), 3, 1, MG_F32), seeds = d_weights;
  seeds.insert(seeds.end(), {1.0, 1.0});
  Values numeric = megacc::test::numericGradient([&](const Values &v) { return route.reference(v, picks); }, route.logits, seeds);
  EXPECT_LT(relativeError(route.gradient(d_weights), numeric), 4e-6);
}

INSTANTIATE_TEST_SUITE_P(Shapes, MoeRouteGpu,
                         testing::Values(Case{1, 3, 1, 0, false, 1.0, 0.1, 0.0}, Case{1, 7, 2, 0, false, 1.0, 0.1, 0.2},
                                         Case{5, 5, 5, 0, false, 2.5, 0.1, 0.2}, Case{67, 6, 2, 0, false, 1.0, 0.3, 0.1},
                                         Case{130, 5, 3, 2, false, 1.5, 0.3, 0.1}, Case{9, 4, 6, 1, false, 1.0, 0.3, 0.1},
                                         Case{5, 4, 4, 9, false, 1.0, 0.3, 0.1}, Case{1, 3, 1, 0, true, 1.0, 0.1, 0.0},
                                         Case{9, 1, 1, 0, true, 1.0, 0.1, 0.2}, Case{67, 6, 2, 0, true, 2.5, 0.3, 0.0},
                                         Case{130, 5, 4, 6, true, 1.0, 0.3, 0.1}, Case{66, 4, 1, 4, true, 1.0, 0.3, 0.1},
                                         Case{9, 100, 5, 7, false, 1.0, 0.3, 0.1}, Case{7, 33, 4, 0, true, 2.0, 0.3, 0.1},
                                         Case{3, 300, 8, 0, true, 2.0, 0.3, 0.1}));

TEST(MoeRouteOnGpu, OfManyTokens) {
  MG_NEEDS_CARD();
  for (const Case &c : {Case{5000, 16, 4, 0, false, 1.0, 0.3, 0.1}, Case{3001, 130, 6, 11, true, 2.0, 0.3, 0.1}}) {
    Route route(c);
    route.run();
    route.expectRouting();
  }
}

TEST(MoeRouteOnGpu, OfEqualScoresTheLowerIndexWins) {
  MG_NEEDS_CARD();
  for (bool sigmoid : {false, true}) {
    Route route({3, 5, 3, 4, sigmoid, 1.0, 0.1, 0.0});
    std::fill(route.bias.begin(), route.bias.end(), 0.0f);
    std::fill(route.logits.begin(), route.logits.end(), 0.5f);
    route.logits[6 + 4] = 0.75f;                       // token 1: expert 4 first
    route.logits[12] = -0.0f, route.logits[13] = 0.0f; // token 2: -0 equals +0, and the null expert comes second
    route.logits[14] = route.logits[15] = -1.0f, route.logits[16] = 0.25f, route.logits[17] = -0.5f;
    route.run();
    EXPECT_EQ(route.choice, (Values{0, 1, 2, 0, 1, 4, 0, 1, 4}));
    EXPECT_NEAR(route.weights[0], 1.0 / 3, 1e-7);
  }
}

TEST(MoeRouteOnGpu, NullPicksLeaveNothing) {
  MG_NEEDS_CARD();
  for (bool sigmoid : {false, true}) {
    Route route({3, 2, 2, 3, sigmoid, 1.0, 0.1, 0.1});
    std::fill(route.bias.begin(), route.bias.end(), 0.0f);
    for (int64_t t = 0; t < 3; ++t)
      route.logits[3 * t + 2] = 300.0f;
    route.run();
    EXPECT_EQ(route.weights, Values(6, 0.0f));
    EXPECT_EQ(route.position, Values(6, -1));
    EXPECT_EQ(route.offsets, Values(3, 0));
    EXPECT_EQ(route.losses[0], 0.0f);
    Values d_logits = route.gradient(Values(6, 1.0f));
    EXPECT_EQ(d_logits[0], 0.0f);
    EXPECT_NEAR(d_logits[2], 0.1 * 2 / 3 * (300 + std::log(3)), 1e-4); // of the z loss
  }
}

TEST(MoeRouteOnGpu, ScoreThatIsNotANumberPicksNothing) {
  MG_NEEDS_CARD();
  for (bool sigmoid : {false, true}) {
    Route route({70, 5, 2, 2, sigmoid, 1.0, 0.1, 0.0});
    route.logits[66 * 6 + 5] = NAN;
    route.run();
    for (int64_t pick = 66 * 2; pick < 67 * 2; ++pick) {
      EXPECT_EQ(route.position[pick], -1);
      EXPECT_EQ(route.choice[pick], -1);
      EXPECT_EQ(route.weights[pick], 0.0);
    }
    EXPECT_GE(route.position[67 * 2], 0);
    EXPECT_TRUE(std::isnan(route.losses[0]));
    EXPECT_TRUE(std::isnan(route.gradient(Values(route.weights.size(), 1.0f))[66 * 6]));
  }
}

TEST(MoeBiasOnGpu, MovesTowardsExpertsThatLackPicks) {
  MG_NEEDS_CARD();
  auto count = [](const Values &picks, const Values &offsets, int64_t micro_batch) {
    Call call = MG_CALL(mg_moe_count_picks);
    call.give("picks", MG_F32, picks).give("offsets", MG_I32, offsets).set("experts", 4).set("accumulate", 1).at(micro_batch);
    EXPECT_EQ(call.run(), "");
    return call.read("picks");
  };
  auto update = [](const Values &bias, const Values &picks, double norm) {
    Call call = MG_CALL(mg_moe_bias_update);
    call.give("bias", MG_F32, bias).give("picks", MG_F32, picks).give("norm", MG_F32, {norm}).set("experts", 4).setReal("rate", 0.25);
    EXPECT_EQ(call.run(), "");
    return call.read("bias");
  };
  Values picks = count({NAN, NAN, NAN, NAN}, {0, 3, 3, 5, 9}, 0);
  EXPECT_EQ(picks, (Values{3, 0, 2, 4}));
  picks = count(picks, {0, 0, 0, 1, 3}, 1);
  EXPECT_EQ(picks, (Values{3, 0, 3, 6})); // the mean is 3
  EXPECT_EQ(update({0.5, 0, 0, 0, 7}, picks, 1), (Values{0.5, 0.25, 0, -0.25, 7}));
  EXPECT_EQ(update({0.5, 0, 0, 0, 7}, picks, INFINITY), (Values{0.5, 0, 0, 0, 7}));
}

TEST(MoeRouteOnGpu, RefusesTooManyExperts) {
  MG_NEEDS_CARD();
  Call call = MG_CALL(mg_moe_route);
  call.poisoned("weights", MG_F32, 2).poisoned("choice", MG_I32, 2).poisoned("position", MG_I32, 2).poisoned("offsets", MG_I32, 601);
  call.randomized("logits", MG_F32, 600, 1)
      .set("rows", 1)
      .set("experts", 600)
      .set("slots", 2)
      .set("kept", 2)
      .set("nulls", 0)
      .set("sigmoid", 0);
  EXPECT_EQ(call.setReal("scale", 1).run(), "mg_moe_route: experts is 600, at most 512");
}
