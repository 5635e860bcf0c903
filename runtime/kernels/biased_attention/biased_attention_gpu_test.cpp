#include "runtime/kernels/GpuTestSupport.h"
#include "runtime/kernels/biased_attention/BiasedReference.h"

#include <gtest/gtest.h>

using namespace megacc::gpu;
using megacc::test::BiasedCase;
using megacc::test::BiasedResults;
using megacc::test::computeBiased;

TEST(BiasedAttentionGpu, MatchesTheReference) {
  MG_NEEDS_CARD();
  for (MgType type : {MG_BF16, MG_F32})
    for (const BiasedCase &c : {BiasedCase{1, 1, 1, 1, 4, 3, 1, 1, false}, BiasedCase{2, 13, 4, 2, 6, 5, 9, 5, true},
                                BiasedCase{1, 70, 2, 1, 16, 8, 31, 3, false}, BiasedCase{2, 300, 2, 2, 192, 128, 9, 64, true},
                                BiasedCase{1, 150, 4, 1, 256, 256, 4, 200, false}})
      for (bool cached : {true, false}) {
        SCOPED_TRACE(testing::Message() << "sequence " << c.sequence << " type " << int(type) << " cached " << cached);
        const double scale = 1 / std::sqrt(double(c.qk_dim));
        Values q = randomValues(c.tokens() * c.heads * c.qk_dim, 1, 1, type),
               k = randomValues(c.tokens() * c.kv_heads * c.qk_dim, 2, 1, type);
        Values v = randomValues(c.tokens() * c.kv_heads * c.v_dim, 3, 1, type), weight = randomValues(c.heads * c.relations, 4, 1, type);
        Values d_y = randomValues(c.tokens() * c.heads * c.v_dim, 5, 1, type);
        BiasedResults e = computeBiased(c, scale, q, k, v, weight, d_y);
        auto give = [&](Call &call) {
          call.give("q", type, q).give("k", type, k).give("v", type, v).give("weight", MG_F32, weight);
          call.give("chunk", MG_I32, c.chunk()).give("bits", MG_I32, c.bits());
          if (c.packed)
            call.give("documents", MG_I32, c.documents());
          call.set("batch", c.batch).set("sequence", c.sequence).set("heads", c.heads).set("kv_heads", c.kv_heads);
          call.set("qk_dim", c.qk_dim).set("v_dim", c.v_dim).set("relations", c.relations).set("chunks", c.chunks).setReal("scale", scale);
        };
        Call forward = MG_CALL(mg_biased_attention), backward = MG_CALL(mg_biased_attention_grad);
        give(forward), give(backward);
        forward.poisoned("y", type, e.y.size()).poisoned("lse", MG_F32, e.lse.size());
        ASSERT_EQ(forward.run(), "");
        EXPECT_LT(relativeError(forward.read("y"), e.y), type == MG_BF16 ? 1e-2 : 1e-5);
        EXPECT_LT(relativeError(forward.read("lse"), e.lse), 1e-4);
        backward.give("d_y", type, d_y).give("y", type, forward.read("y"));
        if (cached)
          backward.give("lse", MG_F32, forward.read("lse"));
        backward.poisoned("d_q", type, q.size()).poisoned("d_k", type, k.size()).poisoned("d_v", type, v.size());
        backward.poisoned("d_weight", MG_F32, weight.size());
        ASSERT_EQ(backward.run(), "");
        double limit = type == MG_BF16 ? 2e-2 : 1e-4;
        EXPECT_LT(relativeError(backward.read("d_v"), e.d_v), limit);
        if (c.sequence == 1) // gradients of scores vanish
          continue;
        EXPECT_LT(relativeError(backward.read("d_q"), e.d_q), limit);
        EXPECT_LT(relativeError(backward.read("d_k"), e.d_k), limit);
        EXPECT_LT(relativeError(backward.read("d_weight"), e.d_weight), limit);
      }
}
