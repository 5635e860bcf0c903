#include "megacc/Random.h"
#include "runtime/kernels/TestSupport.h"

using namespace megacc::test;

namespace {

enum Kind { constant, normal, uniform, dt_bias, a_log, identity, mhc };

Values initial(const char *name, Kind kind, double a, uint64_t seed, int64_t count, int64_t first = 0) {
  Values values(count, NAN), master(count, NAN);
  EXPECT_EQ(call("mg_initialize", {{"y", values}, {"master", master}},
                 {{"count", count}, {"first", first}, {"kind", kind}, {"key", int64_t(megacc::streamKey(seed, name))}}, {{"a", a}}),
            0);
  EXPECT_EQ(values, master);
  return values;
}

} // namespace

// The test vectors of conventions section 4.
TEST(Random, MatchesTheConventions) {
  EXPECT_EQ(megacc::draw(0, 0), 0xE220A8397B1DCDAFu);
  EXPECT_EQ(megacc::draw(0, 1), 0x6E789E6AA1B965F4u);
  EXPECT_EQ(megacc::draw(0, 2), 0x06C45D188009454Fu);
  uint64_t key = megacc::streamKey(0, "embedding.weight");
  EXPECT_EQ(key, 0x0880FFAEA97DCDD1u);
  EXPECT_EQ(megacc::draw(key, 0), 0xAB20AEDDDC20431Eu);
  EXPECT_EQ(megacc::draw(key, 1), 0x1EE09F604833C3ACu);
}

TEST(Initialize, MatchesTheConventions) {
  Values first = initial("embedding.weight", normal, 0.02, 0, 4), dt = initial("blocks.2.mixer.dt_bias", dt_bias, 0, 1, 3);
  for (auto [i, value] : {std::pair{0, 0.0215855f}, {1, -0.00414277f}, {2, -0.00272694f}, {3, -0.001918f}})
    EXPECT_NEAR(first[i], value, 1e-6);
  for (auto [i, value] : {std::pair{0, -6.74252004f}, {1, -3.80076684f}, {2, -6.74960001f}})
    EXPECT_NEAR(dt[i], value, 1e-6);
  Values conv = initial("blocks.11.mixer.conv.weight", uniform, 0.5, 1, 3);
  for (auto [i, value] : {std::pair{0, -0.21786605f}, {1, -0.06732784f}, {2, 0.46378059f}})
    EXPECT_NEAR(conv[i], value, 1e-6);
}

TEST(Initialize, AShardEqualsTheSliceOfTheWholeAtAnyNumberOfThreads) {
  for (Kind kind : {constant, normal, uniform, dt_bias, a_log, identity, mhc}) {
    mg_cpu_set_threads(3);
    Values whole = initial("w", kind, 4, 3, 10000);
    mg_cpu_set_threads(1);
    EXPECT_EQ(initial("w", kind, 4, 3, 5000, 21), Values(whole.begin() + 21, whole.begin() + 5021)) << kind;
  }
  mg_cpu_set_threads(2);
}

TEST(Initialize, DrawsTheLogarithmOfTheDecay) {
  Values values = initial("blocks.0.mixer.A_log", a_log, 0, 5, 64);
  uint64_t key = megacc::streamKey(5, "blocks.0.mixer.A_log");
  for (int i = 0; i < 64; ++i)
    EXPECT_EQ(values[i], float(std::log(16 * (1 - megacc::unit(key, i)))));
}

TEST(Initialize, StacksIdentityMatrices) { EXPECT_EQ(initial("w", identity, 2, 0, 8), (Values{1, 0, 0, 1, 1, 0, 0, 1})); }

TEST(Initialize, StartsABlockOnOneStream) {
  EXPECT_EQ(initial("w", mhc, 2 + 1.0 / 64, 0, 8), (Values{0, 4, 0, 0, 4, 0, 0, 4}));
  Values first = initial("w", mhc, 3, 0, 15);
  EXPECT_EQ(first, (Values{4, 0, 0, 0, 0, 0, 4, 0, 0, 0, 4, 0, 0, 0, 4}));
}

TEST(Initialize, RefusesAnUnknownKind) {
  Values y(1);
  EXPECT_NE(call("mg_initialize", {{"y", y}}, {{"count", 1}, {"first", 0}, {"kind", 7}, {"key", 0}}, {{"a", 0}}), 0);
  EXPECT_NE(std::strstr(mg_last_error(), "kind is 7"), nullptr);
}
