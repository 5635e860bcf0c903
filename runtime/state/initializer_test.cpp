#include "runtime/state/Initializer.h"
#include "runtime/state/Random.h"

#include <gtest/gtest.h>
#include <vector>

using namespace megacc::runtime;

namespace {

std::vector<float> initial(std::string_view name, std::string_view kind, double a, uint64_t seed, size_t count, int64_t first = 0) {
  std::vector<float> values(count);
  EXPECT_TRUE(initialize(values, first, name, kind, a, seed));
  return values;
}

} // namespace

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

TEST(Initializer, MatchesTheSpecification) {
  std::vector<float> normal = initial("embedding.weight", "normal", 0.02, 0, 4);
  for (auto [i, value] : {std::pair{0, 0.0215855f}, {1, -0.00414277f}, {2, -0.00272694f}, {3, -0.001918f}})
    EXPECT_NEAR(normal[i], value, 1e-6);
  std::vector<float> dt = initial("blocks.2.mixer.dt_bias", "dt_bias", 0, 1, 3);
  for (auto [i, value] : {std::pair{0, -6.74252004f}, {1, -3.80076684f}, {2, -6.74960001f}})
    EXPECT_NEAR(dt[i], value, 1e-6);
  std::vector<float> conv = initial("blocks.11.mixer.conv.weight", "uniform", 0.5, 1, 3);
  for (auto [i, value] : {std::pair{0, -0.21786605f}, {1, -0.06732784f}, {2, 0.46378059f}})
    EXPECT_NEAR(conv[i], value, 1e-6);
}

TEST(Initializer, AShardEqualsTheSliceOfTheWhole) {
  for (const char *kind : {"constant", "normal", "uniform", "dt_bias", "a_log", "identity"}) {
    std::vector<float> whole = initial("w", kind, 4, 3, 40), shard = initial("w", kind, 4, 3, 9, 21);
    EXPECT_EQ(shard, std::vector<float>(whole.begin() + 21, whole.begin() + 30)) << kind;
  }
}

TEST(Initializer, StacksIdentityMatrices) {
  EXPECT_EQ(initial("w", "identity", 2, 0, 8), (std::vector<float>{1, 0, 0, 1, 1, 0, 0, 1}));
}

TEST(Initializer, RefusesAnUnknownKind) {
  std::vector<float> values(1);
  EXPECT_FALSE(initialize(values, 0, "w", "orthogonal", 1, 0));
}
