#include "runtime/kernels/GpuTestSupport.h"

#include <gtest/gtest.h>

using namespace megacc::gpu;

TEST(ScaleGpu, MatchesTheFormulas) {
  MG_NEEDS_CARD();
  for (auto [type, own] : {std::pair(MG_BF16, MG_BF16), {MG_BF16, MG_F32}, {MG_F32, MG_F32}})
    for (auto [rows, cols, scales] : {std::tuple<int64_t, int64_t, int64_t>(1, 1, 1), {3, 7, 7}, {3, 7, 1}, {600, 64, 64}, {600, 300, 1}}) {
      Values x = randomValues(rows * cols, 1, 1, type), scale = randomValues(scales, 2, 1, own), d_y = randomValues(x.size(), 3, 1, type);
      Values y(x.size()), d_x(x.size()), d_scale(scales);
      for (int64_t i = 0; i < rows * cols; ++i) {
        int64_t j = scales == cols ? i % cols : 0;
        y[i] = x[i] * scale[j], d_x[i] = d_y[i] * scale[j], d_scale[j] += d_y[i] * x[i];
      }
      Call forward = MG_CALL(mg_scale), backward = MG_CALL(mg_scale_grad);
      for (Call *call : {&forward, &backward})
        call->give("x", type, x).give("scale", own, scale).set("rows", rows).set("cols", cols).set("scales", scales);
      ASSERT_EQ(forward.poisoned("y", type, x.size()).run(), "");
      EXPECT_LT(relativeError(forward.read("y"), y), forwardLimit(type));
      backward.give("d_y", type, d_y).poisoned("d_x", type, x.size()).poisoned("d_scale", MG_F32, scales);
      ASSERT_EQ(backward.run(), "");
      EXPECT_LT(relativeError(backward.read("d_x"), d_x), gradientLimit(type));
      EXPECT_LT(relativeError(backward.read("d_scale"), d_scale), 1e-4);
    }
}
