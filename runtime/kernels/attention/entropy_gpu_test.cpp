#include "runtime/kernels/GpuTestSupport.h"
#include "runtime/kernels/attention/EntropyReference.h"

#include <gtest/gtest.h>

using namespace megacc::gpu;
using megacc::test::EntropyProblem;

TEST(AttentionEntropyGpu, MatchesTheFormula) {
  MG_NEEDS_CARD();
  for (MgType type : {MG_BF16, MG_F32})
    for (const EntropyProblem &p : megacc::test::entropyProblems()) {
      Values q = randomValues(size_t(p.batch * p.sequence * p.heads * p.dim), 1, 2, type);
      Values k = randomValues(size_t(p.batch * p.sequence * p.kv_heads * p.dim), 2, 2, type);
      Call measure = MG_CALL(mg_attention_entropy);
      measure.give("q", type, q).give("k", type, k).poisoned("entropy", MG_F32, 1);
      if (!p.documents.empty())
        measure.give("documents", MG_I32, Values(p.documents.begin(), p.documents.end()));
      if (p.kept)
        measure.give("support", MG_I32, Values(p.support.begin(), p.support.end()));
      measure.set("batch", p.batch).set("sequence", p.sequence).set("heads", p.heads).set("kv_heads", p.kv_heads).set("qk_dim", p.dim);
      ASSERT_EQ(measure.set("kept", p.kept).setReal("scale", p.scale).setReal("share", p.share()).run(), "");
      EXPECT_NEAR(measure.read("entropy")[0], p.entropy(q, k), 1e-5 * std::log(double(p.sequence) + 1)) << p.sequence;
    }
}
