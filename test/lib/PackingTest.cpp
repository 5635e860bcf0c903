#include "lib/Packing/Packing.h"

#include "gtest/gtest.h"

#include <random>

using megacc::Buffer;
using megacc::packBuffers;
using megacc::Packing;

/// Every step and every pair alive there: ranges are apart, aligned and inside; the bound is recounted step by step.
static void check(const std::vector<Buffer> &buffers, const Packing &packing, int64_t alignment) {
  ASSERT_EQ(packing.offsets.size(), buffers.size());
  int64_t last = 0, most = 0, highest = 0;
  for (size_t i = 0; i < buffers.size(); ++i) {
    EXPECT_GE(packing.offsets[i], 0);
    EXPECT_EQ(packing.offsets[i] % alignment, 0);
    EXPECT_LE(packing.offsets[i] + buffers[i].bytes, packing.bytes);
    last = std::max(last, buffers[i].last);
  }
  for (int64_t step = 0; step <= last; ++step) {
    int64_t alive = 0;
    for (size_t i = 0; i < buffers.size(); ++i) {
      if (step < buffers[i].first || step > buffers[i].last)
        continue;
      alive += (buffers[i].bytes + alignment - 1) / alignment * alignment;
      highest = std::max(highest, packing.offsets[i] + buffers[i].bytes);
      for (size_t j = 0; j < i; ++j) {
        if (step < buffers[j].first || step > buffers[j].last || !buffers[i].bytes || !buffers[j].bytes)
          continue;
        EXPECT_TRUE(packing.offsets[i] + buffers[i].bytes <= packing.offsets[j] ||
                    packing.offsets[j] + buffers[j].bytes <= packing.offsets[i])
            << "buffers " << i << " and " << j << " share bytes at step " << step;
      }
    }
    most = std::max(most, alive);
  }
  EXPECT_EQ(packing.lowerBound, most);
  EXPECT_GE(packing.bytes, packing.lowerBound);
  EXPECT_LT(packing.bytes - highest, alignment);
}

TEST(Packing, Nothing) {
  Packing packing = packBuffers({});
  EXPECT_EQ(packing.bytes, 0);
  EXPECT_EQ(packing.lowerBound, 0);
}

TEST(Packing, SharesOnlyAfterTheLastUse) {
  std::vector<Buffer> apart = {{100, 0, 1}, {100, 2, 3}}, touching = {{100, 0, 2}, {100, 2, 3}};
  EXPECT_EQ(packBuffers(apart).bytes, 128);
  EXPECT_EQ(packBuffers(touching).bytes, 256);
}

TEST(Packing, FillsHoles) {
  // After step 0 holes of 192 and of 64 bytes are left between buffers that stay.
  std::vector<Buffer> buffers = {{1024, 0, 9}, {192, 0, 0}, {512, 0, 9}, {64, 0, 0}, {256, 0, 9}, {192, 1, 9}, {64, 1, 9}};
  Packing packing = packBuffers(buffers);
  check(buffers, packing, 64);
  EXPECT_EQ(packing.bytes, packing.lowerBound);
}

TEST(Packing, NestedLifetimesOfABackwardMeetTheBound) {
  std::vector<Buffer> buffers; // block i is saved at i and read at 99 - i
  for (int64_t i = 0; i < 50; ++i)
    buffers.push_back({4096, i, 99 - i});
  Packing packing = packBuffers(buffers);
  check(buffers, packing, 64);
  EXPECT_EQ(packing.bytes, packing.lowerBound);
}

TEST(Packing, RandomBuffersNeverShareLiveBytes) {
  std::mt19937 random(1);
  for (int round = 0; round < 300; ++round) {
    int64_t alignment = int64_t(1) << (random() % 8);
    std::vector<Buffer> buffers(1 + random() % 60);
    for (Buffer &buffer : buffers) {
      buffer.bytes = random() % 5 == 0 ? 0 : random() % 3000;
      buffer.first = random() % 40;
      buffer.last = buffer.first + random() % 20;
    }
    Packing packing = packBuffers(buffers, alignment);
    check(buffers, packing, alignment);
    EXPECT_EQ(packing.offsets, packBuffers(buffers, alignment).offsets);
    if (HasFailure())
      FAIL() << "round " << round;
  }
}

TEST(Packing, FewBuffersLieClose) {
  // What a value of a block is: most are gone after a few steps, some stay to the end of the backward.
  std::mt19937 random(2);
  double packed = 0, bound = 0;
  for (int round = 0; round < 100; ++round) {
    std::vector<Buffer> buffers;
    for (int64_t i = 0; i < 30; ++i) {
      int64_t bytes = 256 * (1 + random() % 64);
      buffers.push_back({bytes, i, random() % 3 ? i + 1 + int64_t(random() % 3) : 59 - i});
      buffers.push_back({bytes, 30 + i, 30 + i + int64_t(random() % 4)});
    }
    Packing packing = packBuffers(buffers, 256);
    check(buffers, packing, 256);
    packed += double(packing.bytes) / double(packing.lowerBound), bound += 1;
  }
  EXPECT_LT(packed / bound, 1.02);
}
