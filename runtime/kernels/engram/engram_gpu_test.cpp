#include "runtime/kernels/GpuTestSupport.h"
#include "runtime/kernels/NumericGradient.h"
#include "runtime/kernels/engram/EngramReference.h"

#include <gtest/gtest.h>

using namespace megacc::gpu;

TEST(EngramGpu, WindowSums) {
  MG_NEEDS_CARD();
  for (MgType type : {MG_BF16, MG_F32})
    for (bool packed : {false, true})
      for (int64_t window : {1, 3, 40})
        for (int64_t cols : {1, 45, 300})
          for (int64_t ahead : {0, 1}) {
            int64_t batch = 2, sequence = 23, rows = batch * sequence;
            std::vector<int32_t> ids;
            for (int64_t row = 0; packed && row < rows; ++row)
              ids.push_back(int32_t(row / 4 % 3));
            Values x = randomValues(rows * cols, 1, 1, type);
            Call call = MG_CALL(mg_window_sum);
            call.give("x", type, x).poisoned("y", type, x.size()).set("batch", batch).set("sequence", sequence).set("cols", cols);
            call.set("window", window).set("ahead", ahead).setReal("scale", 0.25);
            if (packed)
              call.give("documents", MG_I32, Values(ids.begin(), ids.end()));
            ASSERT_EQ(call.run(), "");
            Values expected = megacc::test::windowSum(x, ids, sequence, cols, window, ahead, 0.25);
            EXPECT_LT(relativeError(call.read("y"), expected), forwardLimit(type)) << window << " " << cols;
          }
}

TEST(EngramGpu, UnitNorm) {
  MG_NEEDS_CARD();
  for (MgType type : {MG_BF16, MG_F32})
    for (auto [rows, cols] : {std::pair<int64_t, int64_t>{1, 1}, {3, 13}, {5, 200}}) {
      Values x = randomValues(rows * cols, 1, 0.01, type), d_y = randomValues(x.size(), 2, 1, type);
      auto f = [c = cols](const Values &v) { return megacc::test::unitNorm(v, c, 1e-5); };
      Call forward = MG_CALL(mg_unit_norm), backward = MG_CALL(mg_unit_norm_grad);
      forward.give("x", type, x).poisoned("y", type, x.size()).set("rows", rows).set("cols", cols).setReal("eps", 1e-5);
      ASSERT_EQ(forward.run(), "");
      EXPECT_LT(relativeError(forward.read("y"), f(x)), forwardLimit(type));
      backward.give("x", type, x).give("d_y", type, d_y).poisoned("d_x", type, x.size());
      backward.set("rows", rows).set("cols", cols).setReal("eps", 1e-5);
      ASSERT_EQ(backward.run(), "");
      EXPECT_LT(relativeError(backward.read("d_x"), megacc::test::numericGradient(f, x, d_y)), gradientLimit(type));
    }
}

TEST(EngramGpu, Alignment) {
  MG_NEEDS_CARD();
  for (MgType type : {MG_BF16, MG_F32})
    for (bool root : {false, true})
      for (auto [rows, cols] : {std::pair<int64_t, int64_t>{1, 2}, {3, 13}, {5, 200}}) {
        size_t count = size_t(rows * cols);
        Values packed = randomValues(2 * count, 1, 1, type), d_gate = randomValues(rows, 2, 1, type);
        Values a(packed.begin(), packed.begin() + count), b(packed.begin() + count, packed.end());
        auto f = [c = cols, root](const Values &v) { return megacc::test::alignment(v, c, 1e-5, root); };
        Call forward = MG_CALL(mg_alignment), backward = MG_CALL(mg_alignment_grad);
        forward.give("a", type, a).give("b", type, b).poisoned("gate", type, rows);
        forward.set("rows", rows).set("cols", cols).set("root", root).setReal("eps", 1e-5);
        ASSERT_EQ(forward.run(), "");
        EXPECT_LT(relativeError(forward.read("gate"), f(packed)), forwardLimit(type));
        backward.give("a", type, a)
            .give("b", type, b)
            .give("d_gate", type, d_gate)
            .poisoned("d_a", type, count)
            .poisoned("d_b", type, count);
        backward.set("rows", rows).set("cols", cols).set("root", root).setReal("eps", 1e-5);
        ASSERT_EQ(backward.run(), "");
        Values gradient = backward.read("d_a"), d_b = backward.read("d_b");
        gradient.insert(gradient.end(), d_b.begin(), d_b.end());
        EXPECT_LT(relativeError(gradient, megacc::test::numericGradient(f, packed, d_gate)), gradientLimit(type)) << rows << " " << root;
      }
}
