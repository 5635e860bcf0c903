#include "megacc/Random.h"
#include "runtime/core/Bfloat16.h"
#include "runtime/kernels/TestSupport.h"
#include "runtime/kernels/optimizer/Rounding.h"

#include <bit>

using namespace megacc::test;
using namespace megacc::runtime;

namespace {

int32_t update(Values &w, Values &m, Values &v, const Values &g, const Values &norm, const Values &scalars, int64_t decays) {
  return call("mg_adamw", {{"weight", w}, {"m", m}, {"v", v}, {"gradient", g}, {"norm", norm}, {"scalars", scalars}},
              {{"count", int64_t(w.size())}, {"decays", decays}, {"ranks", 1}, {"axes", 0}},
              {{"beta1", 0.9}, {"beta2", 0.95}, {"eps", 1e-8}, {"decay", 0.1}, {"clip", 1.0}});
}

} // namespace

TEST(GradientNorm, SumsInDouble) {
  Values g = randomValues(10001, 1), norm(1, NAN);
  Doubles first(1), rest(1);
  double sum = 0;
  for (float value : g)
    sum += double(value) * value;
  ASSERT_EQ(call("mg_square_sum", {{"sum", first}, {"x", g}}, {{"count", 10001}}), 0);
  EXPECT_NEAR(first[0] / sum, 1.0, 1e-13);
  ASSERT_EQ(call("mg_norm", {{"norm", norm}, {"part", first}}, {{"parts", 1}}), 0);
  EXPECT_FLOAT_EQ(norm[0], float(std::sqrt(sum)));
  norm[0] = NAN;
  ASSERT_EQ(call("mg_log_norm", {{"norm", norm}, {"x", g}}, {{"count", 10001}}), 0);
  EXPECT_FLOAT_EQ(norm[0], float(std::sqrt(sum)));
  // In two parts.
  ASSERT_EQ(call("mg_square_sum", {{"sum", first}, {"x", g.data(), 5000}}, {{"count", 5000}}), 0);
  ASSERT_EQ(call("mg_square_sum", {{"sum", rest}, {"x", g.data() + 5000, 5001}}, {{"count", 5001}}), 0);
  ASSERT_EQ(call("mg_norm", {{"norm", norm}, {"part", first}, {"part", rest}}, {{"parts", 2}}), 0);
  EXPECT_FLOAT_EQ(norm[0], float(std::sqrt(sum)));
}

TEST(AdamW, FollowsTheFormulaWithClipAndDecay) {
  for (int64_t decays : {0, 1}) {
    Values w = {1.0f, -2.0f}, m = {0.1f, 0.2f}, v = {0.3f, 0.4f}, g = {3.0f, 4.0f}, norm = {5.0f}, scalars = {0.01f, 0.19f, 0.0975f};
    Values w0 = w, m0 = m, v0 = v;
    ASSERT_EQ(update(w, m, v, g, norm, scalars, decays), 0);
    for (int i = 0; i < 2; ++i) {
      double clipped = g[i] * (1.0 / (5.0 + 1e-6)), mi = 0.9 * m0[i] + 0.1 * clipped, vi = 0.95 * v0[i] + 0.05 * clipped * clipped;
      double expected = w0[i] * (decays ? 1 - 0.01 * 0.1 : 1.0) - 0.01 * (mi / 0.19) / (std::sqrt(vi / 0.0975) + 1e-8);
      EXPECT_NEAR(m[i], mi, 1e-6);
      EXPECT_NEAR(v[i], vi, 1e-6);
      EXPECT_NEAR(w[i], expected, 1e-6);
    }
  }
}

TEST(AdamW, WritesNothingWhenTheNormIsNotFinite) {
  Values w = {1}, m = {2}, v = {3}, g = {4}, norm = {NAN}, scalars = {0.1f, 0.1f, 0.1f};
  ASSERT_EQ(update(w, m, v, g, norm, scalars, 1), 0);
  EXPECT_EQ(w[0], 1);
  EXPECT_EQ(m[0], 2);
  EXPECT_EQ(v[0], 3);
}

namespace {

/// An operand of bf16.
struct Halves {
  std::vector<uint16_t> bits;
  explicit Halves(const Values &values) {
    for (float value : values)
      bits.push_back(toBfloat16(value));
  }
  Operand as(const std::string &name) {
    Operand operand(name, nullptr);
    operand.data = bits.data(), operand.bytes = int64_t(bits.size()) * 2, operand.type = MG_BF16;
    return operand;
  }
};

/// Whether the bits are those of a value, or of its neighbour: two kernels may contract products differently.
bool isRounded(uint16_t bits, float value, uint32_t random) {
  uint32_t exact = std::bit_cast<uint32_t>(value);
  return bits == roundBits(exact, random) || bits == roundBits(exact - 1, random) || bits == roundBits(exact + 1, random);
}

} // namespace

// A test vector, and a rounding that would reach infinity.
TEST(Rounding, FollowsTheCounter) {
  uint64_t key = megacc::streamKey(0, "round.embedding.weight");
  EXPECT_EQ(key, 0xFDFA6BA9292432C4u);
  const int64_t entry[] = {int64_t(key), 0};
  RoundingStream stream = roundingStream(entry, entry, 1);
  EXPECT_EQ(stream.key, 0xB9894414FFF8E3F8u);
  uint64_t first = stream.draw(0, {}), second = stream.draw(1, {});
  EXPECT_EQ(first, 0xB4C4C6F50AFB8D82u);
  EXPECT_EQ(second, 0x95327A740C206298u);
  EXPECT_EQ(roundBits(0x3F808312, uint32_t(first)), 0x3F81);
  EXPECT_EQ(roundBits(0x3F808312, uint32_t(first >> 16)), 0x3F80);
  EXPECT_EQ(roundBits(0xBEBDA000, uint32_t(second)), 0xBEBE);
  EXPECT_EQ(roundBits(0xBEBDA000, uint32_t(second >> 16)), 0xBEBD);
  EXPECT_EQ(roundBits(0x7F7FFFFF, 0xFFFF), 0x7F7F);
  EXPECT_EQ(roundBits(0xFF7FFFFF, 0xFFFF), 0xFF7F);
  EXPECT_EQ(roundBits(0x00000001, 0xFFFF), 0x0001);
  EXPECT_EQ(roundBits(0x80000000, 0xFFFF), 0x8000);
  for (uint32_t random : {0u, 1u, 0x8000u, 0xFFFFu})
    EXPECT_EQ(roundBits(0x40490000, random), 0x4049); // what bf16 holds
}

TEST(Rounding, IsUnbiased) {
  uint32_t bits = std::bit_cast<uint32_t>(1.00123f);
  double sum = 0;
  for (uint32_t random = 0; random < 0x10000; ++random)
    sum += fromBfloat16(roundBits(bits, random));
  EXPECT_EQ(sum / 0x10000, double(1.00123f));
}

// A tensor of 6 rows in two blocks and one row that all ranks have, by 4 columns; rows over the second axis of 2 ranks.
TEST(Rounding, CountsInTheWholeTensor) {
  const int64_t part[] = {2, 4, 4, 2, MG_TP, 8, 4, -1, 1, 1, 1, 1, 1, -1, 4, 4};
  Ranks ranks = {{0, 0, 0}, {1, 1, 1}};
  ranks.size[MG_TP] = 2;
  const std::vector<int64_t> rows[] = {{0, 1, 4, 5, 8}, {2, 3, 6, 7, 8}};
  for (int64_t rank : {0, 1}) {
    ranks.rank[MG_TP] = rank;
    for (int64_t i = 0; i < 20; ++i)
      EXPECT_EQ(indexInWhole(part, i, ranks), rows[rank][i / 4] * 4 + i % 4) << rank << " " << i;
  }
}

TEST(AdamWRounded, RoundsWhatAdamWWouldStore) {
  constexpr int64_t count = 384;
  Values w = randomValues(count, 1), m = randomValues(count, 2), v = randomValues(count, 3), g = randomValues(count, 4);
  for (Values *values : {&m, &v})
    for (float &value : *values)
      value = fromBfloat16(toBfloat16(std::abs(value)));
  Halves half_m(m), half_v(v);
  Values expected = w, norm = {0.5f}, scalars = {0.01f, 0.19f, 0.0975f};
  std::vector<int32_t> step = {7};
  std::vector<int64_t> table = {2, 0, 111, 0, 128, 222, 0}; // two parameters, of 128 and 256 elements
  const Reals reals = {{"beta1", 0.9}, {"beta2", 0.95}, {"eps", 1e-8}, {"decay", 0.1}, {"clip", 1.0}};
  ASSERT_EQ(update(expected, m, v, g, norm, scalars, 1), 0);
  auto updateRounded = [&] {
    return call("mg_adamw_rounded",
                {{"weight", w},
                 half_m.as("m"),
                 half_v.as("v"),
                 {"gradient", g},
                 {"norm", norm},
                 {"scalars", scalars},
                 {"step", step},
                 {"table", table}},
                {{"count", count}, {"decays", 1}, {"numbers", 7}, {"ranks", 1}, {"axes", 0}}, reals);
  };
  ASSERT_EQ(updateRounded(), 0);
  for (int64_t i = 0; i < count; ++i) {
    uint64_t key = i < 128 ? 111 : 222, random = megacc::draw(megacc::draw(key, 7), uint64_t(i < 128 ? i : i - 128));
    EXPECT_NEAR(w[i], expected[i], 1e-6) << i; // of the unrounded moments
    EXPECT_TRUE(isRounded(half_m.bits[i], m[i], uint32_t(random))) << i;
    EXPECT_TRUE(isRounded(half_v.bits[i], v[i], uint32_t(random >> 16))) << i;
  }
  // Nothing where the norm is not finite.
  Values before = w;
  norm[0] = INFINITY;
  auto bits = half_m.bits;
  ASSERT_EQ(updateRounded(), 0);
  EXPECT_EQ(w, before);
  EXPECT_EQ(half_m.bits, bits);
}
