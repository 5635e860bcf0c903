#include "runtime/kernels/GpuTestSupport.h"

#include <gtest/gtest.h>

using namespace megacc::gpu;

TEST(ShiftGpu, RowsAndTargets) {
  MG_NEEDS_CARD();
  for (bool has_documents : {false, true})
    for (int64_t distance : {-3, -1, 0, 1, 2, 40}) {
      int64_t batch = 2, sequence = 23, rows = batch * sequence;
      Values documents, targets;
      for (int64_t row = 0; row < rows; ++row) {
        documents.push_back(double(row / 4 % 3));
        targets.push_back(double(row % 5 ? row : -1));
      }
      auto reaches = [&](int64_t row) {
        int64_t t = row % sequence + distance;
        if (t < 0 || t >= sequence)
          return false;
        for (int64_t at = std::min(row, row + distance); has_documents && at < std::max(row, row + distance); ++at)
          if (documents[at] != documents[at + 1])
            return false;
        return true;
      };
      for (int64_t cols : {1, 7, 64}) {
        Values x = randomValues(rows * cols, 1), y(x.size());
        for (int64_t row = 0; row < rows; ++row)
          for (int64_t j = 0; j < cols; ++j)
            y[row * cols + j] = reaches(row) ? x[(row + distance) * cols + j] : 0;
        Call call = MG_CALL(mg_shift);
        call.give("x", MG_BF16, x).poisoned("y", MG_BF16, x.size()).set("batch", batch).set("sequence", sequence).set("cols", cols);
        call.set("distance", distance);
        if (has_documents)
          call.give("documents", MG_I32, documents);
        ASSERT_EQ(call.run(), "");
        EXPECT_EQ(call.read("y"), y) << distance << " " << cols;
      }
      Values shifted(rows);
      for (int64_t row = 0; row < rows; ++row)
        shifted[row] = reaches(row) ? targets[row + distance] : -1;
      Call call = MG_CALL(mg_shift_targets);
      call.give("targets", MG_I32, targets)
          .poisoned("shifted", MG_I32, rows)
          .set("batch", batch)
          .set("sequence", sequence)
          .set("distance", distance);
      if (has_documents)
        call.give("documents", MG_I32, documents);
      ASSERT_EQ(call.run(), "");
      EXPECT_EQ(call.read("shifted"), shifted) << distance;
    }
}
