#include "runtime/kernels/TestSupport.h"

using namespace megacc::test;

namespace {

constexpr int64_t rows = 9, cols = 5, vocab = 11;

Doubles meanLoss(const std::vector<int32_t> &targets, const Doubles &packed) {
  const double *x = packed.data(), *weight = x + rows * cols;
  double sum = 0;
  int valid = 0;
  for (int64_t t = 0; t < rows; ++t) {
    if (targets[t] < 0)
      continue;
    double total = 0, goal = 0;
    for (int64_t j = 0; j < vocab; ++j) {
      double logit = 0;
      for (int64_t i = 0; i < cols; ++i)
        logit += x[t * cols + i] * weight[j * cols + i];
      total += std::exp(logit);
      if (j == targets[t])
        goal = logit;
    }
    sum += std::log(total) - goal;
    ++valid;
  }
  return {sum / std::max(valid, 1)};
}

/// Counts the valid targets, then runs the head; `gradient` are d_x and d_weight, one after the other.
int32_t head(Values &loss, Values &gradient, const Values &packed, const std::vector<int32_t> &targets, int64_t logit_rows, double scale,
             Values *invalid = nullptr, int64_t micro_batch = 0, int64_t accumulate = 1) {
  Values valid(1, NAN);
  EXPECT_EQ(call("mg_count_valid", {{"valid", valid}, {"targets", targets}}, {{"rows", rows}}), 0);
  EXPECT_EQ(valid[0], std::count_if(targets.begin(), targets.end(), [](int32_t target) { return target >= 0; }));
  return call("mg_linear_cross_entropy",
              {{"loss", loss},
               {"d_x", gradient.data(), rows * cols},
               {"d_weight", gradient.data() + rows * cols, vocab * cols},
               {"x", packed.data(), rows * cols},
               {"weight", packed.data() + rows * cols, vocab * cols},
               {"targets", targets},
               {"valid", valid},
               invalid ? Operand("invalid", *invalid) : Operand("invalid", nullptr)},
              {{"rows", rows}, {"cols", cols}, {"vocab", vocab}, {"logit_rows", logit_rows}, {"accumulate", accumulate}},
              {{"scale", scale}}, micro_batch);
}

void check(const std::vector<int32_t> &targets, int64_t chunk) {
  Values packed = randomValues((rows + vocab) * cols, 3), gradient(packed.size(), NAN), loss(1);
  ASSERT_EQ(head(loss, gradient, packed, targets, chunk, 0.5), 0);
  auto f = [&](const Doubles &x) { return meanLoss(targets, x); };
  Doubles expected = f(widen(packed));
  EXPECT_NEAR(loss[0], expected[0], 2e-6);
  EXPECT_LT(relativeError(gradient, numericGradient(f, widen(packed), Values{0.5f})), 1e-5);
}

} // namespace

TEST(LinearCrossEntropy, MatchesFiniteDifferences) {
  std::vector<int32_t> targets = {3, -1, 0, 10, 3, -100, 7, 7, 1};
  for (int64_t chunk : {1, 4, 9})
    check(targets, chunk);
}

TEST(LinearCrossEntropy, AllTargetsIgnoredGiveZero) {
  std::vector<int32_t> targets(rows, -1);
  Values packed = randomValues((rows + vocab) * cols, 3), gradient(packed.size(), NAN), loss(1, NAN);
  ASSERT_EQ(head(loss, gradient, packed, targets, 9, 1.0), 0);
  EXPECT_EQ(loss[0], 0.0f);
  EXPECT_EQ(gradient, Values(gradient.size(), 0.0f));
}

TEST(LinearCrossEntropy, ATargetOutsideTheVocabularyRaisesAFlagAndIsIgnored) {
  std::vector<int32_t> bad = {3, -1, 0, 11, 3, -100, 7, 7, 1}, good = bad;
  good[3] = -1;
  Values packed = randomValues((rows + vocab) * cols, 3), gradient(packed.size(), NAN), expected(packed.size(), NAN);
  Values loss(1), invalid(1, NAN);
  ASSERT_EQ(head(loss, gradient, packed, bad, 4, 0.5, &invalid), 0);
  EXPECT_EQ(invalid[0], 1.0f);
  EXPECT_NEAR(loss[0], meanLoss(good, widen(packed))[0] * 6 / 7, 2e-6); // it counts among the valid ones
  ASSERT_EQ(head(loss, expected, packed, good, 4, 0.5, &invalid, /*micro_batch=*/1, /*accumulate=*/0), 0);
  EXPECT_EQ(invalid[0], 1.0f) << "an earlier micro-batch is forgotten";
  for (int64_t j = 0; j < cols; ++j)
    EXPECT_EQ(gradient[3 * cols + j], 0.0f);
  for (size_t i = 0; i < gradient.size(); ++i)
    EXPECT_NEAR(gradient[i], expected[i] * 6 / 7, 1e-6);
  ASSERT_EQ(head(loss, expected, packed, good, 4, 0.5, &invalid), 0);
  EXPECT_EQ(invalid[0], 0.0f);
}

TEST(LinearCrossEntropy, AddsToItsWeightGradientAsAsked) {
  std::vector<int32_t> targets = {3, -1, 0, 10, 3, -100, 7, 7, 1};
  Values packed = randomValues((rows + vocab) * cols, 3), once(packed.size(), NAN), twice, loss(1);
  ASSERT_EQ(head(loss, once, packed, targets, 4, 0.5), 0);
  for (auto [accumulate, micro_batch] : {std::pair<int64_t, int64_t>{2, 0}, {2, 1}, {1, 1}}) {
    twice = once;
    ASSERT_EQ(head(loss, twice, packed, targets, 4, 0.5, nullptr, micro_batch, accumulate), 0);
    for (int64_t i = 0; i < (rows + vocab) * cols; ++i)
      EXPECT_NEAR(twice[i], i < rows * cols ? once[i] : 2 * once[i], 1e-6);
  }
}

TEST(LinearCrossEntropy, EvaluationSumsAndCountsByRow) {
  std::vector<int32_t> targets = {3, -1, 0, 10, 3, -100, -1, -1, -1};
  Values packed = randomValues((rows + vocab) * cols, 3), sum(3), count(3);
  Operand x("x", packed.data(), rows * cols), weight("weight", packed.data() + rows * cols, vocab * cols);
  ASSERT_EQ(call("mg_linear_cross_entropy_evaluate", {{"loss_sum", sum}, {"count", count}, x, weight, {"targets", targets}},
                 {{"batch", 3}, {"sequence", 3}, {"cols", cols}, {"vocab", vocab}, {"logit_rows", 2}}),
            0);
  EXPECT_EQ(count, (Values{2, 2, 0}));
  EXPECT_NEAR((sum[0] + sum[1] + sum[2]) / 4, meanLoss(targets, widen(packed))[0], 2e-6);
  Values logits(3 * vocab);
  std::vector<int32_t> positions = {2, 0, 1};
  auto find = [&] {
    return call("mg_logits_at", {{"logits", logits}, x, weight, {"positions", positions}},
                {{"batch", 3}, {"sequence", 3}, {"cols", cols}, {"vocab", vocab}});
  };
  ASSERT_EQ(find(), 0);
  double expected = 0;
  for (int64_t i = 0; i < cols; ++i)
    expected += packed[2 * cols + i] * packed[rows * cols + 4 * cols + i];
  EXPECT_NEAR(logits[4], expected, 1e-5);
  Values inside = logits;
  positions = {900, -5, 1}; // clamped into the row
  ASSERT_EQ(find(), 0);
  EXPECT_EQ(logits, inside);
}
