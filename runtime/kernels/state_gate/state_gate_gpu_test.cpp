#include "runtime/kernels/GpuTestSupport.h"

#include <gtest/gtest.h>

using namespace megacc::gpu;

TEST(StateGateGpu, Sizes) {
  MG_NEEDS_CARD();
  for (MgType type : {MG_BF16, MG_F32})
    for (auto [rows, heads] : {std::pair<int64_t, int64_t>(1, 1), {37, 45}, {700, 112}}) {
      Values logits = randomValues(rows * heads, 1, 1, type), bias = randomValues(heads, 2), d_cut = randomValues(rows * heads, 3);
      Values cut(logits.size()), d_logits(logits.size()), d_bias(heads);
      for (int64_t i = 0; i < rows * heads; ++i) {
        double x = logits[i] + double(bias[i % heads]);
        cut[i] = std::log1p(std::exp(-x)), d_logits[i] = -d_cut[i] * sigmoid(-x);
        d_bias[i % heads] += d_logits[i];
      }
      Call forward = MG_CALL(mg_state_gate);
      forward.give("logits", type, logits).give("bias", MG_F32, bias).poisoned("cut", MG_F32, cut.size());
      forward.set("rows", rows).set("heads", heads);
      ASSERT_EQ(forward.run(), "");
      EXPECT_LT(relativeError(forward.read("cut"), cut), forwardLimit(MG_F32));
      Call backward = MG_CALL(mg_state_gate_grad);
      backward.give("logits", type, logits).give("bias", MG_F32, bias).give("d_cut", MG_F32, d_cut);
      backward.poisoned("d_logits", type, logits.size()).poisoned("d_bias", MG_F32, heads).set("rows", rows).set("heads", heads);
      ASSERT_EQ(backward.run(), "");
      EXPECT_LT(relativeError(backward.read("d_logits"), d_logits), gradientLimit(type));
      EXPECT_LT(relativeError(backward.read("d_bias"), d_bias), gradientLimit(MG_F32));
    }
}
