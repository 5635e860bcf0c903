#include "runtime/kernels/TestSupport.h"
#include "runtime/kernels/collectives/ThreadRanks.h"

using namespace megacc::test;

namespace {

/// ThreadRanks whose kernels run each on its own thread.
class Ranks : public ThreadRanks {
public:
  using ThreadRanks::ThreadRanks;
  template <typename Body> void run(Body &&body) {
    mg_cpu_set_threads(1);
    ThreadRanks::run(body);
    mg_cpu_set_threads(2);
  }
};

constexpr int64_t axis = MG_TP;

int32_t launchOn(const MgAxis &place, const std::string &symbol, const std::vector<Operand> &operands, const Ints &ints) {
  Launch launch(symbol, operands, ints, {});
  launch.context.axes[axis] = place;
  return run(launch);
}

} // namespace

TEST(Collectives, SumsAreThoseInTheOrderOfRanksOnEveryRank) {
  // One number; fewer than ranks; several pieces, the last one short.
  for (auto [size, count] : {std::pair<int64_t, int64_t>{2, 1}, {3, 2}, {4, 4}, {3, (1 << 18) + 5}, {2, 3 << 18}}) {
    Ranks ranks(size);
    std::vector<Values> x, y(size, Values(count, NAN)), state;
    std::vector<Doubles> wide(size), wide_y(size, Doubles(count, NAN));
    Values expected(count);
    Doubles wide_expected(count);
    for (int64_t rank = 0; rank < size; ++rank) {
      x.push_back(randomValues(count, unsigned(rank + 1)));
      wide[rank] = widen(x[rank]);
      for (int64_t i = 0; i < count; ++i) {
        expected[i] = rank ? expected[i] + x[rank][i] : x[rank][i];
        wide_expected[i] += wide[rank][i];
      }
    }
    state = x;
    ranks.run([&, n = count](int64_t rank, const MgAxis &place) {
      Ints ints = {{"count", n}, {"axis", axis}};
      EXPECT_EQ(launchOn(place, "mg_all_reduce", {{"y", y[rank]}, {"x", x[rank]}}, ints), 0) << mg_last_error();
      EXPECT_EQ(launchOn(place, "mg_all_reduce_f64", {{"y", wide_y[rank]}, {"x", wide[rank]}}, ints), 0) << mg_last_error();
      EXPECT_EQ(launchOn(place, "mg_all_reduce_state", {{"x", state[rank]}}, ints), 0) << mg_last_error();
    });
    for (int64_t rank = 0; rank < size; ++rank) {
      EXPECT_EQ(y[rank], expected) << size << " ranks, " << count;
      EXPECT_EQ(state[rank], expected) << size << " ranks, " << count;
      EXPECT_EQ(wide_y[rank], wide_expected) << size << " ranks, " << count;
    }
  }
}

TEST(Collectives, PartsAreTakenAndGathered) {
  for (auto [size, outer, inner] : {std::tuple<int64_t, int64_t, int64_t>{2, 1, 1}, {3, 5, 2}, {4, 2, 7}}) {
    Values whole = randomValues(outer * inner * size, 1);
    std::vector<Values> parts(size, Values(outer * inner, NAN)), joined(size, Values(whole.size(), NAN));
    Ranks ranks(size);
    ranks.run([&, s = size, o = outer, i = inner](int64_t rank, const MgAxis &place) {
      Ints ints = {{"outer", o}, {"inner", i}, {"ranks", s}, {"axis", axis}};
      EXPECT_EQ(launchOn(place, "mg_take_part", {{"y", parts[rank]}, {"x", whole}}, ints), 0) << mg_last_error();
      EXPECT_EQ(launchOn(place, "mg_gather_parts", {{"y", joined[rank]}, {"x", parts[rank]}}, ints), 0) << mg_last_error();
    });
    for (int64_t rank = 0; rank < size; ++rank) {
      EXPECT_EQ(joined[rank], whole);
      for (int64_t row = 0; row < outer; ++row)
        for (int64_t j = 0; j < inner; ++j)
          EXPECT_EQ(parts[rank][row * inner + j], whole[(row * size + rank) * inner + j]);
    }
  }
}

TEST(Collectives, SharedSquaresCountOnTheFirstRankAlone) {
  constexpr int64_t count = 9000;
  Values x = randomValues(count, 1);
  // Ranges that begin, end and lie inside tiles of 4096, one across a border.
  for (const std::vector<int64_t> &shared : {std::vector<int64_t>{}, {0, count}, {0, 1, 5, 9, 4000, 4200, 8999, 9000}, {4096, 8192}}) {
    Doubles all = {0}, own = {0};
    for (int64_t i = 0; i < count; ++i) {
      bool is_shared = false;
      for (size_t range = 0; range < shared.size(); range += 2)
        is_shared |= shared[range] <= i && i < shared[range + 1];
      all[0] += double(x[i]) * x[i], own[0] += is_shared ? 0 : double(x[i]) * x[i];
    }
    for (int64_t rank : {0, 1}) {
      Doubles sum = {NAN};
      ASSERT_EQ(launchOn({rank, 2, nullptr}, "mg_square_sum_shared", {{"sum", sum}, {"x", x}, {"shared", shared}},
                         {{"count", count}, {"ranges", int64_t(shared.size()) / 2}, {"axis", axis}}),
                0)
          << mg_last_error();
      EXPECT_NEAR(sum[0], rank ? own[0] : all[0], 1e-9 * all[0]);
    }
  }
}

TEST(Collectives, AnAxisWithoutOtherRanksIsRefused) {
  Values x = {1}, y = {0};
  EXPECT_NE(launchOn({0, 1, nullptr}, "mg_all_reduce", {{"y", y}, {"x", x}}, {{"count", 1}, {"axis", axis}}), 0);
  EXPECT_NE(std::string(mg_last_error()).find("axis 1 has no other ranks"), std::string::npos) << mg_last_error();
}
