#include "runtime/kernels/TestSupport.h"
#include "runtime/kernels/straightness/StraightnessReference.h"

using namespace megacc::test;

namespace {

Ints sizesOf(const StraightnessProblem &p) {
  return {{"batch", p.batch}, {"sequence", p.sequence}, {"cols", p.cols}, {"spans", int64_t(p.spans.size()) / 3}, {"layers", p.layers}};
}

void expectRight(const StraightnessProblem &p, const Values &x) {
  Values count(1, NAN), loss(1, NAN), d_x(x.size(), NAN);
  Operand documents = Operand::documents(p.documents);
  ASSERT_EQ(call("mg_count_spans", {{"count", count}, {"spans", p.spans}, documents},
                 {{"batch", p.batch}, {"sequence", p.documents.empty() ? 0 : p.sequence}, {"spans", int64_t(p.spans.size()) / 3}}),
            0);
  EXPECT_EQ(count[0], p.count());
  Reals reals = {{"weight", p.weight}};
  ASSERT_EQ(call("mg_straightness", {{"loss", loss}, {"x", x}, {"spans", p.spans}, {"count", count}, documents}, sizesOf(p), reals), 0);
  EXPECT_NEAR(loss[0], p.loss(widen(x))[0], 1e-6 * p.weight);
  ASSERT_EQ(call("mg_straightness_grad", {{"d_x", d_x}, {"x", x}, {"spans", p.spans}, {"count", count}, documents}, sizesOf(p), reals), 0);
  Doubles expected = numericGradient([&](const Doubles &v) { return p.loss(v); }, widen(x), Values{1});
  EXPECT_LT(relativeError(d_x, expected), 1e-5);
}

} // namespace

TEST(Straightness, MatchesFiniteDifferences) {
  std::vector<int32_t> spans = {0, 1, 2, 3, 5, 8, 0, 5, 8, 0, 1, 2}; // some tokens in several spans, one span twice
  expectRight({1, 3, 2, 1, 0.5, {0, 1, 2}, {}}, {1, 2, -1, 0.5f, 3, 1});
  expectRight({2, 9, 7, 3, 0.05, spans, {}}, randomValues(2 * 9 * 7, 1));
  expectRight({2, 9, 7, 1, 0.05, spans, {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 1, 1, 1, 1}}, randomValues(2 * 9 * 7, 2));
}

TEST(Straightness, NothingToCountIsZero) {
  StraightnessProblem none = {1, 4, 3, 2, 0.5, {-1, -1, -1, -1, -1, -1}, {}};
  expectRight(none, randomValues(12, 1));
  EXPECT_EQ(none.count(), 0);
  StraightnessProblem cut = {1, 4, 3, 2, 0.5, {0, 1, 2, 1, 2, 3}, {0, 0, 1, 1}}; // every span lies across documents
  expectRight(cut, randomValues(12, 1));
  EXPECT_EQ(cut.count(), 0);
}

TEST(Straightness, EqualStatesHaveNoDirection) {
  StraightnessProblem p = {1, 3, 2, 1, 0.5, {0, 1, 2}, {}};
  Values x = {1, 2, 1, 2, 5, 7}, count = {1}, loss(1, NAN), d_x(6, NAN);
  ASSERT_EQ(call("mg_straightness", {{"loss", loss}, {"x", x}, {"spans", p.spans}, {"count", count}}, sizesOf(p), {{"weight", 0.5}}), 0);
  EXPECT_EQ(loss[0], 0.5f);
  ASSERT_EQ(call("mg_straightness_grad", {{"d_x", d_x}, {"x", x}, {"spans", p.spans}, {"count", count}}, sizesOf(p), {{"weight", 0.5}}), 0);
  EXPECT_EQ(d_x, Values(6, 0));
}
