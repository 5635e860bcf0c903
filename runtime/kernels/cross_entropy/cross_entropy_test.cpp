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

/// A part of the vocabulary for each rank: losses and d_x add up to those of the whole, d_weight is a part of its.
TEST(LinearCrossEntropyParts, RanksHavePartsOfTheWhole) {
  constexpr int64_t all = 12, batch = 3, sequence = rows / batch;
  std::vector<int32_t> targets = {3, -1, 0, 11, 12, -100, 7, 6, 5}; // 12 is outside
  Values x = randomValues(rows * cols, 1), weight = randomValues(all * cols, 2), valid = {7};
  for (float &value : x) // differences of logits that an exponential of fp32 does not have
    value *= 60;
  auto run_whole = [&](const std::string &symbol, std::vector<Operand> operands, Ints ints, Reals reals) {
    operands.insert(operands.end(), {{"x", x}, {"weight", weight}, {"targets", targets}});
    ASSERT_EQ(call(symbol, operands, ints, reals, 0), 0) << mg_last_error();
  };
  Values loss(1), d_x(rows * cols), d_weight(all * cols), invalid(1), loss_sum(batch), count(batch);
  run_whole("mg_linear_cross_entropy", {{"loss", loss}, {"d_x", d_x}, {"d_weight", d_weight}, {"invalid", invalid}, {"valid", valid}},
            {{"rows", rows}, {"cols", cols}, {"vocab", all}, {"logit_rows", 4}, {"accumulate", 0}}, {{"scale", 0.5}});
  run_whole("mg_linear_cross_entropy_evaluate", {{"loss_sum", loss_sum}, {"count", count}},
            {{"batch", batch}, {"sequence", sequence}, {"cols", cols}, {"vocab", all}, {"logit_rows", 2}}, {});
  for (int64_t ranks : {1, 2, 4, 12})
    for (int64_t chunk : {1, 4, 9}) {
      int64_t vocab = all / ranks;
      Values statistics(ranks * 2 * rows, NAN), my_loss(1, NAN), my_d_x(rows * cols, NAN), my_d_weight(vocab * cols, NAN), flag(1, NAN);
      Values my_sum(batch, NAN), my_count(batch, NAN);
      Doubles losses(1), sums(batch), counts(batch), d_xs(rows * cols);
      auto runPart = [&](const std::string &symbol, int64_t rank, std::vector<Operand> operands, Ints ints, Reals reals) {
        operands.insert(operands.end(), {{"x", x}, {"weight", weight.data() + rank * vocab * cols, vocab * cols}});
        ints.insert(ints.end(), {{"cols", cols}, {"vocab", vocab}, {"parts", 1}});
        Launch launch(symbol, operands, ints, reals);
        launch.context.axes[MG_TP] = {rank, ranks, nullptr};
        ASSERT_EQ(run(launch), 0) << mg_last_error();
      };
      for (int64_t rank = 0; rank < ranks; ++rank)
        runPart("mg_head_statistics", rank, {{"statistics", statistics.data() + rank * 2 * rows, 2 * rows}},
                {{"rows", rows}, {"logit_rows", chunk}}, {});
      for (int64_t rank = 0; rank < ranks; ++rank) {
        runPart("mg_linear_cross_entropy_parts", rank,
                {{"loss", my_loss},
                 {"d_x", my_d_x},
                 {"d_weight", my_d_weight},
                 {"invalid", flag},
                 {"targets", targets},
                 {"valid", valid},
                 {"statistics", statistics}},
                {{"rows", rows}, {"logit_rows", chunk}, {"accumulate", 0}, {"all_parts", ranks}, {"axis", MG_TP}}, {{"scale", 0.5}});
        runPart("mg_linear_cross_entropy_evaluate_parts", rank,
                {{"loss_sum", my_sum}, {"count", my_count}, {"targets", targets}, {"statistics", statistics}},
                {{"batch", batch}, {"sequence", sequence}, {"all_parts", ranks}, {"axis", MG_TP}}, {});
        EXPECT_EQ(flag[0], 1.0f);
        losses[0] += my_loss[0];
        for (int64_t b = 0; b < batch; ++b)
          sums[b] += my_sum[b], counts[b] += my_count[b];
        for (size_t i = 0; i < my_d_x.size(); ++i)
          d_xs[i] += my_d_x[i];
        Values expected(d_weight.begin() + rank * vocab * cols, d_weight.begin() + (rank + 1) * vocab * cols);
        EXPECT_LT(relativeError(my_d_weight, widen(expected)), 1e-5) << "rank " << rank << " of " << ranks;
      }
      EXPECT_NEAR(losses[0], loss[0], 1e-5 * loss[0]) << ranks << " ranks";
      EXPECT_LT(relativeError(d_x, d_xs), 1e-5) << ranks << " ranks";
      for (int64_t b = 0; b < batch; ++b) {
        EXPECT_NEAR(sums[b], loss_sum[b], 1e-5 * loss_sum[b]) << ranks << " ranks";
        EXPECT_EQ(counts[b], count[b]);
      }
    }
}
