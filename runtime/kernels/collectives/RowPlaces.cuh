// Where rows sorted by group lie: with their tokens, on the way in one block for each rank, and with their groups. All of it follows from
// where every rank's groups begin, which only the card knows: blocks are as large as the most rows that a rank can have for another.
#pragma once
#include "runtime/cuda/Launching.cuh"

#include <algorithm>

namespace megacc::runtime::cuda {

struct RowPlaces {
  const int32_t *offsets;   // [ranks, groups + 1]: of every rank's tokens, where the rows of each group begin
  int64_t rank, ranks, own; // of the ranks' groups each has `own` that follow one another

  /// Where the rows of a rank's tokens begin that are for a group of rank `to`; of group `own` they end.
  __device__ int64_t first(int64_t from, int64_t to, int64_t group) const { return offsets[from * (ranks * own + 1) + to * own + group]; }

  /// Among the rows of this rank's tokens: the i-th of those for another rank, -1 behind the last one.
  __device__ int64_t withTokens(int64_t to, int64_t i) const {
    const int64_t row = first(rank, to, 0) + i;
    return row < first(rank, to, own) ? row : -1;
  }

  /// Rows of this rank's groups, which are sorted by group, then by rank, before those of a group and a rank; of group `own`: all.
  __device__ int64_t before(int64_t from, int64_t group) const {
    int64_t rows = 0;
    for (int64_t other = 0; other < ranks; ++other)
      rows += first(other, rank, group + (other < from)) - first(other, rank, 0);
    return rows;
  }

  /// Among the rows of this rank's groups: the i-th of those that another rank has for it, -1 behind the last one.
  __device__ int64_t withGroups(int64_t from, int64_t i) const {
    const int64_t row = first(from, rank, 0) + i;
    if (row >= first(from, rank, own))
      return -1;
    int64_t group = 0; // the last one that begins at the row or before it
    for (int64_t right = own; group + 1 < right;)
      if (const int64_t middle = (group + right) / 2; first(from, rank, middle) <= row)
        group = middle;
      else
        right = middle;
    return before(from, group) + row - first(from, rank, group);
  }

  /// Rows that there are, of this rank's groups or of its tokens.
  __device__ int64_t count(bool with_groups) const { return with_groups ? before(0, own) : first(rank, ranks, 0); }
};

constexpr int row_threads = 128;
constexpr int rows_of_block = row_threads / 32; // a warp moves a row

/// Rows [begin, begin + piece) of each rank's block, from or to their places; `words` of a row.
template <typename Word, bool with_groups, bool to_blocks>
__global__ void __launch_bounds__(row_threads)
    moveRows(Word *rows, Word *blocks, RowPlaces places, int64_t begin, int64_t piece, int64_t words) {
  const int64_t other = blockIdx.y, i = int64_t(blockIdx.x) * rows_of_block + threadIdx.x / 32;
  if (i >= piece)
    return;
  const int64_t row = with_groups ? places.withGroups(other, begin + i) : places.withTokens(other, begin + i);
  if (row < 0)
    return;
  Word *here = rows + row * words, *there = blocks + (other * piece + i) * words;
#pragma unroll 4
  for (int64_t word = threadIdx.x % 32; word < words; word += 32)
    if (to_blocks)
      there[word] = here[word];
    else
      here[word] = there[word];
}

/// Zeros behind the last row; where own_offsets is given, where this rank's groups begin.
template <typename Word, bool with_groups>
__global__ void __launch_bounds__(row_threads)
    finishRows(Word *rows, int32_t *own_offsets, RowPlaces places, int64_t capacity, int64_t words) {
  const int64_t thread = int64_t(blockIdx.x) * row_threads + threadIdx.x, threads = int64_t(gridDim.x) * row_threads;
  for (int64_t group = thread; own_offsets && group <= places.own; group += threads)
    own_offsets[group] = int32_t(places.before(0, group));
  clearTail<Word>(rows, places.count(with_groups), capacity, words, thread, threads);
}

/// Rows of a tensor; `words` of Word each.
template <typename Word> struct Rows {
  Word *data;
  int64_t capacity, words;
};

/// Launches moveRows.
template <bool with_groups, bool to_blocks, typename Word>
int32_t launchMove(const char *kernel, Rows<Word> rows, Word *blocks, const RowPlaces &places, int64_t begin, int64_t piece,
                   cudaStream_t stream) {
  const dim3 grid(unsigned(blocksOf(piece, rows_of_block)), unsigned(places.ranks));
  moveRows<Word, with_groups, to_blocks><<<grid, row_threads, 0, stream>>>(rows.data, blocks, places, begin, piece, rows.words);
  return launched(kernel);
}

/// Launches finishRows.
template <bool with_groups, typename Word>
int32_t launchFinish(const char *kernel, Rows<Word> rows, int32_t *own_offsets, const RowPlaces &places, cudaStream_t stream) {
  const int64_t blocks = std::min<int64_t>(blocksOf(std::max(rows.capacity * rows.words, places.own + 1), row_threads), 1024);
  finishRows<Word, with_groups><<<unsigned(blocks), row_threads, 0, stream>>>(rows.data, own_offsets, places, rows.capacity, rows.words);
  return launched(kernel);
}

} // namespace megacc::runtime::cuda
