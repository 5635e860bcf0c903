// What the Hopper kernels of the Mamba-3 scan share: sizes, the tables that preparation writes, and the rows of a chunk.
//
// A chunk is `chunk` tokens; row i of its 64-row matrices is token i / R, rank i % R. Q and K are the rotated output and input projections,
// U = x * psi. state is padded to N = 64 or 128, head_dim to P = 64 or 128 (with N = 128), rank to R = 1, 4 or 8, all with zeros. Inside
// the kernels the rotation always pairs channels (j, j + N/2): without mimo parameters the even channels come first, which no result can
// see. A document that starts inside a chunk cuts its decays, see Decays.
#pragma once
#include "runtime/core/Launch.h"
#include "runtime/core/Scratch.h"
#include "runtime/kernels/mamba3/Tiles.cuh"

#include <cuda_fp16.h>
#include <cuda_runtime.h>

namespace megacc::cuda::mamba3 {

/// Threads of a block that walks a window of a head: two warpgroups.
constexpr int block_threads = 256, block_warps = 8;
/// Tokens of a window, at most.
constexpr int max_window = 256;
/// Rows of a chunk's matrices.
constexpr int rows = 64;
/// Warps of a block that walks a whole sequence, and the spans of tokens into which it cuts it: one for each half of a warp.
constexpr int walk_warps = 32, walk_spans = 2 * walk_warps;
/// Heads of all batch rows from which on a block walks a head from its first token to its last: fewer would leave most of the card idle.
constexpr int whole_heads = 96;
/// Tokens whose norm gradients are summed together.
constexpr int token_tile = 16;

struct Parameter {
  const void *data = nullptr;
  bool is_bf16 = false;
  __device__ float at(int64_t i) const {
    return is_bf16 ? __bfloat162float(static_cast<const bf16 *>(data)[i]) : static_cast<const float *>(data)[i];
  }
};

struct Shape {
  int batch, sequence, heads, groups, rank, head_dim, state, angles, window;
  bool heavy, mimo, norm;
  float eps;
  const bf16 *projection;
  const int32_t *documents;
  Parameter dt_bias, skip, bias[2], norm_weight[2], mimo_parameters[3], out_norm; // keys: B, then C; mimo_x, mimo_z, mimo_o
  const float *cut;                                                               // [batch, sequence, heads], null without a state gate

  int N, P, R, A, chunk, chunks, windows, group_heads;
  bool packed; // neighbouring channels of B and C may be read four at a time
  bool paired; // neighbouring channels of x, z and y may be read and written two at a time
  int width, column_x, column_key[2], column_dt, column_decay, column_trap, column_angle; // of the projection; z is at 0

  // Written by prepare(), all padded.
  float *norm_weights;                   // [2, N]
  __half *biases;                        // [2, heads, R, N]
  float *psi, *zeta, *phi, *out_norms;   // [heads, R, P], the last [heads, P]; ones where there is no parameter
  __half *keys;                          // [2, batch, groups, sequence, R, N]: B and C after their norm, see keyPlace
  float *turn;                           // [batch, sequence, A]: tanh of the angles
  float *decay, *gamma, *weight, *delta; // [batch, heads, sequence]; decay in powers of two, -infinity where a document starts
  uint2 *rotation;                       // [batch, heads, sequence, A / 2]: for two angles the cosines, then the sines, fp16

  /// Windows that a block of the forward walks.
  int span() const { return batch * heads >= whole_heads ? windows : 1; }
  __host__ __device__ int64_t keyColumns() const { return int64_t(rank) * groups * state; }
  __device__ bool startsDocument(int b, int t) const {
    return t == 0 || (documents && documents[int64_t(b) * sequence + t] != documents[int64_t(b) * sequence + t - 1]);
  }
  __device__ const bf16 *row(int b, int t) const { return projection + (int64_t(b) * sequence + t) * width; }
  /// First token of a key table.
  __device__ const __half *keyRows(int which, int b, int h, int t) const {
    return keys + (((int64_t(which) * batch + b) * groups + h / group_heads) * sequence + t) * R * N;
  }
  __device__ int64_t token(int b, int h, int t) const { return (int64_t(b) * heads + h) * sequence + t; }
  /// Where channel n of B or C stands inside the kernels.
  __device__ int inside(int n) const {
    if (mimo)
      return n < state / 2 ? n : N / 2 + n - state / 2;
    return n % 2 ? N / 2 + n / 2 : n / 2;
  }
  /// The channel that stands at `place`, -1 for padding.
  __device__ int outside(int place) const {
    int half = place >= N / 2, j = place - half * (N / 2);
    if (j >= state / 2)
      return -1;
    return mimo ? half * (state / 2) + j : 2 * j + half;
  }
};

/// Sizes and operands of a launch; takes the tables of preparation from its scratch. Returns 0 or the status of an error.
int32_t readShape(const MgLaunch *launch, const char *kernel, const uint8_t *types, int first_parameter, Shape &shape);
void takeTables(Shape &shape, runtime::Scratch &scratch);

/// Reports the error of the last kernel launch, if there was one.
inline int32_t checkCuda(const char *what) {
  cudaError_t error = cudaGetLastError();
  return error == cudaSuccess ? 0 : mg_fail("%s: %s", what, cudaGetErrorString(error));
}

/// Writes the tables of Shape.
int32_t prepare(const Shape &shape, cudaStream_t stream);

/// One direction of the states: forward they accumulate K^T (leaving U), in reverse their adjoints accumulate Q^T (entering E).
struct StatePass {
  bool reverse = false;
  int first_batch = 0, batches = 1, first_head = 0, heads = 1;
  // Windows that a block walks; forward, more than one writes no totals.
  int span = 1;
  // Where every span starts: [batches, heads, windows, N, P], or exactly [batch, heads of the shape, windows, state, head_dim]; or zero.
  const float *start = nullptr;
  const bf16 *exact_start = nullptr;
  // What is written: the state before every chunk as tiles [batches, heads, chunks, N * P], and what is left there of the window's start;
  // the state after the window and the window's decay; the states before the windows, as exact_start.
  bf16 *chunk_states = nullptr;
  float *totals = nullptr, *decays = nullptr, *chunk_decays = nullptr;
  bf16 *exact_windows = nullptr;
  // Of the reverse direction: the gradient of y, or, with an output norm, E as tiles [batches, heads, chunks, rows * P].
  const bf16 *d_y = nullptr, *E = nullptr;
};
int32_t runStates(const Shape &shape, const StatePass &pass, cudaStream_t stream);

/// Totals of windows become the states entering them, [batches, heads, windows, N, P]. `exact` also gets them, see StatePass, or `tiles`
/// does instead, as tiles [batches, heads, windows, N * P].
int32_t scanWindows(const Shape &shape, const StatePass &pass, bf16 *exact, bf16 *tiles, cudaStream_t stream);

/// y from the states entering the windows; or, with d_y, E of the pass's heads instead (StatePass::E).
int32_t runOutputs(const Shape &shape, const StatePass &pass, bf16 *y, bf16 *E, cudaStream_t stream);

/// Floats that one chunk of one head adds to the gradients of its parameters: bias [2, R, N], psi, zeta, phi [R, P], norm [P], skip.
__host__ __device__ inline int parameterFloats(const Shape &s) { return 2 * s.R * s.N + 3 * s.R * s.P + s.P + 8; }

/// Gradients of some groups of one batch row from the states and adjoints of their chunks.
struct GradientPass {
  int b, first_group, groups;
  const bf16 *d_y;
  // Tiles [heads of the groups, chunks, N * P]: states entering the chunks; adjoints of those leaving them without the windows' share,
  // which is chunk_decays [heads of the groups, chunks] times the tiles [heads of the groups, windows, N * P].
  const bf16 *states, *adjoints, *window_adjoints;
  const float *chunk_decays;
  bf16 *d_projection;                  // z and x
  float *partial;                      // [heads of the groups, chunks, parameterFloats]
  float *d_weight, *d_gamma, *d_decay; // [batch, heads, sequence]
  float *d_turn;                       // [batch, heads, sequence, A]
  float *d_keys;                       // [2, batch, groups, sequence, R, N]
};
int32_t runGradients(const Shape &shape, const GradientPass &pass, cudaStream_t stream);

/// Where the key tables have channel n: the second and the third quarter change places, so that channels and partners of half a row are
/// neighbours.
template <int N> __device__ inline int keyPlace(int n) {
  int quarter = n / (N / 4);
  return quarter == 1 ? n + N / 4 : quarter == 2 ? n - N / 4 : n;
}

/// Calls body with the padded sizes as constants.
template <typename Body> int32_t dispatch(const Shape &s, Body &&body) {
  auto withRank = [&](auto n, auto p) {
    if (s.R == 1)
      return body(n, p, std::integral_constant<int, 1>());
    if (s.R == 4)
      return body(n, p, std::integral_constant<int, 4>());
    return body(n, p, std::integral_constant<int, 8>());
  };
  if (s.P == 128)
    return withRank(std::integral_constant<int, 128>(), std::integral_constant<int, 128>());
  if (s.N == 128)
    return withRank(std::integral_constant<int, 128>(), std::integral_constant<int, 64>());
  return withRank(std::integral_constant<int, 64>(), std::integral_constant<int, 64>());
}

/// Loads of what no block of the launch writes.
template <typename T> __device__ inline T load(const void *from) { return __ldg(static_cast<const T *>(from)); }
__device__ inline float power(float exponent) {
  float result;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(result) : "f"(exponent));
  return result;
}
__device__ inline float sigmoid(float v) {
  float tanh;
  asm("tanh.approx.f32 %0, %1;" : "=f"(tanh) : "f"(0.5f * v));
  return fmaf(0.5f, tanh, 0.5f);
}

/// Decays of a chunk, in shared memory. Tokens past the sequence have weight 0 and no decay.
template <int Chunk> struct Decays {
  float sum[Chunk];                                        // log2 of the decay from the chunk's start, or from the document's
  float weight[Chunk], gamma[Chunk];                       // s and gamma of the one-term form
  float entering[Chunk], remaining[Chunk], leaving[Chunk]; // decay up to a token; from it to the end; the latter times s
  int document[Chunk];                                     // documents that started in the chunk up to the token
  float end[4];                                            // decay over the chunk

  /// What token u's input weighs in token t's output.
  __device__ float pair(int t, int u) const { return document[t] == document[u] ? power(sum[t] - sum[u]) : 0.0f; }
  __device__ float mask(int t, int u) const { return t == u ? gamma[t] : t > u ? pair(t, u) * weight[u] : 0.0f; }

  /// Fills them for the chunk at token `begin`; called by one warp.
  __device__ void fill(const Shape &s, int b, int h, int begin) {
    int lane = threadIdx.x & 31;
    float sum_before = 0;
    int documents_before = 0;
#pragma unroll
    for (int first = 0; first < Chunk; first += 32) {
      int i = first + lane, t = begin + i;
      bool valid = i < Chunk && t < s.sequence;
      int64_t at = s.token(b, h, valid ? t : 0);
      float from = valid ? load<float>(s.decay + at) : 0.0f;
      float token_weight = valid ? load<float>(s.weight + at) : 0.0f, token_gamma = valid ? load<float>(s.gamma + at) : 0.0f;
      int starts = isinf(from);
      float total = starts ? 0.0f : from;
#pragma unroll
      for (int offset = 1; offset < (Chunk < 32 ? Chunk : 32); offset <<= 1) {
        float other = __shfl_up_sync(0xffffffff, total, offset);
        int other_starts = __shfl_up_sync(0xffffffff, starts, offset);
        if (lane >= offset)
          total += other, starts += other_starts;
      }
      total += sum_before, starts += documents_before;
      int last = (Chunk < 32 ? Chunk : 32) - 1;
      sum_before = __shfl_sync(0xffffffff, total, last), documents_before = __shfl_sync(0xffffffff, starts, last);
      if (i < Chunk)
        sum[i] = total, document[i] = starts, weight[i] = token_weight, gamma[i] = token_gamma;
    }
    __syncwarp();
    for (int i = lane; i < Chunk; i += 32) {
      remaining[i] = document[i] == documents_before ? power(sum_before - sum[i]) : 0.0f;
      entering[i] = document[i] == 0 ? power(sum[i]) : 0.0f;
      leaving[i] = remaining[i] * weight[i];
    }
    if (lane == 0)
      end[0] = documents_before ? 0.0f : power(sum_before);
  }
};

/// What an input weighs in an output of its chunk, for every pair of tokens: a table where it is small, else computed anew.
template <int R> struct PairWeights {
  static constexpr int chunk = rows / R;
  float2 table[R > 1 ? chunk : 1][R > 1 ? chunk + 1 : 1]; // mask and pair; rows of tokens start at other banks

  __device__ void fill(const Decays<chunk> &decays) {
    if constexpr (R > 1)
      if (threadIdx.x < chunk * chunk) {
        int t = threadIdx.x / chunk, u = threadIdx.x % chunk;
        float pair = t > u ? decays.pair(t, u) : 0.0f;
        table[t][u] = {t == u ? decays.gamma[t] : pair * decays.weight[u], pair};
      }
  }
  /// Decay times weight, or gamma of one token; and the decay alone, 0 unless t > u.
  __device__ float2 at(const Decays<chunk> &decays, int t, int u) const {
    if constexpr (R > 1)
      return table[t][u];
    float pair = t > u ? decays.pair(t, u) : 0.0f;
    return {t == u ? decays.gamma[t] : pair * decays.weight[u], pair};
  }
};

/// Copies 16 bytes from global to shared memory, or zeros; waitCopies() waits for all but the last `Pending` groups of copies.
__device__ inline void copy16(void *to, const void *from, bool valid = true) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(sharedAddress(to)), "l"(from), "r"(valid ? 16 : 0) : "memory");
}
__device__ inline void commitCopies() { asm volatile("cp.async.commit_group;" ::: "memory"); }
template <int Pending = 0> __device__ inline void waitCopies() { asm volatile("cp.async.wait_group %0;" ::"n"(Pending) : "memory"); }

/// Eight channels of a row of B or C and their partners: bias, rotation, bf16. `turn`: cosines and sines of two channels each, fp16.
template <bool Rotates>
__device__ inline void turnRow(const uint4 (&keys)[2], const uint4 (&bias)[2], const uint4 (&turn)[2], uint4 (&out)[2]) {
#pragma unroll
  for (int pair = 0; pair < 4; ++pair) {
    __half2 low = __hadd2(reinterpret_cast<const __half2 *>(&keys[0])[pair], reinterpret_cast<const __half2 *>(&bias[0])[pair]),
            high = __hadd2(reinterpret_cast<const __half2 *>(&keys[1])[pair], reinterpret_cast<const __half2 *>(&bias[1])[pair]);
    if constexpr (Rotates) {
      __half2 cosine = reinterpret_cast<const __half2 *>(turn)[2 * pair], sine = reinterpret_cast<const __half2 *>(turn)[2 * pair + 1];
      __half2 kept = low;
      low = __hfma2(__hneg2(high), sine, __hmul2(low, cosine));
      high = __hfma2(kept, sine, __hmul2(high, cosine));
    }
    reinterpret_cast<__nv_bfloat162 *>(&out[0])[pair] = __float22bfloat162_rn(__half22float2(low));
    reinterpret_cast<__nv_bfloat162 *>(&out[1])[pair] = __float22bfloat162_rn(__half22float2(high));
  }
}

/// How a block makes the matrices [rows, N] of rotated B and C of a chunk: one of them, or `Both`, B in its first half and C in its second.
/// A thread owns neighbouring rows, mostly of one token, and of each 8 channels and their partners: it copies and turns them by itself.
template <int N, int R, int Threads, bool Both> struct KeyRows {
  static constexpr int lanes = N / 16, members = Both ? Threads / 2 : Threads, units = members / lanes,
                       own = units < rows ? rows / units : 1;
  static_assert(units <= rows, "every thread has a row");
  int which, j, first;

  __device__ explicit KeyRows(int which_alone = 0) {
    which = Both ? int(threadIdx.x) / members : which_alone;
    j = int(threadIdx.x) % members % lanes * 8, first = int(threadIdx.x) % members / lanes * own;
  }
  /// The rows as they are, in tiles where they will be turned.
  __device__ void copy(const Shape &s, int b, int h, int begin, uint8_t *tile) const {
    const __half *keys = s.keyRows(which, b, h, begin) + first * N;
    int low = keyPlace<N>(j), high = keyPlace<N>(N / 2 + j);
#pragma unroll
    for (int k = 0; k < own; ++k) {
      bool valid = begin + (first + k) / R < s.sequence;
      copy16(tile + tileByte(first + k, j, rows), valid ? keys + k * N + low : s.keys, valid);
      copy16(tile + tileByte(first + k, N / 2 + j, rows), valid ? keys + k * N + high : s.keys, valid);
    }
  }
  __device__ const uint2 *rotationOf(const Shape &s, int b, int h, int begin) const {
    return s.rotation + ((s.token(b, h, begin) + first / R) * s.A + j) / 2;
  }
  /// The rotation of the thread's token, for R > 1, to turns[0] and turns[stride].
  __device__ void copyTurns(const Shape &s, int b, int h, int begin, uint4 *turns, int stride) const {
    if (j < s.A && begin + first / R < s.sequence) {
      const uint4 *from = reinterpret_cast<const uint4 *>(rotationOf(s, b, h, begin));
      copy16(turns, from), copy16(turns + stride, from + 1);
    }
  }
  /// Cosines 1 and sines 0, for the channels that are never rotated.
  __device__ static uint4 unturned() { return {0x3c003c00, 0, 0x3c003c00, 0}; }
  __device__ void clearTurns(const Shape &s, uint4 *turns, int stride) const {
    if (j >= s.A)
      turns[0] = turns[stride] = unturned();
  }
  /// tile = rotated keys from the tile `raw`, which may be the same; `bias` [R, N] is the head's, turns what copyTurns() copied, if it did.
  __device__ void turn(const Shape &s, int b, int h, int begin, const __half *bias, const uint8_t *raw, uint8_t *tile,
                       const uint4 *turns = nullptr, int stride = 0) const {
    const uint2 *rotation = rotationOf(s, b, h, begin);
    uint4 turn[2] = {unturned(), unturned()};
    if (turns)
      turn[0] = turns[0], turn[1] = turns[stride];
#pragma unroll(own > 2 ? 2 : own)
    for (int k = 0; k < own; ++k) {
      int i = first + k, t = i / R, r = i % R;
      uint4 out[2] = {};
      if (begin + t < s.sequence) {
        uint4 keys[2] = {*reinterpret_cast<const uint4 *>(raw + tileByte(i, j, rows)),
                         *reinterpret_cast<const uint4 *>(raw + tileByte(i, N / 2 + j, rows))};
        uint4 biases[2] = {*reinterpret_cast<const uint4 *>(bias + r * N + j), *reinterpret_cast<const uint4 *>(bias + r * N + N / 2 + j)};
        if (!turns && j < s.A && (k == 0 || k % R == 0)) {
          const uint4 *from = reinterpret_cast<const uint4 *>(rotation + (t - first / R) * s.A / 2);
          turn[0] = load<uint4>(from), turn[1] = load<uint4>(from + 1);
        }
        turnRow<true>(keys, biases, turn, out);
      }
      *reinterpret_cast<uint4 *>(tile + tileByte(i, j, rows)) = out[0];
      *reinterpret_cast<uint4 *>(tile + tileByte(i, N / 2 + j, rows)) = out[1];
    }
  }
};

/// What a block reads again and again of one head, in shared memory.
template <int N, int P, int R> struct HeadTables {
  float psi[R * P], zeta[R * P], phi[R * P];
  __half bias[2][R * N];

  /// Starts the copies of the whole block.
  __device__ void copy(const Shape &s, int h) {
    for (int i = threadIdx.x * 4; i < R * P; i += blockDim.x * 4)
      copy16(psi + i, s.psi + h * R * P + i), copy16(zeta + i, s.zeta + h * R * P + i), copy16(phi + i, s.phi + h * R * P + i);
    for (int i = threadIdx.x * 8; i < R * N; i += blockDim.x * 8)
      for (int which : {0, 1})
        copy16(bias[which] + i, s.biases + (int64_t(which) * s.heads + h) * R * N + i);
  }
};

/// Channels of a vector of B or C, 0 where there is none (-1); `packed`: they are neighbours, suitably aligned.
template <int Count>
__device__ inline void readChannels(bool packed, const bf16 *from, const int (&channel)[Count], float (&values)[Count]) {
  if (packed) {
    uint32_t raw[Count / 2];
    if constexpr (Count == 4) {
      uint2 both = load<uint2>(from + channel[0]);
      raw[0] = both.x, raw[1] = both.y;
    } else {
      raw[0] = load<uint32_t>(from + channel[0]);
    }
#pragma unroll
    for (int k = 0; k < Count; k += 2) {
      float2 pair = __bfloat1622float2(*reinterpret_cast<const __nv_bfloat162 *>(&raw[k / 2]));
      values[k] = pair.x, values[k + 1] = pair.y;
    }
    return;
  }
#pragma unroll
  for (int k = 0; k < Count; ++k)
    values[k] = channel[k] >= 0 ? __bfloat162float(from[channel[k]]) : 0.0f;
}

/// Two neighbouring channels of a row of head_dim numbers, as loaded; zero past its end.
__device__ inline uint32_t readPair(const Shape &s, const bf16 *from, int p) {
  if (s.paired)
    return p < s.head_dim ? load<uint32_t>(from + p) : 0;
  uint32_t low = p < s.head_dim ? load<uint16_t>(from + p) : 0, high = p + 1 < s.head_dim ? load<uint16_t>(from + p + 1) : 0;
  return low | high << 16;
}
__device__ inline float2 widen(uint32_t pair) { return __bfloat1622float2(*reinterpret_cast<const __nv_bfloat162 *>(&pair)); }
__device__ inline void writePair(const Shape &s, bf16 *to, int p, float a, float b) {
  if (p + 1 < s.head_dim && s.paired) {
    *reinterpret_cast<__nv_bfloat162 *>(to + p) = __floats2bfloat162_rn(a, b);
    return;
  }
  if (p < s.head_dim)
    to[p] = __float2bfloat16(a);
  if (p + 1 < s.head_dim)
    to[p + 1] = __float2bfloat16(b);
}

/// A thread's part of a head's state, an accumulator [N, P] from (first_row, first_column) on, where a pass starts; `index` counts the
/// heads of the pass.
template <int N, int P, int Columns>
__device__ inline void readStart(const Shape &s, const StatePass &pass, int64_t index, int b, int h, int window, int first_row,
                                 int first_column, float (&state)[Columns]) {
#pragma unroll
  for (int i = 0; i < Columns; i += 2) {
    int n = first_row + (i & 2) * 4, p = first_column + i / 4 * 8;
    if (pass.start) {
      float2 value = load<float2>(pass.start + (index * s.windows + window) * N * P + n * P + p);
      state[i] = value.x, state[i + 1] = value.y;
    } else if (pass.exact_start) {
      int channel = s.outside(n);
      const bf16 *from = pass.exact_start + ((int64_t(b) * s.heads + h) * s.windows + window) * s.state * s.head_dim;
      for (int e = 0; e < 2; ++e)
        if (channel >= 0 && p + e < s.head_dim)
          state[i + e] = __bfloat162float(from[channel * s.head_dim + p + e]);
    }
  }
}
/// The same part as the state before a window.
template <int Columns>
__device__ inline void writeWindow(const Shape &s, const StatePass &pass, int b, int h, int window, int first_row, int first_column,
                                   const float (&state)[Columns]) {
  bf16 *to = pass.exact_windows + ((int64_t(b) * s.heads + h) * s.windows + window) * s.state * s.head_dim;
#pragma unroll
  for (int i = 0; i < Columns; i += 2)
    if (int channel = s.outside(first_row + (i & 2) * 4); channel >= 0)
      writePair(s, to + channel * s.head_dim, first_column + i / 4 * 8, state[i], state[i + 1]);
}

/// What a warp reads of its tokens of a chunk: warps take tokens, lanes pairs of channels.
template <int P, int R, int Threads> struct TokenRows {
  static constexpr int warps = Threads / 32, chunk = rows / R, tokens = (chunk + warps - 1) / warps, pairs = P / 64;
  uint32_t values[tokens][pairs];

  /// Rows of a tensor with `stride` elements per token; `from` is channel 0 of token 0 of the batch row and head.
  __device__ void read(const Shape &s, const bf16 *from, int stride, int begin) {
    readFrom(s, from + int64_t(begin + token(0)) * stride, stride, begin);
  }
  /// The same, `from` is channel 0 of this warp's first token of the chunk.
  __device__ void readFrom(const Shape &s, const bf16 *from, int stride, int begin) {
#pragma unroll
    for (int k = 0; k < tokens; ++k) {
      int t = token(k);
      bool valid = (chunk % warps == 0 || t < chunk) && begin + t < s.sequence;
#pragma unroll
      for (int pair = 0; pair < pairs; ++pair)
        values[k][pair] = valid ? readPair(s, from + int64_t(k * warps) * stride, channel(pair)) : 0;
    }
  }
  __device__ static int token(int k) { return int(threadIdx.x / 32) + k * warps; }
  __device__ static int channel(int pair) { return int(threadIdx.x & 31) * 2 + pair * 64; }
};

/// Matrices [rows, P] of U and of leaving * U, or one of them, from rows of x and a head's psi.
template <bool Plain, bool Leaving, int P, int R, int Threads>
__device__ inline void placeInputs(const TokenRows<P, R, Threads> &x, const float *psi_rows, const float *leaving, uint8_t *U,
                                   uint8_t *leaving_U) {
  using Rows = TokenRows<P, R, Threads>;
  float factors[Rows::tokens];
#pragma unroll
  for (int k = 0; Leaving && k < Rows::tokens; ++k)
    factors[k] = leaving[Rows::chunk % Rows::warps ? min(Rows::token(k), Rows::chunk - 1) : Rows::token(k)];
#pragma unroll
  for (int pair = 0; pair < Rows::pairs; ++pair) {
    int p = Rows::channel(pair);
    uint32_t first = anew(tileByte(Rows::token(0) * R, p, rows));
#pragma unroll
    for (int r = 0; r < R; ++r) {
      uint32_t place = fromPlace(first, r, 0);
      float2 psi = *reinterpret_cast<const float2 *>(psi_rows + r * P + p);
#pragma unroll
      for (int k = 0; k < Rows::tokens; ++k) {
        if (Rows::chunk % Rows::warps && Rows::token(k) >= Rows::chunk)
          break;
        uint32_t to = place + k * Rows::warps * R * 128;
        float2 value = widen(x.values[k][pair]);
        float a = value.x * psi.x, c = value.y * psi.y;
        if constexpr (Plain)
          *reinterpret_cast<__nv_bfloat162 *>(U + to) = __floats2bfloat162_rn(a, c);
        if constexpr (Leaving)
          *reinterpret_cast<__nv_bfloat162 *>(leaving_U + to) = __floats2bfloat162_rn(a * factors[k], c * factors[k]);
      }
    }
  }
}

} // namespace megacc::cuda::mamba3
