// The rotated B and C of a block that walks the chunks of a head.
#pragma once
#include "runtime/kernels/mamba3/CudaScan.cuh"

namespace megacc::cuda::mamba3 {

/// Matrices [rows, N] of one of B and C, or of `Both`, B by the first half of the block and C by the second. A thread turns neighbouring
/// rows of 8 channels and their partners; a warp copies those of its threads, in whole lines. Rotated channels are those of the first
/// warps, so that the others only add biases.
template <int N, int R, int Threads, bool Both> struct WalkKeys {
  static constexpr int lanes = N / 16, members = Both ? Threads / 2 : Threads, own = rows / (members / lanes), quarter = N / 4;
  static_assert(own == 1 || own == 2 || own == 4, "neighbouring rows of a thread are in one swizzled group of 8");
  // Whether a thread's rows are of one token: its rotation is copied. Those of R = 1 are read where they are used: there is no room.
  static constexpr bool one_token = R > 1 && R % own == 0;
  static constexpr int copied_rows = 32 / lanes; // of a warp, at once

  int which, j, first;   // what the thread turns
  const __half *from;    // what it copies of the chunk at token 0: its first piece of 8 channels,
  const uint2 *rotation; // and its first piece of rotations

  __device__ WalkKeys(const Shape &s, int b, int h, int which_alone = 0) {
    int within = int(threadIdx.x % (members / 2)), lane = int(threadIdx.x % 32);
    which = Both ? int(threadIdx.x / members) : which_alone;
    j = half() * quarter + within % (lanes / 2) * 8, first = within / (lanes / 2) * own;
    from = s.keyRows(which, b, h, 0) + copiedRow(lane) * N + half() * (N / 2) + lane % lanes * 8;
    rotation = s.rotation + ((s.token(b, h, 0) + turnToken(lane)) * s.A + turnChannel(lane)) / 2 + lane % 2 * 2;
  }

  /// Starts to copy the chunk at token `begin`, as it is, to where `place` will turn it; `turns` [2, Threads].
  __device__ void copy(const Shape &s, int begin, uint8_t *tile, uint4 *turns) const {
    int lane = anew(int(threadIdx.x % 32)), row = copiedRow(lane), piece = lane % lanes;
    uint32_t start = tileByte(row, (piece < lanes / 2 ? 0 : N / 2 - quarter) + half() * quarter + piece * 8, rows);
    const __half *keys = from + int64_t(begin * (R * N));
#pragma unroll
    for (int k = 0; k < 2 * own; ++k)
      copy16(tile + fromPlace(start, k * copied_rows, 0), keys + k * copied_rows * N, begin + (row + k * copied_rows) / R < s.sequence);
    if (one_token && turnChannel(lane) < s.A) {
      constexpr int next_token = 16 / (lanes / 2) * own / R;
      uint4 *to = turns + lane % 2 * Threads + threadIdx.x / 32 * 32 + lane / 2;
#pragma unroll
      for (int k = 0; k < 2; ++k)
        copy16(to + 16 * k, rotation + int64_t(begin + k * next_token) * (s.A / 2), begin + turnToken(lane) + k * next_token < s.sequence);
    }
  }
  /// Biases and turns what all threads of the warp have copied; `bias` [R, N] is the head's.
  __device__ void place(const Shape &s, int b, int h, int begin, const __half *bias, uint8_t *tile, const uint4 *turns) const {
    __syncwarp();
    if (j < s.A)
      placeRows<true>(s, b, h, begin, bias, tile, turns);
    else
      placeRows<false>(s, b, h, begin, bias, tile, turns);
  }

private:
  /// Channels of the first or of the second half of those with partners above them.
  __device__ static int half() { return int(threadIdx.x % members) / (members / 2); }
  /// First row of the warp, and the first that a lane copies a piece of.
  __device__ static unsigned warpRow() { return threadIdx.x % (members / 2) / 32 * (32 / (lanes / 2) * own); }
  __device__ static unsigned copiedRow(int lane) { return warpRow() + unsigned(lane) / lanes; }
  /// Token and channel of the first of the two rotations of which a lane copies a part: lane / 2 turns them.
  __device__ static unsigned turnToken(int lane) { return (warpRow() + unsigned(lane) / lanes * own) / R; }
  __device__ static int turnChannel(int lane) { return half() * quarter + lane / 2 % (lanes / 2) * 8; }

  /// Where the partners of row k's channels are.
  __device__ static uint32_t partner(uint32_t start, int k) {
    return N == 128 ? fromPlace(start, k, 0) + rows * 128 : fromPlace(start, k, 4);
  }

  template <bool Rotates>
  __device__ void placeRows(const Shape &s, int b, int h, int begin, const __half *bias, uint8_t *tile, const uint4 *copied_turns) const {
    uint32_t start = anew(tileByte(first, j, rows));
    uint4 turns[2] = {};
    if (Rotates && one_token)
      turns[0] = copied_turns[threadIdx.x], turns[1] = copied_turns[Threads + threadIdx.x];
#pragma unroll
    for (int k = 0; k < own; ++k) {
      const __half *row_bias = bias + (one_token ? unsigned(first) % R + k : unsigned(first + k) % R) * N + j;
      if (int t = unsigned(first + k) / R; Rotates && !one_token && begin + t < s.sequence) {
        const uint4 *angles = reinterpret_cast<const uint4 *>(s.rotation + (s.token(b, h, begin + t) * s.A + j) / 2);
        turns[0] = load<uint4>(angles), turns[1] = load<uint4>(angles + 1);
      }
      uint4 &low = *reinterpret_cast<uint4 *>(tile + fromPlace(start, k, 0)), &high = *reinterpret_cast<uint4 *>(tile + partner(start, k));
      uint4 keys[2] = {low, high}, out[2];
      uint4 biases[2] = {*reinterpret_cast<const uint4 *>(row_bias), *reinterpret_cast<const uint4 *>(row_bias + N / 2)};
      turnRow<Rotates>(keys, biases, turns, out);
      low = out[0], high = out[1];
    }
  }
};

} // namespace megacc::cuda::mamba3
