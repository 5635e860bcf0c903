#include "runtime/kernels/GpuTestSupport.h"

#include <gtest/gtest.h>

using namespace megacc::gpu;

TEST(SplitGpu, PartsAndBack) {
  MG_NEEDS_CARD();
  for (MgType type : {MG_BF16, MG_F32})
    for (auto widths : {std::vector<int64_t>{64, 64, 704, 44}, {14, 7}, {1, 2, 3}, {128, 64}, {4, 12, 20}})
      for (int64_t groups : {1, 3}) {
        int64_t rows = 29, stride = 0;
        for (int64_t width : widths)
          stride += width;
        Values x = randomValues(rows * groups * stride, 1, 1, type);
        Call split = MG_CALL(mg_split), concat = MG_CALL(mg_concat);
        split.give("x", type, x).set("rows", rows).set("groups", groups).set("parts", int64_t(widths.size()));
        concat.poisoned("y", type, x.size()).set("rows", rows).set("groups", groups).set("parts", int64_t(widths.size()));
        std::vector<Values> parts;
        int64_t begin = 0;
        for (size_t p = 0; p < 4; ++p) {
          int64_t width = p < widths.size() ? widths[p] : 0;
          split.set("width" + std::to_string(p), width);
          concat.set("width" + std::to_string(p), width);
          if (p >= widths.size())
            continue;
          Values part;
          for (int64_t group = 0; group < rows * groups; ++group)
            part.insert(part.end(), x.begin() + group * stride + begin, x.begin() + group * stride + begin + width);
          begin += width;
          split.poisoned("part", type, part.size());
          concat.give("part", type, part);
          parts.push_back(part);
        }
        ASSERT_EQ(split.run(), "");
        for (size_t p = 0; p < parts.size(); ++p)
          EXPECT_EQ(split.read("part", p), parts[p]);
        ASSERT_EQ(concat.run(), "");
        EXPECT_EQ(concat.read("y"), x);
      }
}

TEST(SplitGpu, GroupsRepeatedAndSummed) {
  MG_NEEDS_CARD();
  for (MgType type : {MG_BF16, MG_F32})
    for (int64_t width : {1, 14, 64})
      for (int64_t groups : {1, 28}) {
        int64_t rows = 31;
        Values x = randomValues(rows * width, 1, 1, type), many = randomValues(rows * groups * width, 2, 1, type), repeated(many.size()),
               sum(x.size());
        for (int64_t t = 0; t < rows; ++t)
          for (int64_t g = 0; g < groups; ++g)
            for (int64_t j = 0; j < width; ++j) {
              repeated[(t * groups + g) * width + j] = x[t * width + j];
              sum[t * width + j] += many[(t * groups + g) * width + j];
            }
        Call repeat = MG_CALL(mg_repeat_groups);
        repeat.give("x", type, x).poisoned("y", type, many.size()).set("rows", rows).set("groups", groups).set("width", width);
        repeat.setReal("scale", 1.0);
        ASSERT_EQ(repeat.run(), "");
        EXPECT_EQ(repeat.read("y"), repeated);
        Call sums = MG_CALL(mg_sum_groups);
        sums.give("x", type, many).poisoned("y", type, x.size()).set("rows", rows).set("groups", groups).set("width", width);
        sums.setReal("scale", 1.0);
        ASSERT_EQ(sums.run(), "");
        EXPECT_LT(relativeError(sums.read("y"), sum), forwardLimit(type));
        // Scaled, and with an addend.
        Values added(many.size());
        for (size_t i = 0; i < added.size(); ++i)
          added[i] = 0.5 * repeated[i] + many[i];
        Call both = MG_CALL(mg_repeat_groups);
        both.give("x", type, x).give("addend", type, many).poisoned("y", type, many.size());
        both.set("rows", rows).set("groups", groups).set("width", width).setReal("scale", 0.5);
        ASSERT_EQ(both.run(), "");
        EXPECT_LT(relativeError(both.read("y"), added), forwardLimit(type));
      }
}
