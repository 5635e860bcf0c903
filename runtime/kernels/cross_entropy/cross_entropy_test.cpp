#include "runtime/kernels/TestSupport.h"

#include <cstring>

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

void check(const std::vector<int32_t> &targets, int64_t chunk) {
  Values packed = randomValues((rows + vocab) * cols, 3), gradient(packed.size(), NAN), workspace((chunk + 1) * vocab, NAN), loss(1);
  ASSERT_EQ(call(mg_linear_cross_entropy,
                 {loss.data(), gradient.data(), gradient.data() + rows * cols, packed.data(), packed.data() + rows * cols,
                  const_cast<int32_t *>(targets.data()), workspace.data()},
                 {rows, cols, vocab, chunk, 1}, {0.5}),
            0);
  auto f = [&](const Doubles &x) { return meanLoss(targets, x); };
  Doubles expected = f(widen(packed));
  EXPECT_NEAR(loss[0], expected[0], 2e-6);
  EXPECT_LT(relativeError(gradient, numericGradient(f, widen(packed), {0.5f})), 1e-5);
}

} // namespace

TEST(LinearCrossEntropy, MatchesFiniteDifferences) {
  std::vector<int32_t> targets = {3, -1, 0, 10, 3, -100, 7, 7, 1};
  for (int64_t chunk : {1, 4, 9})
    check(targets, chunk);
}

TEST(LinearCrossEntropy, AllTargetsIgnoredGiveZero) {
  std::vector<int32_t> targets(rows, -1);
  Values packed = randomValues((rows + vocab) * cols, 3), gradient(packed.size(), NAN), workspace(10 * vocab), loss(1, NAN);
  ASSERT_EQ(call(mg_linear_cross_entropy,
                 {loss.data(), gradient.data(), gradient.data() + rows * cols, packed.data(), packed.data() + rows * cols, targets.data(),
                  workspace.data()},
                 {rows, cols, vocab, 9, 0}, {1.0}),
            0);
  EXPECT_EQ(loss[0], 0.0f);
  EXPECT_EQ(gradient, Values(gradient.size(), 0.0f));
}

TEST(LinearCrossEntropy, RefusesATargetOutsideTheVocabulary) {
  std::vector<int32_t> targets(rows, 11);
  Values any(1000);
  EXPECT_NE(call(mg_linear_cross_entropy, {any.data(), any.data(), any.data(), any.data(), any.data(), targets.data(), any.data()},
                 {rows, cols, vocab, 9, 0}, {1.0}),
            0);
  EXPECT_NE(std::strstr(mg_last_error(), "target 11"), nullptr);
}

TEST(LinearCrossEntropy, EvaluationSumsAndCountsByRow) {
  std::vector<int32_t> targets = {3, -1, 0, 10, 3, -100, -1, -1, -1};
  Values packed = randomValues((rows + vocab) * cols, 3), sum(3), count(3), workspace(4 * vocab);
  ASSERT_EQ(call(mg_linear_cross_entropy_evaluate,
                 {sum.data(), count.data(), packed.data(), packed.data() + rows * cols, targets.data(), workspace.data()},
                 {3, 3, cols, vocab, 2}),
            0);
  EXPECT_EQ(count, (Values{2, 2, 0}));
  EXPECT_NEAR((sum[0] + sum[1] + sum[2]) / 4, meanLoss(targets, widen(packed))[0], 2e-6);
  Values logits(3 * vocab);
  std::vector<int32_t> positions = {2, 0, 1};
  ASSERT_EQ(call(mg_logits_at, {logits.data(), packed.data(), packed.data() + rows * cols, positions.data()}, {3, 3, cols, vocab}), 0);
  double expected = 0;
  for (int64_t i = 0; i < cols; ++i)
    expected += packed[2 * cols + i] * packed[rows * cols + 4 * cols + i];
  EXPECT_NEAR(logits[4], expected, 1e-5);
}
