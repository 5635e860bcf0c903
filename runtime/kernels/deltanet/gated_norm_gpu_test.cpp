#include "runtime/kernels/GpuTestSupport.h"

#include <gtest/gtest.h>

using namespace megacc::gpu;

TEST(GatedNormGpu, Sizes) {
  MG_NEEDS_CARD();
  for (MgType type : {MG_BF16, MG_F32})
    for (auto [rows, cols] : {std::pair<int64_t, int64_t>(1, 1), {37, 45}, {300, 64}, {9, 1024}, {70000, 8}}) {
      SCOPED_TRACE(testing::Message() << rows << " x " << cols);
      Values x = randomValues(rows * cols, 1, 1, type), gate = randomValues(rows * cols, 2, 1, type),
             weight = randomValues(cols, 3, 1, type);
      Values d_y = randomValues(rows * cols, 4, 1, type), y(x.size()), d_x(x.size()), d_gate(x.size()), d_weight(cols);
      for (int64_t row = 0; row < rows; ++row) {
        double square = 0, along = 0;
        for (int64_t at = row * cols; at < (row + 1) * cols; ++at)
          square += x[at] * x[at];
        double rstd = 1 / std::sqrt(square / double(cols) + 1e-5);
        for (int64_t at = row * cols; at < (row + 1) * cols; ++at) {
          double s = sigmoid(gate[at]), n = x[at] * rstd, e = d_y[at] * gate[at] * s, w = weight[at % cols];
          y[at] = n * w * gate[at] * s;
          d_gate[at] = d_y[at] * n * w * (s + gate[at] * s * (1 - s));
          d_weight[at % cols] += e * n;
          along += e * w * n / double(cols);
        }
        for (int64_t at = row * cols; at < (row + 1) * cols; ++at)
          d_x[at] = rstd * (d_y[at] * gate[at] * sigmoid(gate[at]) * weight[at % cols] - x[at] * rstd * along);
      }
      auto setup = [&](Call &call) {
        call.give("x", type, x).give("gate", type, gate).give("weight", type, weight).set("rows", rows).set("cols", cols);
        call.setReal("eps", 1e-5);
      };
      Call forward = MG_CALL(mg_gated_norm);
      setup(forward);
      forward.poisoned("y", type, y.size());
      ASSERT_EQ(forward.run(), "");
      EXPECT_LT(relativeError(forward.read("y"), y), forwardLimit(type));
      Call backward = MG_CALL(mg_gated_norm_grad);
      setup(backward);
      backward.give("d_y", type, d_y).poisoned("d_x", type, x.size()).poisoned("d_gate", type, x.size());
      backward.give("d_weight", MG_F32, Values(cols, 0.5)).set("accumulate", 2);
      ASSERT_EQ(backward.run(), "");
      for (double &sum : d_weight)
        sum += 0.5;
      if (cols > 1) // of one number the norm is its sign, which d_x does not change
        EXPECT_LT(relativeError(backward.read("d_x"), d_x), gradientLimit(type));
      EXPECT_LT(relativeError(backward.read("d_gate"), d_gate), gradientLimit(type));
      EXPECT_LT(relativeError(backward.read("d_weight"), d_weight), gradientLimit(type));
    }
}
