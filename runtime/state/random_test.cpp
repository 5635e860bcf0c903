#include "runtime/state/Random.h"

#include <gtest/gtest.h>

using namespace megacc::runtime;

// The test vectors of conventions section 4.
TEST(Random, MatchesTheSpecification) {
  EXPECT_EQ(draw(0, 0), 0xE220A8397B1DCDAFu);
  EXPECT_EQ(draw(0, 1), 0x6E789E6AA1B965F4u);
  EXPECT_EQ(draw(0, 2), 0x06C45D188009454Fu);
  uint64_t key = streamKey(0, "embedding.weight");
  EXPECT_EQ(key, 0x0880FFAEA97DCDD1u);
  EXPECT_EQ(draw(key, 0), 0xAB20AEDDDC20431Eu);
  EXPECT_EQ(draw(key, 1), 0x1EE09F604833C3ACu);
}
