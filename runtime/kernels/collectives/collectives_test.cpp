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

TEST(Collectives, EveryRankHasItsPartOfTheSumInTheOrderOfRanks) {
  // One number a rank; parts that are not whole; several pieces, the last one short, and one that ends inside a row.
  for (auto [size, outer, inner] :
       {std::tuple<int64_t, int64_t, int64_t>{2, 1, 1}, {3, 5, 2}, {4, 2, 7}, {2, 1, (1 << 17) + 3}, {3, 5, 40000}}) {
    int64_t count = outer * inner * size;
    std::vector<Values> x, parts(size, Values(outer * inner, NAN));
    Values sum;
    for (int64_t rank = 0; rank < size; ++rank) {
      x.push_back(randomValues(count, unsigned(rank + 1)));
      for (int64_t i = 0; i < count; ++i)
        rank ? sum[i] += x[rank][i] : sum.emplace_back(x[rank][i]);
    }
    Ranks ranks(size);
    ranks.run([&, s = size, o = outer, i = inner](int64_t rank, const MgAxis &place) {
      Ints ints = {{"outer", o}, {"inner", i}, {"ranks", s}, {"axis", axis}};
      EXPECT_EQ(launchOn(place, "mg_reduce_scatter", {{"y", parts[rank]}, {"x", x[rank]}}, ints), 0) << mg_last_error();
    });
    for (int64_t rank = 0; rank < size; ++rank)
      for (int64_t row = 0; row < outer; ++row)
        for (int64_t j = 0; j < inner; ++j)
          ASSERT_EQ(parts[rank][row * inner + j], sum[(row * size + rank) * inner + j]) << size << " ranks, row " << row << ", " << j;
  }
}

TEST(Collectives, RowsGoToTheirGroupsAndComeBack) {
  struct Case {
    int64_t ranks, own, tokens, kept, cols, drop; // drop: every so manieth row is no one's; 0: none
  };
  // One token; all rows to one rank's groups; more rows than fit in a piece; ranks with groups without rows.
  for (auto [size, own, tokens, kept, cols, drop] :
       {Case{2, 1, 1, 1, 1, 0}, {2, 4, 5, 2, 3, 0}, {3, 2, 7, 3, 2, 4}, {4, 2, 1, 2, 5, 0}, {2, 2, 300, 2, 4000, 3}}) {
    int64_t groups = size * own, given = tokens * kept, most = std::min(kept, own), received = size * tokens * most;
    Ranks ranks(size);
    std::vector<Values> rows(size), mine(size, Values(received * cols, NAN)), back(size, Values(given * cols, NAN));
    std::vector<std::vector<int32_t>> offsets(size), own_offsets(size, std::vector<int32_t>(own + 1, -1));
    // The picks of token t on rank r: kept different groups, from a place of its own on; on the last rank all from the first group on.
    std::vector<std::vector<std::vector<std::pair<int64_t, int64_t>>>> picks(size); // of a rank, of a group: (token, slot)
    for (int64_t rank = 0; rank < size; ++rank) {
      picks[rank].resize(groups);
      for (int64_t t = 0; t < tokens; ++t)
        for (int64_t k = 0; k < kept; ++k)
          if (!drop || (t * kept + k) % drop)
            picks[rank][((rank == size - 1 ? 0 : t * 5 + rank) + k) % groups].push_back({t, k});
      rows[rank].assign(given * cols, 0.0f);
      int64_t row = 0;
      for (int64_t group = 0; group < groups; ++group) {
        offsets[rank].push_back(int32_t(row));
        for (auto [t, k] : picks[rank][group])
          for (int64_t j = 0; j < cols; ++j)
            rows[rank][row * cols + j] = float(1 + rank * 1000 + t * 10 + k) + float(j) / 8192, row += j == cols - 1;
      }
      offsets[rank].push_back(int32_t(row));
    }
    ranks.run([&](int64_t rank, const MgAxis &place) {
      Ints ints = {{"given", given}, {"received", received}, {"cols", cols}, {"groups", groups}, {"ranks", size}, {"axis", axis}};
      EXPECT_EQ(launchOn(place, "mg_exchange_rows",
                         {{"mine", mine[rank]}, {"own_offsets", own_offsets[rank]}, {"rows", rows[rank]}, {"offsets", offsets[rank]}},
                         ints),
                0)
          << mg_last_error();
      EXPECT_EQ(launchOn(place, "mg_return_rows", {{"rows", back[rank]}, {"mine", mine[rank]}, {"offsets", offsets[rank]}}, ints), 0)
          << mg_last_error();
    });
    for (int64_t rank = 0; rank < size; ++rank) {
      EXPECT_EQ(back[rank], rows[rank]) << size << " ranks";
      Values expected(received * cols, 0.0f);
      std::vector<int32_t> begins;
      int64_t row = 0;
      for (int64_t group = 0; group < own; ++group) {
        begins.push_back(int32_t(row));
        for (int64_t from = 0; from < size; ++from)
          for (int64_t i = offsets[from][rank * own + group]; i < offsets[from][rank * own + group + 1]; ++i, ++row)
            std::copy_n(rows[from].begin() + i * cols, cols, expected.begin() + row * cols);
      }
      begins.push_back(int32_t(row));
      EXPECT_EQ(own_offsets[rank], begins) << size << " ranks";
      EXPECT_EQ(mine[rank], expected) << size << " ranks";
    }
  }
}

TEST(Collectives, SharedSquaresCountOnTheFirstRankAlone) {
  constexpr int64_t count = 9000;
  Values x = randomValues(count, 1);
  constexpr int64_t tp = 1 << MG_TP, ep = 1 << MG_EP;
  // Ranges that begin, end and lie inside tiles of 4096, one across a border; over one axis, the other, and both.
  for (const std::vector<int64_t> &shared : {std::vector<int64_t>{},
                                             {0, count, tp},
                                             {0, 1, tp, 5, 9, ep, 4000, 4200, tp | ep, 8999, 9000, tp},
                                             {4096, 8192, tp | ep},
                                             {7, 4097, ep, 4097, 8000, tp}})
    for (int64_t rank : {0, 1})
      for (int64_t other : {0, 1}) {
        double expected = 0;
        for (int64_t i = 0; i < count; ++i) {
          bool counts = true;
          for (size_t range = 0; range < shared.size(); range += 3)
            if (shared[range] <= i && i < shared[range + 1])
              counts = !(rank && (shared[range + 2] & tp)) && !(other && (shared[range + 2] & ep));
          expected += counts ? double(x[i]) * x[i] : 0;
        }
        Doubles sum = {NAN};
        Launch launch("mg_square_sum_shared", {{"sum", sum}, {"x", x}, {"shared", shared}},
                      {{"count", count}, {"ranges", int64_t(shared.size()) / 3}, {"ranks", 1}, {"axes", 0}}, {});
        launch.context.axes[MG_TP] = {rank, 2, nullptr};
        launch.context.axes[MG_EP] = {other, 2, nullptr};
        ASSERT_EQ(run(launch), 0) << mg_last_error();
        EXPECT_NEAR(sum[0], expected, 1e-9 * count);
      }
}

TEST(Collectives, ASweepIsSummedInPartsAndGathered) {
  // Of one axis, and where another has cut it in two before, this rank having the second half; the last in several pieces.
  for (auto [size, part, parts] : {std::tuple<int64_t, int64_t, int64_t>{2, 1, 1}, {3, 128, 2}, {2, (1 << 17) + 256, 1}}) {
    int64_t count = size * part * parts, begin = (parts - 1) * size * part;
    Ranks ranks(size);
    std::vector<Values> x, gathered;
    Values expected(count);
    for (int64_t rank = 0; rank < size; ++rank) {
      x.push_back(randomValues(count, unsigned(rank + 1)));
      for (int64_t i = 0; i < count; ++i)
        expected[i] = rank ? expected[i] + x[rank][i] : x[rank][i];
    }
    std::vector<Values> given = x;
    ranks.run([&, n = count, cut = parts](int64_t rank, const MgAxis &place) {
      for (const char *kernel : {"mg_reduce_scatter_state", "mg_gather_state"}) {
        Launch launch(kernel, {{"x", x[rank]}},
                      {{"count", n}, {"ranks", place.size}, {"axis", axis}, {"parts", cut}, {"axes", cut > 1 ? 1 << MG_DP : 0}}, {});
        launch.context.axes[axis] = place;
        launch.context.axes[MG_DP] = {cut - 1, cut, nullptr};
        EXPECT_EQ(run(launch), 0) << mg_last_error();
      }
    });
    for (int64_t rank = 0; rank < size; ++rank)
      for (int64_t i = 0; i < count; ++i)
        ASSERT_EQ(x[rank][i], i < begin ? given[rank][i] : expected[i]) << size << " ranks, " << i;
  }
}

TEST(Collectives, SquaresOfAPart) {
  Values x = randomValues(1000, 1);
  std::vector<int64_t> shared = {400, 600, 1 << MG_TP};
  double expected = 0;
  for (int64_t i = 500; i < 750; ++i) // dp 1 of 2, ep 0 of 2; on the second rank of tp
    expected += i < 600 ? 0 : double(x[i]) * x[i];
  Doubles sum = {NAN};
  Launch launch("mg_square_sum_shared", {{"sum", sum}, {"x", x}, {"shared", shared}},
                {{"count", 1000}, {"ranges", 1}, {"ranks", 4}, {"axes", 1 << MG_DP | 1 << MG_EP}}, {});
  launch.context.axes[MG_DP] = launch.context.axes[MG_TP] = {1, 2, nullptr};
  launch.context.axes[MG_EP] = {0, 2, nullptr};
  ASSERT_EQ(run(launch), 0) << mg_last_error();
  EXPECT_NEAR(sum[0], expected, 1e-9);
}

TEST(Collectives, AnAxisWithoutOtherRanksIsRefused) {
  Values x = {1}, y = {0};
  EXPECT_NE(launchOn({0, 1, nullptr}, "mg_all_reduce", {{"y", y}, {"x", x}}, {{"count", 1}, {"axis", axis}}), 0);
  EXPECT_NE(std::string(mg_last_error()).find("axis 1 has no other ranks"), std::string::npos) << mg_last_error();
}
