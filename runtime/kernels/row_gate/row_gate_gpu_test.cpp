#include "runtime/kernels/GpuTestSupport.h"

#include <gtest/gtest.h>

using namespace megacc::gpu;

TEST(RowGateGpu, Sizes) {
  MG_NEEDS_CARD();
  for (MgType type : {MG_BF16, MG_F32})
    for (auto [rows, cols] : {std::pair<int64_t, int64_t>(1, 1), {1000, 1}, {37, 45}, {301, 128}, {5, 257}, {9, 3584}}) {
      Values x = randomValues(rows * cols, 1, 1, type), gate = randomValues(rows, 2, 1, type), d_y = randomValues(rows * cols, 3, 1, type);
      Values y(x.size()), d_x(x.size()), d_gate(rows);
      for (int64_t t = 0; t < rows; ++t)
        for (int64_t j = 0; j < cols; ++j) {
          double s = sigmoid(gate[t]);
          y[t * cols + j] = x[t * cols + j] * s, d_x[t * cols + j] = d_y[t * cols + j] * s;
          d_gate[t] += d_y[t * cols + j] * x[t * cols + j] * s * (1 - s);
        }
      Call forward = MG_CALL(mg_row_gate);
      forward.give("x", type, x).give("gate", type, gate).poisoned("y", type, x.size()).set("rows", rows).set("cols", cols);
      ASSERT_EQ(forward.run(), "");
      EXPECT_LT(relativeError(forward.read("y"), y), forwardLimit(type));
      Call backward = MG_CALL(mg_row_gate_grad);
      backward.give("x", type, x)
          .give("gate", type, gate)
          .give("d_y", type, d_y)
          .poisoned("d_x", type, x.size())
          .poisoned("d_gate", type, rows);
      backward.set("rows", rows).set("cols", cols);
      ASSERT_EQ(backward.run(), "");
      EXPECT_LT(relativeError(backward.read("d_x"), d_x), gradientLimit(type));
      EXPECT_LT(relativeError(backward.read("d_gate"), d_gate), gradientLimit(type));
    }
}

TEST(RowScaleGpu, Sizes) {
  MG_NEEDS_CARD();
  for (MgType type : {MG_BF16, MG_F32})
    for (auto [rows, cols] : {std::pair<int64_t, int64_t>(1, 1), {37, 45}, {9, 3584}}) {
      Values x = randomValues(rows * cols, 1, 1, type), scale = randomValues(rows, 2, 1, MG_F32);
      Values d_y = randomValues(rows * cols, 3, 1, type), y(x.size()), d_x(x.size()), d_scale(rows);
      for (int64_t t = 0; t < rows; ++t)
        for (int64_t i = t * cols; i < (t + 1) * cols; ++i)
          y[i] = x[i] * scale[t], d_x[i] = d_y[i] * scale[t], d_scale[t] += d_y[i] * x[i];
      Call forward = MG_CALL(mg_row_scale);
      forward.give("x", type, x).give("scale", MG_F32, scale).poisoned("y", type, x.size()).set("rows", rows).set("cols", cols);
      ASSERT_EQ(forward.run(), "");
      EXPECT_LT(relativeError(forward.read("y"), y), forwardLimit(type));
      Call backward = MG_CALL(mg_row_scale_grad);
      backward.give("x", type, x).give("scale", MG_F32, scale).give("d_y", type, d_y);
      backward.poisoned("d_x", type, x.size()).poisoned("d_scale", MG_F32, rows).set("rows", rows).set("cols", cols);
      ASSERT_EQ(backward.run(), "");
      EXPECT_LT(relativeError(backward.read("d_x"), d_x), gradientLimit(type));
      EXPECT_LT(relativeError(backward.read("d_scale"), d_scale), 1e-5);
    }
}
