#include "runtime/kernels/GpuTestSupport.h"
#include "runtime/kernels/NumericGradient.h"
#include "runtime/kernels/straightness/StraightnessReference.h"

#include <gtest/gtest.h>

using namespace megacc::gpu;
using megacc::test::StraightnessProblem;

TEST(StraightnessGpu, LossAndGradient) {
  MG_NEEDS_CARD();
  std::vector<int32_t> spans = {0, 1, 2, 3, 5, 8, 0, 5, 8, 0, 1, 2, -1, -1, -1}; // some tokens in several spans, one span twice, one absent
  std::vector<int32_t> documents = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 1, 1, 1, 1};
  for (MgType type : {MG_BF16, MG_F32})
    for (const StraightnessProblem &p :
         {StraightnessProblem{2, 9, 7, 3, 0.5, spans, {}}, StraightnessProblem{2, 9, 300, 1, 0.5, spans, documents},
          StraightnessProblem{1, 4, 3, 2, 0.5, {-1, -1, -1}, {}}}) {
      size_t count = size_t(p.batch * p.sequence * p.cols);
      Values x = randomValues(count, 1, 1, type);
      Call counted = MG_CALL(mg_count_spans), forward = MG_CALL(mg_straightness), backward = MG_CALL(mg_straightness_grad);
      for (Call *call : {&counted, &forward, &backward}) {
        call->give("spans", MG_I32, Values(p.spans.begin(), p.spans.end()));
        if (!p.documents.empty())
          call->give("documents", MG_I32, Values(p.documents.begin(), p.documents.end()));
        call->set("batch", p.batch).set("sequence", p.sequence).set("cols", p.cols).set("spans", int64_t(p.spans.size()) / 3);
        call->set("layers", p.layers).setReal("weight", p.weight);
      }
      counted.poisoned("count", MG_F32, 1);
      ASSERT_EQ(counted.run(), "");
      EXPECT_EQ(counted.read("count")[0], p.count());
      forward.give("x", type, x).give("count", MG_F32, {p.count()}).poisoned("loss", MG_F32, 1);
      ASSERT_EQ(forward.run(), "");
      EXPECT_NEAR(forward.read("loss")[0], p.loss(x)[0], 1e-5);
      backward.give("x", type, x).give("count", MG_F32, {p.count()}).poisoned("d_x", type, count);
      ASSERT_EQ(backward.run(), "");
      Values expected = megacc::test::numericGradient([&](const Values &v) { return p.loss(v); }, x, Values{1});
      EXPECT_LT(relativeError(backward.read("d_x"), expected), gradientLimit(type));
    }
}
