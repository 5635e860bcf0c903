#include "runtime/kernels/GpuTestSupport.h"

#include <gtest/gtest.h>

using namespace megacc::gpu;

TEST(DytGpu, MatchesTheFormulas) {
  MG_NEEDS_CARD();
  for (MgType type : {MG_BF16, MG_F32})
    for (auto [rows, cols] : {std::pair<int64_t, int64_t>(1, 1), {3, 7}, {600, 64}, {5, 300}}) {
      Values x = randomValues(rows * cols, 1, 1, type), weight = randomValues(cols, 2, 1, type), bias = randomValues(cols, 3, 1, type);
      Values d_y = randomValues(x.size(), 4, 1, type), y(x.size()), d_x(x.size()), d_weight(cols), d_bias(cols), d_alpha(1);
      double alpha = float(0.7);
      for (int64_t i = 0; i < rows * cols; ++i) {
        int64_t j = i % cols;
        double t = std::tanh(alpha * x[i]), s = (1 - t * t) * weight[j] * d_y[i];
        y[i] = weight[j] * t + bias[j];
        d_x[i] = alpha * s;
        d_weight[j] += t * d_y[i], d_bias[j] += d_y[i], d_alpha[0] += x[i] * s;
      }
      Call forward = MG_CALL(mg_dyt);
      forward.give("x", type, x).give("weight", type, weight).give("bias", type, bias).give("alpha", MG_F32, {alpha});
      forward.poisoned("y", type, x.size()).poisoned("nonfinite", MG_F32, 1);
      ASSERT_EQ(forward.set("rows", rows).set("cols", cols).run(), "");
      EXPECT_LT(relativeError(forward.read("y"), y), forwardLimit(type));
      EXPECT_EQ(forward.read("nonfinite")[0], 0);
      Call backward = MG_CALL(mg_dyt_grad);
      backward.give("d_y", type, d_y).give("x", type, x).give("weight", type, weight).give("alpha", MG_F32, {alpha});
      backward.poisoned("d_x", type, x.size()).poisoned("d_weight", MG_F32, cols).poisoned("d_bias", MG_F32, cols);
      ASSERT_EQ(backward.poisoned("d_alpha", MG_F32, 1).set("rows", rows).set("cols", cols).run(), "");
      EXPECT_LT(relativeError(backward.read("d_x"), d_x), gradientLimit(type));
      for (auto [name, expected] : {std::pair("d_weight", &d_weight), {"d_bias", &d_bias}, {"d_alpha", &d_alpha}})
        EXPECT_LT(relativeError(backward.read(name), *expected), 1e-4) << name;
    }
}

TEST(DytGpu, NumbersThatAreNotFiniteRaiseTheFlag) {
  MG_NEEDS_CARD();
  for (double wrong : {double(INFINITY), -double(INFINITY), double(NAN)}) {
    Values x(600 * 9, 1);
    x[5000] = wrong;
    Call forward = MG_CALL(mg_dyt);
    forward.give("x", MG_BF16, x).give("weight", MG_BF16, Values(9, 1)).give("bias", MG_BF16, Values(9, 0)).give("alpha", MG_F32, {0.5});
    forward.poisoned("y", MG_BF16, x.size()).poisoned("nonfinite", MG_F32, 1);
    ASSERT_EQ(forward.set("rows", 600).set("cols", 9).run(), "");
    EXPECT_EQ(forward.read("nonfinite")[0], 1) << wrong;
  }
}
