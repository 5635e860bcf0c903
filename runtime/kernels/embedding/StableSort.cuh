// Positions of tokens in the order of (token, position): a stable radix sort of 8 bits per pass, whose integer sums give the same order
// always.
#pragma once
#include "runtime/cuda/Device.cuh"

#include <bit>

namespace megacc::runtime::cuda {

constexpr int sort_threads = 256, sort_digits = 256, sort_tile = 2048;

/// What a pass sorts: a token that is not in [0, vocab) counts as `vocab` and goes last.
struct SortKeys {
  const int32_t *keys, *values; // values: null in the first pass, where they are positions
  int64_t rows, vocab;
  __device__ uint32_t key(int64_t i) const {
    int64_t token = keys[i];
    return uint32_t(token < 0 || token > vocab ? vocab : token);
  }
};

/// counts[digit][tile]
static __global__ void countDigitsKernel(int32_t *counts, SortKeys from, int shift) {
  __shared__ int32_t mine[sort_digits];
  mine[threadIdx.x] = 0;
  __syncthreads();
  int64_t begin = int64_t(blockIdx.x) * sort_tile, end = min(from.rows, begin + sort_tile);
  for (int64_t i = begin + threadIdx.x; i < end; i += sort_threads)
    atomicAdd(mine + (from.key(i) >> shift & (sort_digits - 1)), 1);
  __syncthreads();
  counts[threadIdx.x * int64_t(gridDim.x) + blockIdx.x] = mine[threadIdx.x];
}

/// Sums of what stands before, in place: a thread has the tiles of a digit.
static __global__ void sumDigitsKernel(int32_t *counts, int64_t tiles) {
  __shared__ int32_t totals[sort_digits];
  int32_t *mine = counts + threadIdx.x * tiles, total = 0;
  for (int64_t i = 0; i < tiles; ++i)
    total += mine[i];
  totals[threadIdx.x] = total;
  __syncthreads();
  int32_t before = 0;
  for (int digit = 0; digit < int(threadIdx.x); ++digit)
    before += totals[digit];
  for (int64_t i = 0; i < tiles; ++i) {
    int32_t count = mine[i];
    mine[i] = before;
    before += count;
  }
}

/// A block moves a tile, 256 keys at a time, each behind the equal digits of earlier rounds, earlier warps and earlier lanes.
static __global__ void moveKernel(int32_t *keys, int32_t *values, SortKeys from, const int32_t *before, int shift) {
  constexpr int warps = sort_threads / 32;
  __shared__ int32_t next[sort_digits], counts[warps][sort_digits];
  next[threadIdx.x] = before[threadIdx.x * int64_t(gridDim.x) + blockIdx.x];
  int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  for (int64_t begin = int64_t(blockIdx.x) * sort_tile, end = min(from.rows, begin + sort_tile); begin < end; begin += sort_threads) {
    for (auto &count : counts)
      count[threadIdx.x] = 0;
    __syncthreads();
    int64_t i = begin + threadIdx.x;
    uint32_t key = i < end ? from.key(i) : 0, digit = i < end ? key >> shift & (sort_digits - 1) : sort_digits;
    uint32_t equal = __match_any_sync(~0u, digit), earlier = __popc(equal & ((1u << lane) - 1));
    if (i < end && earlier == 0)
      counts[warp][digit] = __popc(equal);
    __syncthreads();
    if (i < end) {
      int32_t place = next[digit] + earlier;
      for (int w = 0; w < warp; ++w)
        place += counts[w][digit];
      keys[place] = int32_t(key);
      values[place] = from.values ? from.values[i] : int32_t(i);
    }
    __syncthreads();
    for (auto &count : counts)
      next[threadIdx.x] += count[threadIdx.x];
  }
}

/// Sorts into keys[passes % 2] and values[passes % 2]; returns passes. counts: sort_digits a tile.
inline int sortTokens(const int32_t *tokens, int64_t rows, int64_t vocab, int32_t *const keys[2], int32_t *const values[2], int32_t *counts,
                      cudaStream_t stream) {
  int64_t tiles = blocksOf(rows, sort_tile);
  int passes = (std::bit_width(uint64_t(vocab)) + 7) / 8;
  SortKeys from{tokens, nullptr, rows, vocab};
  for (int pass = 0; pass < passes; ++pass) {
    int32_t *to = keys[(pass + 1) % 2], *moved = values[(pass + 1) % 2];
    countDigitsKernel<<<unsigned(tiles), sort_threads, 0, stream>>>(counts, from, 8 * pass);
    sumDigitsKernel<<<1, sort_digits, 0, stream>>>(counts, tiles);
    moveKernel<<<unsigned(tiles), sort_threads, 0, stream>>>(to, moved, from, counts, 8 * pass);
    from.keys = to, from.values = moved;
  }
  return passes;
}

} // namespace megacc::runtime::cuda
