#include "runtime/kernels/GpuTestSupport.h"
#include "runtime/state/Random.h"

#include <gtest/gtest.h>

using namespace megacc::gpu;
using megacc::runtime::streamKey;

namespace {

Values initialize(int64_t kind, const char *name, uint64_t seed, int64_t first, int64_t count, double a, MgType type = MG_F32) {
  Call call = MG_CALL(mg_initialize);
  call.poisoned("y", type, count).set("count", count).set("first", first).set("kind", kind).setReal("a", a);
  call.set("key", int64_t(streamKey(seed, name)));
  if (type == MG_BF16)
    call.poisoned("master", MG_F32, count);
  EXPECT_EQ(call.run(), "");
  if (type == MG_BF16) {
    Values masters = call.read("master");
    for (double &master : masters)
      master = rounded(master, MG_BF16);
    EXPECT_EQ(call.read("y"), masters);
    return call.read("master");
  }
  return call.read("y");
}

void expectNear(const Values &actual, const Values &expected) {
  ASSERT_EQ(actual.size(), expected.size());
  for (size_t i = 0; i < expected.size(); ++i)
    EXPECT_NEAR(actual[i], expected[i], 1e-6 * std::max(1.0, std::abs(expected[i])));
}

} // namespace

// Test vectors of conventions section 4.
TEST(InitializeGpu, KnownValues) {
  MG_NEEDS_CARD();
  for (MgType type : {MG_F32, MG_BF16}) {
    expectNear(initialize(1, "embedding.weight", 0, 0, 4, 0.02, type), {0.0215855, -0.00414277, -0.00272694, -0.001918});
    expectNear(initialize(1, "embedding.weight", 0, 1, 2, 0.02, type), {-0.00414277, -0.00272694});
    expectNear(initialize(3, "blocks.2.mixer.dt_bias", 1, 0, 3, 0, type), {-6.74252004, -3.80076684, -6.74960001});
    expectNear(initialize(2, "blocks.11.mixer.conv.weight", 1, 0, 3, 0.5, type), {-0.21786605, -0.06732784, 0.46378059});
    expectNear(initialize(0, "x", 0, 5, 3, 0.25, type), {0.25, 0.25, 0.25});
    expectNear(initialize(5, "x", 0, 3, 8, 2, type), {1, 1, 0, 0, 1, 1, 0, 0});
    expectNear(initialize(6, "x", 0, 1, 7, 2 + 1.0 / 64, type), {4, 0, 0, 4, 0, 0, 4});
  }
}

TEST(InitializeGpu, ALog) {
  MG_NEEDS_CARD();
  Values expected;
  for (uint64_t i = 7; i < 1000; ++i)
    expected.push_back(std::log(16 * (1 - megacc::runtime::unit(streamKey(3, "a"), i))));
  expectNear(initialize(4, "a", 3, 7, 993, 0), expected);
}
