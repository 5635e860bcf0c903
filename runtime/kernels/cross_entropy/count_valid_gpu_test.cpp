#include "runtime/kernels/GpuTestSupport.h"

#include <gtest/gtest.h>

using namespace megacc::gpu;

TEST(CountValidGpu, CountsTargetsThatAreNotNegative) {
  MG_NEEDS_CARD();
  for (int64_t rows : {1, 1000, 70001}) {
    Values targets;
    double valid = 0;
    for (int64_t t = 0; t < rows; ++t) {
      targets.push_back(double(t * 7919 % 11 - 3));
      valid += targets.back() >= 0;
    }
    Call call = MG_CALL(mg_count_valid);
    call.give("targets", MG_I32, targets).poisoned("valid", MG_F32, 1).set("rows", rows);
    ASSERT_EQ(call.run(), "");
    EXPECT_EQ(call.read("valid")[0], valid);
  }
}
