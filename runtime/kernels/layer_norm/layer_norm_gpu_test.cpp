#include "runtime/kernels/GpuTestSupport.h"

#include <gtest/gtest.h>

using namespace megacc::gpu;

TEST(LayerNormGpu, MatchesTheFormulas) {
  MG_NEEDS_CARD();
  for (MgType type : {MG_BF16, MG_F32})
    for (auto [rows, cols] : {std::pair<int64_t, int64_t>(1, 1), {3, 7}, {600, 64}, {5, 300}}) {
      Values x = randomValues(rows * cols, 1, 1, type), weight = randomValues(cols, 2, 1, type), bias = randomValues(cols, 3, 1, type);
      Values d_y = randomValues(x.size(), 4, 1, type), y(x.size()), d_x(x.size()), d_weight(cols), d_bias(cols);
      for (int64_t t = 0; t < rows; ++t) {
        double mean = 0, variance = 0, sum = 0, product = 0;
        for (int64_t j = 0; j < cols; ++j)
          mean += x[t * cols + j] / double(cols);
        for (int64_t j = 0; j < cols; ++j)
          variance += (x[t * cols + j] - mean) * (x[t * cols + j] - mean) / double(cols);
        double rstd = 1 / std::sqrt(variance + 1e-5);
        for (int64_t j = 0; j < cols; ++j) {
          double z = (x[t * cols + j] - mean) * rstd, g = d_y[t * cols + j];
          y[t * cols + j] = z * weight[j] + bias[j];
          sum += g * weight[j] / double(cols), product += g * weight[j] * z / double(cols);
          d_weight[j] += g * z, d_bias[j] += g;
        }
        for (int64_t j = 0; j < cols; ++j)
          d_x[t * cols + j] = rstd * (d_y[t * cols + j] * weight[j] - sum - (x[t * cols + j] - mean) * rstd * product);
      }
      Call forward = MG_CALL(mg_layer_norm);
      forward.give("x", type, x).give("weight", type, weight).give("bias", type, bias).poisoned("y", type, x.size());
      ASSERT_EQ(forward.set("rows", rows).set("cols", cols).setReal("eps", 1e-5).run(), "");
      EXPECT_LT(relativeError(forward.read("y"), y), forwardLimit(type));
      Call backward = MG_CALL(mg_layer_norm_grad);
      backward.give("d_y", type, d_y).give("x", type, x).give("weight", type, weight).poisoned("d_x", type, x.size());
      backward.poisoned("d_weight", MG_F32, cols).poisoned("d_bias", MG_F32, cols);
      ASSERT_EQ(backward.set("rows", rows).set("cols", cols).setReal("eps", 1e-5).run(), "");
      if (cols > 1) { // one column has no gradient but rounding
        EXPECT_LT(relativeError(backward.read("d_x"), d_x), gradientLimit(type));
        EXPECT_LT(relativeError(backward.read("d_weight"), d_weight), gradientLimit(type));
      }
      EXPECT_LT(relativeError(backward.read("d_bias"), d_bias), gradientLimit(type));
    }
}
