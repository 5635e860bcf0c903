#include "runtime/kernels/GpuTestSupport.h"

#include <array>
#include <gtest/gtest.h>

using namespace megacc::gpu;

TEST(ComponentsGpu, IdsAreClampedToTheirTables) {
  MG_NEEDS_CARD();
  Call call = MG_CALL(mg_component_rows);
  call.poisoned("ids", MG_I32, 8)
      .give("table", MG_I64, {3, 5})
      .give("component", MG_I32, {-5, 0, 2, 3})
      .give("component", MG_I32, {1, 7, 4, 5});
  call.set("rows", 4).set("parts", 2);
  ASSERT_EQ(call.run(), "");
  EXPECT_EQ(call.read("ids"), (Values{0, 4, 0, 7, 2, 7, 2, 7}));
}

TEST(ComponentsGpu, WeightedParts) {
  MG_NEEDS_CARD();
  for (MgType type : {MG_BF16, MG_F32})
    for (auto [rows, parts, cols] : {std::array<int64_t, 3>{1, 1, 1}, {130, 5, 13}, {67, 2, 200}}) {
      int64_t count = rows * parts * cols;
      Values x = randomValues(count, 1, 1, type), weight = randomValues(parts, 2, 1, type), d_y = randomValues(rows * cols, 3, 1, type);
      Values y(rows * cols), d_x(count), d_weight(parts);
      for (int64_t i = 0; i < count; ++i) {
        int64_t part = i / cols % parts, to = i / (parts * cols) * cols + i % cols;
        y[to] += weight[part] * x[i], d_x[i] = weight[part] * d_y[to], d_weight[part] += d_y[to] * x[i];
      }
      Call forward = MG_CALL(mg_weighted_parts), backward = MG_CALL(mg_weighted_parts_grad);
      forward.give("x", type, x).give("weight", type, weight).poisoned("y", type, y.size());
      forward.set("rows", rows).set("parts", parts).set("cols", cols);
      ASSERT_EQ(forward.run(), "");
      EXPECT_LT(relativeError(forward.read("y"), y), forwardLimit(type));
      backward.give("x", type, x).give("weight", type, weight).give("d_y", type, d_y).poisoned("d_x", type, count);
      backward.poisoned("d_weight", MG_F32, parts).set("rows", rows).set("parts", parts).set("cols", cols).set("accumulate", 0);
      ASSERT_EQ(backward.run(), "");
      EXPECT_LT(relativeError(backward.read("d_x"), d_x), gradientLimit(type));
      EXPECT_LT(relativeError(backward.read("d_weight"), d_weight), gradientLimit(type));
    }
}
