#include "megacc/StepABI.h"
#include "runtime/core/Status.h"
#include "runtime/cpu/Arena.h"

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <gtest/gtest.h>
#include <unistd.h>

using namespace megacc::runtime;

namespace {

const int64_t sizes[MG_SEGMENT_COUNT] = {256, 0, 4096, 8448, 512, 0};

class Arenas : public testing::Test {
protected:
  void SetUp() override { ASSERT_EQ(reserveArena(sizes, segments), 0) << mg_last_error(); }
  void TearDown() override { releaseArena(segments); }

  void *segments[MG_SEGMENT_COUNT] = {};
};

} // namespace

TEST_F(Arenas, StartsEverySegmentAlignedAndAsZeros) {
  for (int segment = 0; segment < MG_SEGMENT_COUNT; ++segment) {
    EXPECT_EQ(reinterpret_cast<uintptr_t>(segments[segment]) % 256, 0u);
    auto *begin = static_cast<std::byte *>(segments[segment]);
    EXPECT_TRUE(std::all_of(begin, begin + sizes[segment], [](std::byte value) { return value == std::byte(0); }));
    std::memset(begin, 0xFF, sizes[segment]);
  }
}

TEST_F(Arenas, EndsEverySegmentAtAGuardPage) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  for (int segment = 0; segment < MG_SEGMENT_COUNT; ++segment) {
    volatile auto *end = static_cast<std::byte *>(segments[segment]) + sizes[segment];
    EXPECT_DEATH(*end = std::byte(1), "") << "segment " << segment;
  }
  volatile auto *before = static_cast<std::byte *>(segments[0]) - sysconf(_SC_PAGESIZE);
  EXPECT_DEATH(*before = std::byte(1), "");
}

TEST(Arena, RefusesSizesThatAreNotMultiplesOf256AndMoreThanThereIs) {
  void *segments[MG_SEGMENT_COUNT];
  const int64_t odd[MG_SEGMENT_COUNT] = {256, 100}, huge[MG_SEGMENT_COUNT] = {int64_t(1) << 60};
  EXPECT_NE(reserveArena(odd, segments), 0);
  EXPECT_NE(std::strstr(mg_last_error(), "segment 1 of the arena has 100 bytes"), nullptr) << mg_last_error();
  EXPECT_NE(reserveArena(huge, segments), 0);
  EXPECT_NE(std::strstr(mg_last_error(), "cannot reserve the arena of 11529"), nullptr) << mg_last_error();
}
