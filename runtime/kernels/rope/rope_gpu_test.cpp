#include "runtime/kernels/GpuTestSupport.h"

#include <gtest/gtest.h>

using namespace megacc::gpu;

TEST(RopeGpu, TurnsPairs) {
  MG_NEEDS_CARD();
  struct Shape {
    int64_t batch, sequence, heads, head_dim, offset, width;
  };
  for (MgType type : {MG_BF16, MG_F32})
    for (auto [batch, sequence, heads, head_dim, offset, width] :
         {Shape{2, 33, 4, 128, 64, 64}, {1, 1, 1, 2, 0, 2}, {2, 9, 3, 14, 3, 6}, {1, 50, 1, 64, 0, 64}, {1, 4096, 2, 32, 0, 16}})
      for (int64_t inverse : {0, 1}) {
        SCOPED_TRACE(testing::Message() << "head_dim " << head_dim << " inverse " << inverse);
        int64_t rows = batch * sequence, half = width / 2;
        Values x = randomValues(rows * heads * head_dim, 1, 1, type), y = x;
        for (int64_t row = 0; row < rows; ++row)
          for (int64_t h = 0; h < heads; ++h)
            for (int64_t j = 0; j < half; ++j) {
              double angle = double(row % sequence) * std::pow(10000.0, -double(j) / double(half)), c = std::cos(angle),
                     s = std::sin(angle);
              int64_t at = (row * heads + h) * head_dim + offset + j;
              if (inverse)
                s = -s;
              y[at] = x[at] * c - x[at + half] * s, y[at + half] = x[at] * s + x[at + half] * c;
            }
        Call call = MG_CALL(mg_rope);
        call.give("x", type, x).poisoned("y", type, x.size()).set("rows", rows).set("sequence", sequence).set("heads", heads);
        call.set("head_dim", head_dim).set("offset", offset).set("width", width).set("inverse", inverse).setReal("theta", 10000);
        ASSERT_EQ(call.run(), "");
        EXPECT_LT(relativeError(call.read("y"), y), type == MG_BF16 ? 5e-3 : 1e-6);
      }
}

TEST(RopeGpu, TurnsTheFirstPairsAlone) {
  MG_NEEDS_CARD();
  const int64_t rows = 66, sequence = 33, heads = 3, head_dim = 40, offset = 8, width = 32;
  for (MgType type : {MG_BF16, MG_F32})
    for (int64_t pairs : {1, 7, 8}) {
      Values x = randomValues(rows * heads * head_dim, 1, 1, type);
      auto give = [&](Call &call) {
        call.give("x", type, x).poisoned("y", type, x.size()).set("rows", rows).set("sequence", sequence).set("heads", heads);
        call.set("head_dim", head_dim).set("offset", offset).set("width", width).set("inverse", 0).setReal("theta", 10000);
      };
      Call all = MG_CALL(mg_rope), some = MG_CALL(mg_partial_rope);
      give(all), give(some);
      some.set("pairs", pairs);
      ASSERT_EQ(all.run(), "");
      ASSERT_EQ(some.run(), "");
      Values whole = all.read("y"), y = some.read("y");
      for (size_t i = 0; i < x.size(); ++i) {
        int64_t channel = int64_t(i) % head_dim - offset;
        ASSERT_EQ(y[i], channel >= 0 && channel < width && channel % (width / 2) < pairs ? whole[i] : x[i]) << i;
      }
    }
}
