#include "runtime/cuda/TestSupport.cuh"

#include <algorithm>

using namespace megacc::test;

namespace {

struct Case {
  int64_t rows, experts, slots, nulls;
  bool sigmoid;
  double scale, aux, z;
};

int64_t roundUp(int64_t value, int64_t to) { return (value + to - 1) / to * to; }

/// A router, its kernels' results, and the same in float64.
struct Route {
  Case c;
  int64_t columns, kept, tiles;
  Values logits, bias, weights, losses;
  std::vector<int32_t> choice, position, offsets;
  Doubles statistics;

  explicit Route(const Case &c, float spread = 1.5f)
      : c(c), columns(c.experts + (c.nulls > 0)), kept(std::min(c.slots, c.experts)), tiles((c.rows + 63) / 64),
        logits(randomValues(c.rows * columns, 1, spread)), bias(randomValues(columns, 2, 0.1f)) {}

  /// Routes, then computes statistics and losses.
  void run() {
    Device<float> weights(c.rows * kept), logits(this->logits), bias(this->bias), aux(1), z(1);
    Device<int32_t> choice(c.rows * kept), position(c.rows * kept), offsets(c.experts + 1);
    Device<double> statistics(2 * c.experts + 1);
    Device<char> scratch(roundUp(tiles * c.experts * 8, 64) + 2 * roundUp(tiles * c.experts * 4, 64)), sums(roundUp(tiles * (c.experts + 1) * 8, 64));
    Operand bias_operand = bias;
    ASSERT_EQ(megacc::test::run(mg_moe_route, {weights, choice, position, offsets, logits, c.sigmoid ? bias_operand : Operand(), scratch},
                                {c.rows, c.experts, c.slots, kept, c.nulls, c.sigmoid}, {c.scale}),
              0)
        << mg_last_error();
    ASSERT_EQ(megacc::test::run(mg_moe_statistics, {statistics, logits, offsets, sums}, {c.rows, c.experts, c.nulls, c.sigmoid}), 0) << mg_last_error();
    ASSERT_EQ(megacc::test::run(mg_moe_losses, {aux, z, statistics}, {c.rows, c.experts}, {c.aux, c.z}), 0) << mg_last_error();
    this->weights = weights.get(), this->choice = choice.get(), this->position = position.get(), this->offsets = offsets.get();
    this->statistics = statistics.get();
    losses = {aux.get()[0], z.get()[0]};
  }

  Values gradient(const Values &d_weights) {
    Device<float> d_logits(logits.size()), weights(d_weights), all_logits(logits);
    Device<int32_t> picked(choice);
    Device<double> sums(statistics);
    EXPECT_EQ(megacc::test::run(mg_moe_route_grad, {d_logits, weights, all_logits, picked, sums},
                                {c.rows, c.rows, c.experts, c.slots, kept, c.nulls, c.sigmoid}, {c.scale, c.aux, c.z}),
              0)
        << mg_last_error();
    return d_logits.get();
  }

  /// Logits of all slots of the pool, null copies last.
  Doubles pool(const Doubles &x, int64_t t) const {
    Doubles values(x.begin() + t * columns, x.begin() + t * columns + c.experts);
    values.resize(c.experts + c.nulls, c.nulls ? x[t * columns + c.experts] : 0.0);
    return values;
  }

  static Doubles softmax(const Doubles &x) {
    double top = *std::max_element(x.begin(), x.end()), sum = 0;
    Doubles y;
    for (double value : x)
      y.push_back(std::exp(value - top)), sum += y.back();
    for (double &value : y)
      value /= sum;
    return y;
  }

  static Doubles sigmoids(Doubles x) {
    for (double &value : x)
      value = 1 / (1 + std::exp(-value));
    return x;
  }

  Doubles scores(const Doubles &x, int64_t t) const { return c.sigmoid ? sigmoids(pool(x, t)) : softmax(pool(x, t)); }

  /// Experts that each token picks, ascending.
  std::vector<std::vector<int32_t>> chosen() const {
    std::vector<std::vector<int32_t>> result;
    for (int64_t t = 0; t < c.rows; ++t) {
      Doubles preference = scores(widen(logits), t);
      std::vector<int32_t> order;
      for (size_t slot = 0; slot < preference.size(); ++slot) {
        preference[slot] += c.sigmoid ? bias[std::min<int64_t>(slot, c.experts)] : 0;
        order.push_back(int32_t(slot));
      }
      auto isBetter = [&](int32_t a, int32_t b) { return preference[a] != preference[b] ? preference[a] > preference[b] : a < b; };
      std::sort(order.begin(), order.end(), isBetter);
      order.resize(std::min<int64_t>(c.slots, order.size()));
      std::erase_if(order, [&](int32_t slot) { return slot >= c.experts; });
      std::sort(order.begin(), order.end());
      result.push_back(order);
    }
    return result;
  }

  /// Weights, auxiliary loss and z loss for fixed picks.
  Doubles reference(const Doubles &x, const std::vector<std::vector<int32_t>> &picks) const {
    Doubles result(c.rows * kept + 2), probability(c.experts), count(c.experts);
    double total = 0;
    for (int64_t t = 0; t < c.rows; ++t) {
      Doubles all = pool(x, t), score = scores(x, t), real(all.begin(), all.begin() + c.experts);
      double sum = 1e-20, log_sum = 0, whole = 0;
      for (int32_t e : picks[t])
        sum += score[e], ++count[e], ++total;
      for (size_t k = 0; k < picks[t].size(); ++k)
        result[t * kept + k] = c.scale * score[picks[t][k]] / (c.slots > 1 ? sum : 1);
      real = c.sigmoid ? sigmoids(real) : softmax(real);
      for (double value : real)
        whole += value;
      for (int64_t e = 0; e < c.experts; ++e)
        probability[e] += real[e] / whole / c.rows;
      for (double value : all)
        log_sum += std::exp(value);
      result.back() += c.z * std::pow(std::log(log_sum), 2) / c.rows;
    }
    for (int64_t e = 0; e < c.experts; ++e)
      result[c.rows * kept] += c.aux * c.experts * count[e] / std::max(total, 1.0) * probability[e];
    return result;
  }

  void expectRouting() const {
    auto picks = chosen();
    std::vector<int32_t> next(c.experts);
    for (int64_t t = 0; t < c.rows; ++t)
      for (int64_t k = 0; k < kept; ++k)
        ASSERT_EQ(choice[t * kept + k], k < int64_t(picks[t].size()) ? picks[t][k] : -1) << t;
    for (int64_t pick = 0; pick < c.rows * kept; ++pick) { // sorted by expert, then token
      int32_t expert = choice[pick];
      ASSERT_EQ(position[pick], expert < 0 ? -1 : offsets[expert] + next[expert]++) << pick;
    }
    ASSERT_EQ(offsets[0], 0);
    for (int64_t e = 0; e < c.experts; ++e)
      ASSERT_EQ(offsets[e + 1] - offsets[e], next[e]);
    Doubles expected = reference(widen(logits), picks);
    EXPECT_LT(relativeError(weights, Doubles(expected.begin(), expected.end() - 2)), 2e-6);
    EXPECT_LT(relativeError(Values{losses[0]}, {expected[c.rows * kept]}), 2e-6);
    EXPECT_LT(relativeError(Values{losses[1]}, {expected[c.rows * kept + 1]}), 2e-6);
  }
};

class MoeRouteOnDevice : public OnDevice, public testing::WithParamInterface<Case> {};

} // namespace

TEST_P(MoeRouteOnDevice, MatchesTheReferenceAndFiniteDifferences) {
  Route route(GetParam());
  route.run();
  route.expectRouting();
  auto picks = route.chosen();
  Values d_weights = randomValues(route.weights.size(), 3);
  Doubles seeds = widen(d_weights);
  seeds.insert(seeds.end(), {1.0, 1.0});
  Doubles numeric = numericGradient([&](const Doubles &v) { return route.reference(v, picks); }, widen(route.logits), seeds);
  EXPECT_LT(relativeError(route.gradient(d_weights), numeric), 4e-6);
}

INSTANTIATE_TEST_SUITE_P(Shapes, MoeRouteOnDevice,
                         testing::Values(Case{1, 3, 1, 0, false, 1.0, 0.1, 0.0}, Case{1, 7, 2, 0, false, 1.0, 0.1, 0.2},
                                         Case{5, 5, 5, 0, false, 2.5, 0.1, 0.2}, Case{67, 6, 2, 0, false, 1.0, 0.3, 0.1},
                                         Case{130, 5, 3, 2, false, 1.5, 0.3, 0.1}, Case{9, 4, 6, 1, false, 1.0, 0.3, 0.1},
                                         Case{5, 4, 4, 9, false, 1.0, 0.3, 0.1}, Case{1, 3, 1, 0, true, 1.0, 0.1, 0.0},
                                         Case{9, 1, 1, 0, true, 1.0, 0.1, 0.2}, Case{67, 6, 2, 0, true, 2.5, 0.3, 0.0},
                                         Case{130, 5, 4, 6, true, 1.0, 0.3, 0.1}, Case{66, 4, 1, 4, true, 1.0, 0.3, 0.1},
                                         Case{9, 100, 5, 7, false, 1.0, 0.3, 0.1}, Case{7, 33, 4, 0, true, 2.0, 0.3, 0.1},
                                         Case{3, 300, 8, 0, true, 2.0, 0.3, 0.1}));

TEST_F(OnDevice, MoeRouteOfManyTokens) {
  for (const Case &c : {Case{5000, 16, 4, 0, false, 1.0, 0.3, 0.1}, Case{3001, 130, 6, 11, true, 2.0, 0.3, 0.1}}) {
    Route route(c), again(c);
    route.run();
    route.expectRouting();
    again.run();
    EXPECT_TRUE(sameBits(route.weights, again.weights));
    EXPECT_TRUE(sameBits(route.statistics, again.statistics));
    Values d_weights = randomValues(route.weights.size(), 3);
    EXPECT_TRUE(sameBits(route.gradient(d_weights), again.gradient(d_weights)));
  }
}

TEST_F(OnDevice, MoeRouteOfEqualScoresTheLowerIndexWins) {
  for (bool sigmoid : {false, true}) {
    Route route({3, 5, 3, 4, sigmoid, 1.0, 0.1, 0.0});
    std::fill(route.bias.begin(), route.bias.end(), 0.0f);
    std::fill(route.logits.begin(), route.logits.end(), 0.5f);
    route.logits[6 + 4] = 0.75f;                       // token 1: expert 4 first
    route.logits[12] = -0.0f, route.logits[13] = 0.0f; // token 2: -0 equals +0, and the null expert comes second
    route.logits[14] = route.logits[15] = -1.0f, route.logits[16] = 0.25f, route.logits[17] = -0.5f;
    route.run();
    EXPECT_EQ(route.choice, (std::vector<int32_t>{0, 1, 2, 0, 1, 4, 0, 1, 4}));
    EXPECT_FLOAT_EQ(route.weights[0], 1.0f / 3);
  }
}

TEST_F(OnDevice, MoeRouteNullPicksLeaveNothing) {
  for (bool sigmoid : {false, true}) {
    Route route({3, 2, 2, 3, sigmoid, 1.0, 0.1, 0.1});
    std::fill(route.bias.begin(), route.bias.end(), 0.0f);
    for (int64_t t = 0; t < 3; ++t)
      route.logits[3 * t + 2] = 300.0f;
    route.run();
    EXPECT_EQ(route.weights, Values(6, 0.0f));
    EXPECT_EQ(route.position, std::vector<int32_t>(6, -1));
    EXPECT_EQ(route.offsets, std::vector<int32_t>(3, 0));
    EXPECT_EQ(route.losses[0], 0.0f);
    Values d_logits = route.gradient(Values(6, 1.0f));
    EXPECT_EQ(d_logits[0], 0.0f);
    EXPECT_NEAR(d_logits[2], 0.1 * 2 / 3 * (300 + std::log(3)), 1e-4); // of the z loss
  }
}

TEST_F(OnDevice, MoeRouteScoreThatIsNotANumberPicksNothing) {
  for (bool sigmoid : {false, true}) {
    Route route({70, 5, 2, 2, sigmoid, 1.0, 0.1, 0.0});
    route.logits[66 * 6 + 5] = NAN;
    route.run();
    for (int64_t pick = 66 * 2; pick < 67 * 2; ++pick) {
      EXPECT_EQ(route.position[pick], -1);
      EXPECT_EQ(route.choice[pick], -1);
      EXPECT_EQ(route.weights[pick], 0.0f);
    }
    EXPECT_GE(route.position[67 * 2], 0);
    EXPECT_TRUE(std::isnan(route.losses[0]));
    EXPECT_TRUE(std::isnan(route.gradient(Values(route.weights.size(), 1.0f))[66 * 6]));
  }
}

TEST_F(OnDevice, MoeBiasMovesTowardsExpertsThatLackPicks) {
  Device<int32_t> offsets(std::vector<int32_t>{0, 3, 3, 5, 9});
  Device<float> picks(4), bias(Values{0.5f, 0, 0, 0, 7}), norm(Values{1.0f});
  ASSERT_EQ(run(mg_moe_count_picks, {picks, offsets}, {4, 1}, {}, 0), 0);
  EXPECT_EQ(picks.get(), (Values{3, 0, 2, 4}));
  offsets.set({0, 0, 0, 1, 3});
  ASSERT_EQ(run(mg_moe_count_picks, {picks, offsets}, {4, 1}, {}, 1), 0);
  EXPECT_EQ(picks.get(), (Values{3, 0, 3, 6})); // the mean is 3
  ASSERT_EQ(run(mg_moe_bias_update, {bias, picks, norm}, {4}, {0.25}), 0);
  EXPECT_EQ(bias.get(), (Values{0.5f, 0.25f, 0, -0.25f, 7}));
  norm.set({INFINITY});
  ASSERT_EQ(run(mg_moe_bias_update, {bias, picks, norm}, {4}, {0.25}), 0);
  EXPECT_EQ(bias.get()[1], 0.25f);
}

TEST_F(OnDevice, MoeRouteRefusesTooManyExperts) {
  Device<float> logits(600);
  Device<char> scratch(roundUp(600 * 8, 64) + 2 * roundUp(600 * 4, 64));
  EXPECT_NE(run(mg_moe_route, {{}, {}, {}, {}, logits, {}, scratch}, {1, 600, 2, 2, 0, 0}, {1.0}), 0);
  EXPECT_STREQ(mg_last_error(), "mg_moe_route: experts is 600, at most 512");
}
