// The places of rows on the way between ranks, those of all ranks on one card; what NCCL moves is copied here.
#include "runtime/kernels/GpuTestSupport.h"
#include "runtime/kernels/collectives/RowPlaces.cuh"

#include <gtest/gtest.h>

using namespace megacc::runtime::cuda;
using megacc::gpu::require;

namespace {

/// Memory of the card, with contents.
template <typename T> class Buffer {
public:
  explicit Buffer(const std::vector<T> &contents) : size(contents.size()) {
    require(cudaMalloc(reinterpret_cast<void **>(&data), std::max<size_t>(1, size) * sizeof(T)));
    require(cudaMemcpy(data, contents.data(), size * sizeof(T), cudaMemcpyHostToDevice));
  }
  Buffer(Buffer &&other) noexcept : data(std::exchange(other.data, nullptr)), size(other.size) {}
  ~Buffer() { cudaFree(data); }
  std::vector<T> read() const {
    std::vector<T> contents(size);
    require(cudaMemcpy(contents.data(), data, size * sizeof(T), cudaMemcpyDeviceToHost));
    return contents;
  }

  T *data = nullptr;
  size_t size;
};

struct Case {
  int64_t ranks, own, tokens, kept, words, drop, piece; // drop: every so manieth row is no one's; 0: none
};

/// Rows of each rank, sorted by group, of which every word says whose it is; zeros behind them.
struct Tokens {
  std::vector<std::vector<int32_t>> offsets;
  std::vector<std::vector<uint32_t>> rows;
};

/// On the last rank all tokens have the same groups, elsewhere each has its own.
Tokens makeTokens(const Case &c) {
  Tokens made;
  const int64_t groups = c.ranks * c.own;
  for (int64_t rank = 0; rank < c.ranks; ++rank) {
    std::vector<std::vector<uint32_t>> of_group{size_t(groups)};
    for (int64_t t = 0; t < c.tokens; ++t)
      for (int64_t k = 0; k < c.kept; ++k)
        if (!c.drop || (t * c.kept + k) % c.drop)
          of_group[size_t(((rank == c.ranks - 1 ? 0 : t * 5 + rank) + k) % groups)].push_back(
              uint32_t(1 + (rank * c.tokens + t) * c.kept + k));
    std::vector<int32_t> offsets;
    std::vector<uint32_t> rows;
    for (const std::vector<uint32_t> &group : of_group) {
      offsets.push_back(int32_t(int64_t(rows.size()) / c.words));
      for (uint32_t name : group)
        for (int64_t word = 0; word < c.words; ++word)
          rows.push_back(name * 1000 + uint32_t(word));
    }
    offsets.push_back(int32_t(int64_t(rows.size()) / c.words));
    rows.resize(size_t(c.tokens * c.kept * c.words));
    made.offsets.push_back(offsets), made.rows.push_back(rows);
  }
  return made;
}

/// What all ranks do, forth or back, in blocks of `piece` rows, as exchange_rows.cu does it.
template <bool forth>
void exchange(const Case &c, std::vector<Buffer<uint32_t>> &tokens, std::vector<Buffer<uint32_t>> &groups,
              const std::vector<Buffer<int32_t>> &own_offsets, const int32_t *offsets) {
  const int64_t most = std::min(c.kept, c.own), block = c.tokens * most, given = c.tokens * c.kept, received = c.ranks * block;
  auto with = [&](std::vector<Buffer<uint32_t>> &of, int64_t rank, int64_t capacity) {
    return Rows<uint32_t>{of[size_t(rank)].data, capacity, c.words};
  };
  auto of_tokens = [&](int64_t rank) { return with(tokens, rank, given); };
  auto of_groups = [&](int64_t rank) { return with(groups, rank, received); };
  auto places = [&](int64_t rank) { return RowPlaces{offsets, rank, c.ranks, c.own}; };
  for (int64_t begin = 0; begin < block; begin += c.piece) {
    const int64_t here = std::min(c.piece, block - begin), words = here * c.words;
    std::vector<Buffer<uint32_t>> give, taken;
    for (int64_t rank = 0; rank < c.ranks; ++rank)
      for (auto *blocks : {&give, &taken})
        blocks->emplace_back(std::vector<uint32_t>(size_t(c.ranks * words), 0xffffffffu));
    for (int64_t rank = 0; rank < c.ranks; ++rank)
      ASSERT_EQ((launchMove<!forth, true>("pack", forth ? of_tokens(rank) : of_groups(rank), give[size_t(rank)].data, places(rank), begin,
                                          here, nullptr)),
                0)
          << mg_last_error();
    for (int64_t from = 0; from < c.ranks; ++from)
      for (int64_t to = 0; to < c.ranks; ++to)
        require(cudaMemcpy(taken[size_t(to)].data + from * words, give[size_t(from)].data + to * words, size_t(words) * sizeof(uint32_t),
                           cudaMemcpyDeviceToDevice));
    for (int64_t rank = 0; rank < c.ranks; ++rank)
      ASSERT_EQ((launchMove<forth, false>("place", forth ? of_groups(rank) : of_tokens(rank), taken[size_t(rank)].data, places(rank), begin,
                                          here, nullptr)),
                0)
          << mg_last_error();
  }
  for (int64_t rank = 0; rank < c.ranks; ++rank)
    ASSERT_EQ((launchFinish<forth>("finish", forth ? of_groups(rank) : of_tokens(rank), forth ? own_offsets[size_t(rank)].data : nullptr,
                                   places(rank), nullptr)),
              0)
        << mg_last_error();
}

} // namespace

TEST(ExchangeRowsGpu, RowsGoToTheirGroupsAndComeBack) {
  if (!megacc::gpu::hasCard())
    GTEST_SKIP() << "this machine has no card";
  // One token; several pieces, the last one short; groups without rows; ranks of one group; rows that are no one's.
  for (const Case &c : {Case{2, 1, 1, 1, 1, 0, 1},
                        {2, 4, 5, 2, 3, 0, 4},
                        {3, 2, 7, 3, 2, 4, 5},
                        {4, 2, 1, 2, 5, 0, 100},
                        {2, 8, 300, 6, 448, 3, 256},
                        {8, 3, 65, 4, 33, 7, 64}}) {
    const Tokens made = makeTokens(c);
    const int64_t received = c.ranks * c.tokens * std::min(c.kept, c.own);
    std::vector<int32_t> all;
    std::vector<Buffer<uint32_t>> tokens, groups, back;
    std::vector<Buffer<int32_t>> own_offsets;
    for (int64_t rank = 0; rank < c.ranks; ++rank) {
      all.insert(all.end(), made.offsets[size_t(rank)].begin(), made.offsets[size_t(rank)].end());
      tokens.emplace_back(made.rows[size_t(rank)]);
      groups.emplace_back(std::vector<uint32_t>(size_t(received * c.words), 0xffffffffu));
      back.emplace_back(std::vector<uint32_t>(made.rows[size_t(rank)].size(), 0xffffffffu));
      own_offsets.emplace_back(std::vector<int32_t>(size_t(c.own + 1), -1));
    }
    const Buffer<int32_t> offsets(all);
    exchange<true>(c, tokens, groups, own_offsets, offsets.data);
    exchange<false>(c, back, groups, own_offsets, offsets.data);
    for (int64_t rank = 0; rank < c.ranks; ++rank) {
      std::vector<uint32_t> expected;
      std::vector<int32_t> begins;
      for (int64_t group = rank * c.own; group < (rank + 1) * c.own; ++group) {
        begins.push_back(int32_t(int64_t(expected.size()) / c.words));
        for (int64_t from = 0; from < c.ranks; ++from)
          expected.insert(expected.end(), made.rows[size_t(from)].begin() + made.offsets[size_t(from)][size_t(group)] * c.words,
                          made.rows[size_t(from)].begin() + made.offsets[size_t(from)][size_t(group) + 1] * c.words);
      }
      begins.push_back(int32_t(int64_t(expected.size()) / c.words));
      expected.resize(size_t(received * c.words));
      EXPECT_EQ(own_offsets[size_t(rank)].read(), begins) << c.ranks << " ranks";
      EXPECT_EQ(groups[size_t(rank)].read(), expected) << c.ranks << " ranks";
      EXPECT_EQ(back[size_t(rank)].read(), made.rows[size_t(rank)]) << c.ranks << " ranks";
    }
  }
}
