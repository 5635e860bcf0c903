#include "runtime/kernels/GpuTestSupport.h"

#include <algorithm>
#include <gtest/gtest.h>

using namespace megacc::gpu;

namespace {

using Targets = std::vector<int32_t>;

struct Problem {
  int64_t rows, cols, vocab, logit_rows;
  Values x, weight;
  Targets targets;

  Values asValues() const { return Values(targets.begin(), targets.end()); }
  double countValid() const {
    return double(std::count_if(targets.begin(), targets.end(), [](int32_t target) { return target >= 0; }));
  }
};

/// Targets from everywhere in the vocabulary, its ends among them, every fourth of more than three ignored.
Problem makeProblem(int64_t rows, int64_t cols, int64_t vocab, int64_t logit_rows) {
  Values x = randomValues(rows * cols, 1), weight = randomValues(vocab * cols, 2, 1.5 / std::sqrt(double(cols)));
  Problem problem = {rows, cols, vocab, logit_rows, x, weight, {}};
  std::mt19937 generator(3);
  for (int64_t t = 0; t < rows; ++t)
    problem.targets.push_back(t % 4 == 3 ? (t % 8 == 3 ? -1 : -100) : int32_t(generator() % vocab));
  problem.targets.front() = int32_t(vocab - 1);
  if (rows > 2)
    problem.targets[2] = 0;
  return problem;
}

struct Reference {
  Values losses, logits, d_x, d_weight;
  double sum = 0;
};

Reference computeReference(const Problem &p, double scale) {
  Reference reference = {Values(p.rows), Values(p.rows * p.vocab), Values(p.rows * p.cols), Values(p.vocab * p.cols)};
  double factor = scale / std::max(1.0, p.countValid());
  for (int64_t t = 0; t < p.rows; ++t) {
    double *logits = &reference.logits[t * p.vocab], top = -INFINITY, total = 0;
    for (int64_t j = 0; j < p.vocab; ++j) {
      for (int64_t i = 0; i < p.cols; ++i)
        logits[j] += p.x[t * p.cols + i] * p.weight[j * p.cols + i];
      top = std::max(top, logits[j]);
    }
    if (p.targets[t] < 0 || p.targets[t] >= p.vocab)
      continue;
    for (int64_t j = 0; j < p.vocab; ++j)
      total += std::exp(logits[j] - top);
    reference.losses[t] = std::log(total) + top - logits[p.targets[t]];
    reference.sum += reference.losses[t];
    for (int64_t j = 0; j < p.vocab; ++j) {
      double gradient = factor * (std::exp(logits[j] - top) / total - (j == p.targets[t]));
      for (int64_t i = 0; i < p.cols; ++i) {
        reference.d_x[t * p.cols + i] += gradient * p.weight[j * p.cols + i];
        reference.d_weight[j * p.cols + i] += gradient * p.x[t * p.cols + i];
      }
    }
  }
  return reference;
}

Call makeHead(const Problem &p, double scale, int64_t accumulate = 1, const Values &d_weight = {}, const Values &invalid = {NAN}) {
  Call call = MG_CALL(mg_linear_cross_entropy);
  call.poisoned("loss", MG_F32, 1).poisoned("d_x", MG_BF16, p.rows * p.cols).give("invalid", MG_F32, invalid);
  call.give("d_weight", MG_F32, d_weight.empty() ? Values(p.vocab * p.cols, NAN) : d_weight);
  call.give("x", MG_BF16, p.x)
      .give("weight", MG_BF16, p.weight)
      .give("targets", MG_I32, p.asValues())
      .give("valid", MG_F32, {p.countValid()});
  call.set("rows", p.rows).set("cols", p.cols).set("vocab", p.vocab).set("logit_rows", p.logit_rows).set("accumulate", accumulate);
  call.setReal("scale", scale);
  return call;
}

void check(const Problem &problem, double scale = 0.5) {
  SCOPED_TRACE(std::to_string(problem.rows) + " rows, vocabulary " + std::to_string(problem.vocab));
  Call call = makeHead(problem, scale);
  ASSERT_EQ(call.run(), "");
  Reference reference = computeReference(problem, scale);
  EXPECT_LT(relativeError(call.read("loss"), {reference.sum / std::max(1.0, problem.countValid())}), forwardLimit(MG_BF16));
  EXPECT_LT(relativeError(call.read("d_x"), reference.d_x), gradientLimit(MG_BF16));
  EXPECT_LT(relativeError(call.read("d_weight"), reference.d_weight), gradientLimit(MG_BF16));
  EXPECT_EQ(call.read("invalid")[0], 0);
}

Call makeEvaluation(const Problem &p, int64_t batch) {
  Call call = MG_CALL(mg_linear_cross_entropy_evaluate);
  call.poisoned("loss_sum", MG_F32, batch).poisoned("count", MG_F32, batch);
  call.give("x", MG_BF16, p.x).give("weight", MG_BF16, p.weight).give("targets", MG_I32, p.asValues());
  call.set("batch", batch).set("sequence", p.rows / batch).set("cols", p.cols).set("vocab", p.vocab).set("logit_rows", p.logit_rows);
  return call;
}

} // namespace

TEST(LinearCrossEntropyOnDevice, MatchesTheReference) {
  MG_NEEDS_CARD();
  check(makeProblem(9, 5, 11, 9));
  check(makeProblem(1, 64, 1000, 1));  // one token
  check(makeProblem(67, 24, 203, 32)); // chunks, the last of 3 rows
  check(makeProblem(300, 72, 1032, 64));
  check(makeProblem(5, 3, 2, 5));
}

TEST(LinearCrossEntropyOnDevice, KeepsRowsOrReadsThemAgain) {
  MG_NEEDS_CARD();
  for (int64_t vocab : {57344, 57345, 65536, 150001}) // the longest row that is kept whole, and longer ones, which begin anywhere
    check(makeProblem(5, 8, vocab, 4));
}

TEST(LinearCrossEntropyOnDevice, LargeLogitsDoNotOverflow) {
  MG_NEEDS_CARD();
  // A logit is one element of the weight, which bf16 has exactly.
  Problem problem = makeProblem(16, 8, 515, 16);
  for (int64_t i = 0; i < problem.rows * problem.cols; ++i)
    problem.x[i] = i % problem.cols == i / problem.cols % problem.cols;
  for (size_t i = 0; i < problem.weight.size(); ++i)
    problem.weight[i] = double(i * 7919 % 801) * 0.5 - 200 + (i % 5 == 0 ? 10000 : 0);
  for (double &value : problem.weight)
    value = rounded(value, MG_BF16);
  check(problem);
}

TEST(LinearCrossEntropyOnDevice, AllTargetsIgnoredGiveZero) {
  MG_NEEDS_CARD();
  Problem problem = makeProblem(67, 24, 203, 32);
  problem.targets.assign(problem.rows, -1);
  Call call = makeHead(problem, 1.0);
  ASSERT_EQ(call.run(), "");
  EXPECT_EQ(call.read("loss")[0], 0);
  EXPECT_EQ(call.read("d_x"), Values(problem.x.size(), 0.0));
  EXPECT_EQ(call.read("d_weight"), Values(problem.weight.size(), 0.0));
}

TEST(LinearCrossEntropyOnDevice, ATargetOutsideTheVocabularyRaisesAFlagAndIsIgnored) {
  MG_NEEDS_CARD();
  Problem good = makeProblem(67, 24, 203, 32), bad = good;
  bad.targets[40] = 203;
  Reference reference = computeReference(bad, 0.5); // it counts among the valid ones
  Call raised = makeHead(bad, 0.5);
  ASSERT_EQ(raised.run(), "");
  EXPECT_EQ(raised.read("invalid")[0], 1);
  EXPECT_LT(relativeError(raised.read("loss"), {reference.sum / bad.countValid()}), forwardLimit(MG_BF16));
  Values d_x = raised.read("d_x");
  EXPECT_LT(relativeError(d_x, reference.d_x), gradientLimit(MG_BF16));
  for (int64_t i = 0; i < bad.cols; ++i)
    EXPECT_EQ(d_x[40 * bad.cols + i], 0);
  for (auto [micro_batch, before, after] : {std::tuple(1, 1.0, 1.0), std::tuple(1, 0.0, 0.0), std::tuple(0, 1.0, 0.0)}) {
    Call next = makeHead(good, 0.5, 0, {}, {before});
    ASSERT_EQ(next.at(micro_batch).run(), "");
    EXPECT_EQ(next.read("invalid")[0], after) << "micro-batch " << micro_batch << " after " << before;
  }
}

/// Parts of the vocabulary on ranks: losses and d_x add up to those of the whole, d_weight is a part of its.
TEST(LinearCrossEntropyOnDevice, RanksHavePartsOfTheWhole) {
  MG_NEEDS_CARD();
  for (auto [problem, ranks] :
       {std::pair(makeProblem(67, 24, 204, 32), 2), {makeProblem(300, 72, 1032, 64), 4}, {makeProblem(1, 64, 1000, 1), 1}}) {
    Reference reference = computeReference(problem, 0.5);
    const int64_t rows = problem.rows, cols = problem.cols, vocab = problem.vocab / ranks;
    Values statistics, d_x(rows * cols);
    double loss = 0, loss_sum = 0, count = 0;
    auto give = [&, &p = problem](Call &call, int64_t rank) -> Call & {
      call.give("x", MG_BF16, p.x);
      call.give("weight", MG_BF16, Values(p.weight.begin() + rank * vocab * cols, p.weight.begin() + (rank + 1) * vocab * cols));
      return call.set("cols", cols).set("vocab", vocab).set("parts", 1);
    };
    for (int64_t rank = 0; rank < ranks; ++rank) {
      Call call = MG_CALL(mg_head_statistics);
      call.poisoned("statistics", MG_F32, 2 * rows).set("rows", rows).set("logit_rows", problem.logit_rows);
      ASSERT_EQ(give(call, rank).run(), "");
      Values part = call.read("statistics");
      statistics.insert(statistics.end(), part.begin(), part.end());
    }
    for (int64_t rank = 0; rank < ranks; ++rank) {
      Call call = MG_CALL(mg_linear_cross_entropy_parts);
      call.poisoned("loss", MG_F32, 1).poisoned("d_x", MG_BF16, rows * cols).poisoned("d_weight", MG_F32, vocab * cols);
      call.give("invalid", MG_F32, {NAN}).give("targets", MG_I32, problem.asValues()).give("valid", MG_F32, {problem.countValid()});
      call.give("statistics", MG_F32, statistics).set("rows", rows).set("logit_rows", problem.logit_rows).set("accumulate", 0);
      call.set("all_parts", ranks).set("axis", MG_TP).setReal("scale", 0.5).onAxis(MG_TP, rank, ranks);
      ASSERT_EQ(give(call, rank).run(), "");
      loss += call.read("loss")[0];
      EXPECT_EQ(call.read("invalid")[0], 0);
      Values mine = call.read("d_x");
      for (size_t i = 0; i < mine.size(); ++i)
        d_x[i] += mine[i];
      Values part(reference.d_weight.begin() + rank * vocab * cols, reference.d_weight.begin() + (rank + 1) * vocab * cols);
      EXPECT_LT(relativeError(call.read("d_weight"), part), gradientLimit(MG_BF16)) << "rank " << rank << " of " << ranks;
      Call evaluation = MG_CALL(mg_linear_cross_entropy_evaluate_parts);
      evaluation.poisoned("loss_sum", MG_F32, 1).poisoned("count", MG_F32, 1).give("targets", MG_I32, problem.asValues());
      evaluation.give("statistics", MG_F32, statistics).set("batch", 1).set("sequence", rows).set("all_parts", ranks).set("axis", MG_TP);
      ASSERT_EQ(give(evaluation.onAxis(MG_TP, rank, ranks), rank).run(), "");
      loss_sum += evaluation.read("loss_sum")[0], count += evaluation.read("count")[0];
    }
    EXPECT_LT(relativeError({loss}, {reference.sum / std::max(1.0, problem.countValid())}), forwardLimit(MG_BF16)) << ranks << " ranks";
    EXPECT_LT(relativeError({loss_sum}, {reference.sum}), forwardLimit(MG_BF16)) << ranks << " ranks";
    EXPECT_EQ(count, problem.countValid());
    EXPECT_LT(relativeError(d_x, reference.d_x), gradientLimit(MG_BF16)) << ranks << " ranks";
  }
}

TEST(LinearCrossEntropyOnDevice, AddsToItsWeightGradientAsAsked) {
  MG_NEEDS_CARD();
  Problem problem = makeProblem(67, 24, 203, 32);
  Reference reference = computeReference(problem, 0.5);
  Values before = randomValues(problem.weight.size(), 7, 0.01, MG_F32);
  for (auto [accumulate, micro_batch, adds] : {std::tuple(0, 0, false), std::tuple(0, 1, false), std::tuple(1, 0, false),
                                               std::tuple(1, 1, true), std::tuple(2, 0, true), std::tuple(2, 1, true)}) {
    Call call = makeHead(problem, 0.5, accumulate, before);
    ASSERT_EQ(call.at(micro_batch).run(), "");
    Values d_weight = call.read("d_weight");
    if (adds)
      for (size_t i = 0; i < d_weight.size(); ++i)
        d_weight[i] -= before[i];
    EXPECT_LT(relativeError(d_weight, reference.d_weight), gradientLimit(MG_BF16))
        << "accumulate " << accumulate << ", micro-batch " << micro_batch;
  }
}

TEST(LinearCrossEntropyOnDevice, EvaluationSumsAndCountsByRow) {
  MG_NEEDS_CARD();
  for (auto [rows, cols, vocab, logit_rows] : {std::tuple(9, 5, 11, 9), std::tuple(201, 32, 515, 64), std::tuple(6, 8, 150001, 4)}) {
    Problem problem = makeProblem(rows, cols, vocab, logit_rows);
    std::fill(problem.targets.end() - rows / 3, problem.targets.end(), -1); // nothing in the last row
    problem.targets[1] = vocab;                                             // ignored, and not counted
    Reference reference = computeReference(problem, 1);
    Values sums(3), counts(3);
    for (int64_t t = 0; t < rows; ++t) {
      sums[t / (rows / 3)] += reference.losses[t];
      counts[t / (rows / 3)] += problem.targets[t] >= 0 && problem.targets[t] < vocab;
    }
    Call call = makeEvaluation(problem, 3);
    ASSERT_EQ(call.run(), "");
    EXPECT_EQ(call.read("count"), counts);
    EXPECT_LT(relativeError(call.read("loss_sum"), sums), forwardLimit(MG_BF16));
    EXPECT_EQ(call.read("loss_sum")[2], 0);
  }
}

TEST(LinearCrossEntropyOnDevice, LogitsAtAPositionOfEachRow) {
  MG_NEEDS_CARD();
  for (auto [sequence, cols, vocab] : {std::tuple(3, 5, 11), std::tuple(50, 64, 1000)}) {
    Problem problem = makeProblem(4 * sequence, cols, vocab, 4 * sequence);
    Reference reference = computeReference(problem, 1);
    int64_t positions[] = {sequence - 1, 0, 1, sequence - 1};
    Values expected;
    for (int64_t b = 0; b < 4; ++b) {
      auto begin = reference.logits.begin() + (b * sequence + positions[b]) * vocab;
      expected.insert(expected.end(), begin, begin + vocab);
    }
    Call call = MG_CALL(mg_logits_at);
    call.poisoned("logits", MG_F32, 4 * vocab).give("x", MG_BF16, problem.x).give("weight", MG_BF16, problem.weight);
    call.give("positions", MG_I32, {900, -5, 1, double(sequence - 1)}); // clamped into the row
    call.set("batch", 4).set("sequence", sequence).set("cols", cols).set("vocab", vocab);
    ASSERT_EQ(call.run(), "");
    EXPECT_LT(relativeError(call.read("logits"), expected), 1e-5);
  }
}

TEST(LinearCrossEntropyOnDevice, ChunksBeginWhereProductsCan) {
  MG_NEEDS_CARD();
  Call call = makeHead(makeProblem(9, 5, 11, 4), 0.5);
  EXPECT_EQ(call.run(),
            "mg_linear_cross_entropy: logit_rows * cols is 4 * 5; fix: make it a multiple of 32, or logit_rows at least the 9 rows");
}

TEST(LinearCrossEntropyOnDevice, CanBeCaptured) {
  MG_NEEDS_CARD();
  Call call = makeHead(makeProblem(67, 24, 203, 32), 0.5);
  ASSERT_GT(call.giveScratch(), 0);
  cudaStream_t stream;
  cudaGraph_t graph;
  cudaGraphExec_t ready;
  require(cudaStreamCreate(&stream));
  call.onStream(stream);
  ASSERT_EQ(call.launch(), 0) << mg_last_error(); // opens the library
  require(cudaStreamSynchronize(stream));
  require(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal));
  ASSERT_EQ(call.launch(), 0) << mg_last_error();
  ASSERT_EQ(cudaStreamEndCapture(stream, &graph), cudaSuccess);
  require(cudaGraphInstantiate(&ready, graph, 0));
  EXPECT_EQ(cudaGraphLaunch(ready, stream), cudaSuccess);
  EXPECT_EQ(cudaStreamSynchronize(stream), cudaSuccess);
  require(cudaGraphExecDestroy(ready));
  require(cudaGraphDestroy(graph));
  require(cudaStreamDestroy(stream));
}
