#include "megacc/Random.h"
#include "runtime/core/Bfloat16.h"
#include "runtime/kernels/TestSupport.h"
#include "runtime/kernels/optimizer/MuonReference.h"
#include "runtime/kernels/optimizer/Rounding.h"

#include <bit>

using namespace megacc::test;
using namespace megacc::runtime;
namespace muon = megacc::muon;

namespace {

int32_t update(Values &weight, Operand momentum, const Values &gradient, float norm, const muon::Shape &s, const muon::Rule &rule,
               std::vector<int32_t> step = {}) {
  Values norms = {norm}, scalars = {float(rule.lr), 0.1f, 0.1f};
  std::vector<int64_t> table = {4711, 0};
  return call("mg_muon",
              {{"weight", weight},
               momentum,
               {"gradient", gradient},
               {"norm", norms},
               {"scalars", scalars},
               step.empty() ? Operand("step", nullptr) : Operand("step", step),
               {"table", table}},
              {{"experts", s.experts},
               {"rows", s.rows},
               {"cols", s.cols},
               {"first", s.first},
               {"run", s.run},
               {"stride", s.stride},
               {"piece_rows", s.piece_rows},
               {"pieces", s.pieces},
               {"spacing", s.spacing},
               {"numbers", 2},
               {"iterations", rule.iterations},
               {"nesterov", rule.nesterov}},
              {{"momentum", rule.momentum}, {"rms", rule.rms}, {"decay", rule.decay}, {"clip", rule.clip}});
}

/// Elements that the pieces of a shape leave alone.
std::vector<bool> findOthers(const muon::Shape &s) {
  std::vector<bool> others(s.experts * s.rows * s.cols, true);
  for (int64_t expert = 0; expert < s.experts; ++expert)
    for (int64_t piece = 0; piece < s.pieces; ++piece)
      for (int64_t row = 0; row < s.piece_rows; ++row)
        for (int64_t column = 0; column < s.cols; ++column)
          others[s.at(expert, piece, row, column)] = false;
  return others;
}

} // namespace

TEST(Muon, FollowsTheFormula) {
  for (const muon::Shape &shape : muon::shapes)
    for (const muon::Rule &rule : {muon::Rule{}, muon::Rule{0.01, 0.95, 0.3, 0.0, 0.0, 3, 0}}) {
      size_t count = shape.experts * shape.rows * shape.cols;
      Values weight = randomValues(count, 1), momentum = randomValues(count, 2, 0.1f), gradient = randomValues(count, 3);
      Values weight_before = weight, momentum_before = momentum;
      Doubles expected = widen(weight), expected_momentum = widen(momentum);
      muon::update(expected, expected_momentum, widen(gradient), 3.0f, shape, rule);
      ASSERT_EQ(update(weight, {"m", momentum}, gradient, 3.0f, shape, rule), 0) << mg_last_error();
      EXPECT_LT(relativeError(weight, expected), 2e-6) << shape.rows << " x " << shape.cols;
      EXPECT_LT(relativeError(momentum, expected_momentum), 1e-6);
      std::vector<bool> others = findOthers(shape);
      for (size_t i = 0; i < count; ++i)
        if (others[i]) {
          EXPECT_EQ(weight[i], weight_before[i]);
          EXPECT_EQ(momentum[i], momentum_before[i]);
        }
    }
}

// Without clip, momentum and decay a piece that is zero stays; one that fades stays finite.
TEST(Muon, AZeroPieceGivesNoUpdate) {
  const muon::Shape shape = {2, 4, 6, 0, 4, 4, 4, 1, 0};
  muon::Rule rule;
  rule.decay = 0;
  Values weight = randomValues(48, 1), momentum(48), gradient(48), before = weight;
  std::fill(gradient.begin() + 24, gradient.end(), 1e-30f); // the second expert
  ASSERT_EQ(update(weight, {"m", momentum}, gradient, 0.5f, shape, rule), 0);
  EXPECT_TRUE(std::equal(weight.begin(), weight.begin() + 24, before.begin()));
  for (float value : weight)
    EXPECT_TRUE(std::isfinite(value));
}

TEST(Muon, WritesNothingWhenTheNormIsNotFinite) {
  const muon::Shape shape = {1, 4, 6, 0, 4, 4, 4, 1, 0};
  Values weight = randomValues(24, 1), momentum = randomValues(24, 2), gradient = randomValues(24, 3), w = weight, m = momentum;
  ASSERT_EQ(update(weight, {"m", momentum}, gradient, NAN, shape, muon::Rule{}), 0);
  EXPECT_EQ(weight, w);
  EXPECT_EQ(momentum, m);
}

TEST(Muon, RoundsItsMomentum) {
  const muon::Shape shape = {1, 10, 12, 2, 3, 3, 3, 2, 4};
  Values weight = randomValues(120, 1), momentum = randomValues(120, 2), gradient = randomValues(120, 3);
  std::vector<uint16_t> halves;
  for (float &value : momentum)
    halves.push_back(toBfloat16(value)), value = fromBfloat16(halves.back());
  const std::vector<uint16_t> before = halves;
  Values plain = weight, plain_momentum = momentum;
  ASSERT_EQ(update(plain, {"m", plain_momentum}, gradient, 0.5f, shape, muon::Rule{}), 0);
  Operand operand("m", nullptr);
  operand.data = halves.data(), operand.bytes = 240, operand.type = MG_BF16;
  ASSERT_EQ(update(weight, operand, gradient, 0.5f, shape, muon::Rule{}, {3}), 0);
  EXPECT_EQ(weight, plain); // of the momentum before it is rounded
  std::vector<bool> others = findOthers(shape);
  for (size_t i = 0; i < halves.size(); ++i) {
    uint64_t random = megacc::draw(megacc::draw(4711, 3), i);
    EXPECT_EQ(halves[i], others[i] ? before[i] : roundBits(std::bit_cast<uint32_t>(plain_momentum[i]), uint32_t(random)));
  }
}

TEST(Muon, IsTheSameOnAnyNumberOfThreads) {
  const muon::Shape shape = {1, 300, 200, 0, 300, 300, 300, 1, 0};
  Values weight = randomValues(60000, 1), momentum = randomValues(60000, 2), gradient = randomValues(60000, 3);
  Values other = weight, other_momentum = momentum;
  mg_cpu_set_threads(1);
  ASSERT_EQ(update(weight, {"m", momentum}, gradient, 0.5f, shape, muon::Rule{}), 0);
  mg_cpu_set_threads(3);
  ASSERT_EQ(update(other, {"m", other_momentum}, gradient, 0.5f, shape, muon::Rule{}), 0);
  mg_cpu_set_threads(2);
  EXPECT_EQ(weight, other);
}
