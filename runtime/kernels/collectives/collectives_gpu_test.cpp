#include "runtime/kernels/GpuTestSupport.h"
#include "runtime/kernels/collectives/ThreadRanks.h"
#include "runtime/tcp/Tcp.h"

#include <gtest/gtest.h>

using namespace megacc::gpu;
using megacc::test::ThreadRanks;

namespace {

constexpr int axis = MG_TP;

/// Two processes, each with a card, that tools/launch-ranks or torchrun started; in one process CUDA's calls may wait for NCCL's kernels.
class CollectivesOfTwoRanks : public testing::Test {
protected:
  void SetUp() override {
    MG_NEEDS_CARD();
    const char *size = std::getenv("WORLD_SIZE");
    if (!size || std::string(size) != "2")
      GTEST_SKIP() << "these take two ranks: tools/launch-ranks 2 gpu-kernel-tests --gtest_filter=CollectivesOfTwoRanks.*";
    static MgAxis axes[MG_AXIS_COUNT];
    const int64_t sizes[MG_AXIS_COUNT] = {1, 2, 1};
    static MgCommunicator *world = nullptr;
    const MgMesh &mesh = *megacc::runtime::tcpMesh();
    if (!world)
      ASSERT_TRUE(mesh.join(&world) == 0 && mesh.split(sizes, axes) == 0) << mesh.last_error();
    rank = world->rank;
    require(cudaSetDevice(int(rank)));
    std::copy(std::begin(axes), std::end(axes), context.axes);
    ASSERT_EQ(mg_target()->open(&context), 0) << mg_last_error();
  }
  void TearDown() override {
    if (context.library)
      mg_target()->close(&context);
  }

  int64_t rank = 0;
  MgContext context = {};
};

} // namespace

TEST_F(CollectivesOfTwoRanks, SumsAreThoseOfBoth) {
  struct Kind {
    MgKernel kernel;
    const char *symbol;
    MgType type;
    bool in_place;
  };
  const Kind kinds[] = {{mg_all_reduce, "mg_all_reduce", MG_BF16, false},
                        {mg_all_reduce, "mg_all_reduce", MG_F32, false},
                        {mg_all_reduce_f64, "mg_all_reduce_f64", MG_F64, false},
                        {mg_all_reduce_state, "mg_all_reduce_state", MG_F32, true}};
  for (size_t count : {1, 7, 4097, 3'000'001})
    for (const Kind &kind : kinds) {
      Values mine = randomValues(count, unsigned(rank + 1), 1, kind.type), other = randomValues(count, unsigned(2 - rank), 1, kind.type);
      Call call(kind.kernel, kind.symbol);
      call.in(context).give("x", kind.type, mine).set("count", int64_t(count)).set("axis", axis);
      if (!kind.in_place)
        call.poisoned("y", kind.type, count);
      ASSERT_EQ(call.run(), "") << kind.symbol << " of " << count;
      Values sums = call.read(kind.in_place ? "x" : "y");
      for (size_t i = 0; i < count; ++i)
        ASSERT_EQ(sums[i], rounded(mine[i] + other[i], kind.type)) << kind.symbol << " at " << i << " of " << count;
    }
}

TEST_F(CollectivesOfTwoRanks, PartsAreGatheredInOrder) {
  for (auto [outer, inner] : {std::pair<int64_t, int64_t>{1, 1}, {1, 5000}, {5, 2}, {33, 70}})
    for (MgType type : {MG_BF16, MG_F32}) {
      Values whole = randomValues(size_t(2 * outer * inner), 1, 1, type), part;
      for (int64_t row = 0; row < outer; ++row)
        for (int64_t i = 0; i < inner; ++i)
          part.push_back(whole[size_t((2 * row + rank) * inner + i)]);
      Call call = MG_CALL(mg_gather_parts);
      call.in(context).give("x", type, part).poisoned("y", type, whole.size());
      call.set("outer", outer).set("inner", inner).set("ranks", 2).set("axis", axis);
      ASSERT_EQ(call.run(), "");
      EXPECT_EQ(call.read("y"), whole) << outer << " x " << inner;
    }
}

TEST_F(CollectivesOfTwoRanks, RowsGoToTheirGroupsAndComeBack) {
  struct Case {
    int64_t own, tokens, cols, taken; // of every token's `own` picks on each rank, as many are this rank's rows; the rest is no one's
  };
  // One row; rows that are words of 16 bytes, and not; more than moves at a time.
  for (auto [own, tokens, cols, taken] : {Case{1, 1, 1, 1}, {2, 5, 3, 1}, {4, 300, 64, 3}, {1, 2400, 3584, 1}})
    for (MgType type : {MG_BF16, MG_F32}) {
      const int64_t groups = 2 * own, kept = groups, given = tokens * kept, received = 2 * tokens * own;
      // Token t has a row in each of the first `taken` groups of a rank, on rank 1 only every other token.
      Values offsets[2], rows[2], expected(size_t(received * cols)), begins;
      for (int64_t from : {0, 1}) {
        const int64_t count = from ? (tokens + 1) / 2 : tokens;
        for (int64_t group = 0; group <= groups; ++group)
          offsets[from].push_back(double(count * (group / own * taken + std::min(group % own, taken))));
        rows[from] = randomValues(size_t(given * cols), unsigned(from + 1), 1, type);
        std::fill(rows[from].begin() + int64_t(offsets[from].back()) * cols, rows[from].end(), 0.0);
      }
      int64_t row = 0;
      for (int64_t group = rank * own; group < (rank + 1) * own; ++group) {
        begins.push_back(double(row));
        for (int64_t from : {0, 1})
          for (int64_t i = int64_t(offsets[from][size_t(group)]); i < int64_t(offsets[from][size_t(group) + 1]); ++i, ++row)
            std::copy_n(rows[from].begin() + i * cols, cols, expected.begin() + row * cols);
      }
      begins.push_back(double(row));
      auto describe = [&](Call &call) {
        call.in(context).give("offsets", MG_I32, offsets[rank]).set("given", given).set("received", received).set("cols", cols);
        call.set("groups", groups).set("ranks", 2).set("axis", axis);
      };
      Call forth = MG_CALL(mg_exchange_rows), back = MG_CALL(mg_return_rows);
      describe(forth), describe(back);
      forth.give("rows", type, rows[rank]).poisoned("mine", type, expected.size()).poisoned("own_offsets", MG_I32, begins.size());
      ASSERT_EQ(forth.run(), "");
      EXPECT_EQ(forth.read("own_offsets"), begins) << own << " groups, " << tokens << " tokens";
      EXPECT_EQ(forth.read("mine"), expected) << own << " groups, " << tokens << " tokens";
      back.give("mine", type, expected).poisoned("rows", type, rows[rank].size());
      ASSERT_EQ(back.run(), "");
      EXPECT_EQ(back.read("rows"), rows[rank]) << own << " groups, " << tokens << " tokens";
    }
}

TEST_F(CollectivesOfTwoRanks, ASweepIsSummedInPartsAndGathered) {
  // Whole, and the second half of what another axis has cut before.
  for (int64_t parts : {1, 2})
    for (int64_t part : {128, 1'000'064}) {
      int64_t count = 2 * part * parts, begin = (parts - 1) * 2 * part;
      context.axes[MG_DP].rank = parts - 1, context.axes[MG_DP].size = parts;
      auto give = [&](Call &call, MgType type, const Values &x) {
        call.in(context).give("x", type, x).set("count", count).set("ranks", 2).set("axis", axis).set("parts", parts);
        call.set("axes", parts > 1 ? 1 << MG_DP : 0);
        EXPECT_EQ(call.run(), "");
        return call.read("x");
      };
      Values mine = randomValues(size_t(count), unsigned(rank + 1), 1, MG_F32);
      Values other = randomValues(size_t(count), unsigned(2 - rank), 1, MG_F32);
      Call reduce = MG_CALL(mg_reduce_scatter_state);
      Values sums = give(reduce, MG_F32, mine);
      for (int64_t i = begin + rank * part, end = i + part; i < end; ++i)
        ASSERT_EQ(sums[size_t(i)], rounded(mine[size_t(i)] + other[size_t(i)], MG_F32)) << i;
      for (MgType type : {MG_BF16, MG_F32}) {
        Values whole = randomValues(size_t(count), 7, 1, type), given = whole;
        for (int64_t i = begin; i < count; ++i)
          given[size_t(i)] = (i - begin) / part == rank ? given[size_t(i)] : 0;
        Call gather = MG_CALL(mg_gather_state);
        EXPECT_EQ(give(gather, type, given), whole) << part;
      }
    }
}

TEST(CollectivesGpu, RanksWithTheSameCardAreRefused) {
  MG_NEEDS_CARD();
  ThreadRanks ranks(2);
  ranks.run([&](int64_t, const MgAxis &place) {
    require(cudaSetDevice(0));
    MgContext context = {};
    context.axes[axis] = place;
    EXPECT_NE(mg_target()->open(&context), 0);
    EXPECT_TRUE(std::strstr(mg_last_error(), "ranks 0 and 1 of axis tp have the same card")) << mg_last_error();
    mg_target()->close(&context);
  });
}

TEST(CollectivesGpu, APartIsTaken) {
  MG_NEEDS_CARD();
  for (auto [size, outer, inner] : {std::tuple<int64_t, int64_t, int64_t>{2, 1, 1}, {3, 5, 2}, {4, 2, 7}, {2, 4096, 96}})
    for (MgType type : {MG_BF16, MG_F32})
      for (int64_t rank : {int64_t(0), size - 1}) {
        Values whole = randomValues(size_t(size * outer * inner), 1, 1, type);
        Call call = MG_CALL(mg_take_part);
        call.give("x", type, whole).poisoned("y", type, size_t(outer * inner)).onAxis(axis, rank, size);
        call.set("outer", outer).set("inner", inner).set("ranks", size).set("axis", axis);
        ASSERT_EQ(call.run(), "");
        Values part = call.read("y");
        for (int64_t row = 0; row < outer; ++row)
          for (int64_t i = 0; i < inner; ++i)
            ASSERT_EQ(part[size_t(row * inner + i)], whole[size_t((row * size + rank) * inner + i)]);
      }
}

TEST(CollectivesGpu, SharedSquaresCountOnTheFirstRankAlone) {
  MG_NEEDS_CARD();
  constexpr int64_t count = 1'300'003;
  Values x = randomValues(count, 1, 1, MG_F32);
  constexpr double tp = 1 << MG_TP, ep = 1 << MG_EP, both = (1 << MG_TP) | (1 << MG_EP);
  // No range, all, ranges of one element, at the start, the end, odd places and across parts; over one axis, the other, and both.
  for (const Values &shared : {Values{},
                               {0, count, tp},
                               {0, 1, tp, 5, 9, ep, 4000, 4200, both, count - 1, count, tp},
                               {4096, 8192, both},
                               {3, 5, ep, 7, 8, tp, 9, 12, tp, 13, 650'001, ep, 650'007, 1'300'001, both}})
    for (int64_t rank : {0, 1, 2})
      for (int64_t other : {0, 1}) {
        const int64_t others = (rank ? int64_t(tp) : 0) | (other ? int64_t(ep) : 0);
        double expected = 0;
        for (int64_t i = 0; i < count; ++i) {
          bool counts = true;
          for (size_t range = 0; range < shared.size(); range += 3)
            if (shared[range] <= double(i) && double(i) < shared[range + 1])
              counts = !(int64_t(shared[range + 2]) & others);
          expected += counts ? x[size_t(i)] * x[size_t(i)] : 0;
        }
        Call call = MG_CALL(mg_square_sum_shared);
        call.give("x", MG_F32, x).give("shared", MG_I64, shared).poisoned("sum", MG_F64, 1).onAxis(MG_TP, rank, 3).onAxis(MG_EP, other, 2);
        call.set("count", count).set("ranges", int64_t(shared.size()) / 3).set("ranks", 1).set("axes", 0);
        ASSERT_EQ(call.run(), "");
        EXPECT_NEAR(call.read("sum")[0], expected, 1e-9 * count) << "rank " << rank << ", " << other;
      }
}

TEST(CollectivesGpu, AnAxisWithoutOtherRanksIsRefused) {
  MG_NEEDS_CARD();
  MgContext context = {};
  ASSERT_EQ(mg_target()->open(&context), 0) << mg_last_error();
  Call call = MG_CALL(mg_all_reduce);
  call.in(context).give("x", MG_F32, {1}).poisoned("y", MG_F32, 1).set("count", 1).set("axis", axis);
  EXPECT_NE(call.run().find("axis 1 has no other ranks"), std::string::npos) << mg_last_error();
  mg_target()->close(&context);
}
