#include "runtime/kernels/GpuTestSupport.h"

#include <gtest/gtest.h>

using namespace megacc::gpu;

TEST(SkipGateGpu, Sizes) {
  MG_NEEDS_CARD();
  for (MgType type : {MG_BF16, MG_F32})
    for (auto [rows, cols] : {std::pair<int64_t, int64_t>(1, 1), {37, 45}, {300, 64}, {5000, 704}}) {
      SCOPED_TRACE(testing::Message() << rows << " x " << cols);
      Values x = randomValues(rows * cols, 1, 1, type), v = randomValues(rows * cols, 2, 1, type),
             gate = randomValues(rows * cols, 3, 1, type);
      Values skip = randomValues(cols, 4, 1, type), d_y = randomValues(rows * cols, 5, 1, type);
      Values y(x.size()), d_x(x.size()), d_v(x.size()), d_gate(x.size()), d_skip(cols);
      for (int64_t at = 0; at < rows * cols; ++at) {
        double s = sigmoid(gate[at]), inner = x[at] + skip[at % cols] * v[at], d = d_y[at] * gate[at] * s;
        y[at] = inner * gate[at] * s;
        d_x[at] = d, d_v[at] = d * skip[at % cols], d_skip[at % cols] += d * v[at];
        d_gate[at] = d_y[at] * inner * (s + gate[at] * s * (1 - s));
      }
      auto setup = [&](Call &call) {
        call.give("x", type, x).give("v", type, v).give("gate", type, gate).give("skip", type, skip).set("rows", rows).set("cols", cols);
      };
      Call forward = MG_CALL(mg_skip_gate);
      setup(forward);
      forward.poisoned("y", type, y.size());
      ASSERT_EQ(forward.run(), "");
      EXPECT_LT(relativeError(forward.read("y"), y), forwardLimit(type));
      Call backward = MG_CALL(mg_skip_gate_grad);
      setup(backward);
      backward.give("d_y", type, d_y).poisoned("d_x", type, x.size()).poisoned("d_v", type, x.size()).poisoned("d_gate", type, x.size());
      backward.poisoned("d_skip", MG_F32, cols).set("accumulate", 1);
      ASSERT_EQ(backward.run(), "");
      EXPECT_LT(relativeError(backward.read("d_x"), d_x), gradientLimit(type));
      EXPECT_LT(relativeError(backward.read("d_v"), d_v), gradientLimit(type));
      EXPECT_LT(relativeError(backward.read("d_gate"), d_gate), gradientLimit(type));
      EXPECT_LT(relativeError(backward.read("d_skip"), d_skip), gradientLimit(type));
    }
}
