// What the fast forward and backward share: a block has one tile, four warps that own 16 rows of its state each, and a helper warp that
// brings a window of tokens to shared memory and carries its results away while the four work on another.
#pragma once
#include "runtime/cuda/Mma.cuh"
#include "runtime/kernels/m2rnn/M2rnn.cuh"

namespace megacc::runtime::cuda::m2rnn {

inline constexpr int row_warps = fast_key / 16, fast_threads = 32 * (row_warps + 1);

/// The operands of one window of tokens; those beyond the sequence are 0, with keep = 1 and take = 0.
struct Window {
  alignas(16) bf16 q[window][fast_key], k[window][fast_key];
  alignas(16) bf16 v[window][fast_value], d_y[window][fast_value];
  float2 gate[window];     // keep, take
  float2 exponent[window]; // exponent, slope
  int reset[window];       // whether a document starts here
};

/// Which tile a block has, and where its tokens and those of one window lie.
struct Tile {
  __device__ explicit Tile(const Sizes &size)
      : batch(blockIdx.x / size.heads), head(blockIdx.x % size.heads), first(int64_t(batch) * size.sequence) {}
  int batch, head;
  int64_t first;
};

/// The helper warp fetches a window; waitForCopies and a barrier make it visible. d_y may be null.
__device__ inline void fetch(Window &to, const Sizes &size, const Tile &tile, const Inputs<bf16> &in, const bf16 *d_y, int begin,
                             float rate, float dt_bias) {
  int lane = threadIdx.x % 32;
  float f = 0;
  bool reset = false;
  if (lane < window && begin + lane < size.sequence) {
    int64_t row = tile.first + begin + lane;
    f = toFloat(in.f[row * size.heads + tile.head]);
    reset = begin + lane > 0 && startsDocument(in.documents ? in.documents + tile.first : nullptr, begin + lane);
  }
#pragma unroll
  for (int i = 0; i < window * fast_key / 8 / 32; ++i) {
    int chunk = i * 32 + lane, s = chunk / (fast_key / 8), col = chunk % (fast_key / 8) * 8;
    bool is_there = begin + s < size.sequence;
    int64_t from = (tile.first + (is_there ? begin + s : 0)) * fast_key + col;
    copyLater(&to.q[s][col], in.q + from, is_there);
    copyLater(&to.k[s][col], in.k + from, is_there);
  }
  int s = lane / 2, col = lane % 2 * 8;
  bool is_there = begin + s < size.sequence;
  int64_t from = ((tile.first + (is_there ? begin + s : 0)) * size.heads + tile.head) * fast_value + col;
  copyLater(&to.v[s][col], in.v + from, is_there);
  if (d_y)
    copyLater(&to.d_y[s][col], d_y + from, is_there);
  if (lane < window) {
    Decay decay(f, rate, dt_bias);
    bool exists = begin + lane < size.sequence;
    to.gate[lane] = exists ? float2{decay.keep, decay.take} : float2{1, 0};
    to.exponent[lane] = {decay.exponent, decay.slope};
    to.reset[lane] = reset;
  }
}

/// The sum over the row warps of [window, value] numbers, to rows of `to`.
__device__ inline void storeColumns(bf16 *to, const float (&parts)[row_warps][window][fast_value], const Sizes &size, const Tile &tile,
                                    int begin) {
  int lane = threadIdx.x % 32, s = lane / 2, col = lane % 2 * 8;
  Pack<bf16> sum = {};
#pragma unroll
  for (int warp = 0; warp < row_warps; ++warp)
#pragma unroll
    for (int i = 0; i < 8; ++i)
      sum[i] += parts[warp][s][col + i];
  if (begin + s < size.sequence)
    *reinterpret_cast<uint4 *>(to + ((tile.first + begin + s) * size.heads + tile.head) * fast_value + col) = repack(sum);
}

/// W as the right operand of h W, in f16: |h| <= 1, where it has three bits more than bf16.
struct WeightFragments {
  __device__ explicit WeightFragments(const bf16 *weight) {
    int g = threadIdx.x % 32 / 4, i = threadIdx.x % 4;
    auto at = [&](int row, int col) { return toFloat(weight[row * fast_value + col]); };
#pragma unroll
    for (int n = 0; n < 2; ++n)
#pragma unroll
      for (int half = 0; half < 2; ++half)
        b[n][half] = packF16(at(2 * i + 8 * half, g + 8 * n), at(2 * i + 8 * half + 1, g + 8 * n));
  }
  uint32_t b[2][2];
};

/// A lane's part of 16 rows: state[n][e] with n the half of the columns, see Mma.cuh.
using Rows = float[2][4];

/// What a lane needs of one token to advance its rows.
struct StepInputs {
  __device__ StepInputs(const Window &from, int s, int warp) {
    int g = threadIdx.x % 32 / 4, i = threadIdx.x % 4;
    k[0] = toFloat(from.k[s][16 * warp + g]);
    k[1] = toFloat(from.k[s][16 * warp + g + 8]);
    v[0] = unpackBf16(*reinterpret_cast<const uint32_t *>(&from.v[s][2 * i]));
    v[1] = unpackBf16(*reinterpret_cast<const uint32_t *>(&from.v[s][2 * i + 8]));
    gate = from.gate[s];
  }
  float k[2];
  float2 v[2], gate;
};

/// z <- tanh(z), h <- keep h + take z
__device__ inline void settle(Rows &h, Rows &z, float2 gate) {
#pragma unroll
  for (int n = 0; n < 2; ++n)
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      z[n][e] = fastTanh(z[n][e]);
      h[n][e] = gate.x * h[n][e] + gate.y * z[n][e];
    }
}

/// A lane's rows in bf16, and in f16 for what lies within [-1, 1].
__device__ inline void packRows(uint32_t (&a)[4], const Rows &rows) {
  a[0] = packBf16(rows[0][0], rows[0][1]), a[1] = packBf16(rows[0][2], rows[0][3]);
  a[2] = packBf16(rows[1][0], rows[1][1]), a[3] = packBf16(rows[1][2], rows[1][3]);
}

__device__ inline void packRowsF16(uint32_t (&a)[4], const Rows &rows) {
  a[0] = packF16(rows[0][0], rows[0][1]), a[1] = packF16(rows[0][2], rows[0][3]);
  a[2] = packF16(rows[1][0], rows[1][1]), a[3] = packF16(rows[1][2], rows[1][3]);
}

/// z = h W + k v^T
__device__ inline void project(Rows &z, const Rows &h, const StepInputs &in, const WeightFragments &weight) {
  uint32_t a[4];
  packRowsF16(a, h);
#pragma unroll
  for (int n = 0; n < 2; ++n) {
    z[n][0] = in.k[0] * in.v[n].x, z[n][1] = in.k[0] * in.v[n].y;
    z[n][2] = in.k[1] * in.v[n].x, z[n][3] = in.k[1] * in.v[n].y;
    multiplyF16(z[n], a, weight.b[n][0], weight.b[n][1]);
  }
}

/// The left operand of which row s of 16 is one token's numbers of this warp's rows, the others 0: products over rows of different tokens
/// gather in one accumulator.
__device__ inline void oneRow(uint32_t (&a)[4], const bf16 *numbers, int s, int warp) {
  int g = threadIdx.x % 32 / 4, i = threadIdx.x % 4;
  uint32_t low = *reinterpret_cast<const uint32_t *>(numbers + 16 * warp + 2 * i);
  uint32_t high = *reinterpret_cast<const uint32_t *>(numbers + 16 * warp + 2 * i + 8);
  a[0] = s == g ? low : 0, a[1] = s == g + 8 ? low : 0;
  a[2] = s == g ? high : 0, a[3] = s == g + 8 ? high : 0;
}

__device__ inline void storeAccumulator(float (&to)[window][fast_value], const Rows &sum) {
  int g = threadIdx.x % 32 / 4, i = threadIdx.x % 4;
#pragma unroll
  for (int n = 0; n < 2; ++n) {
    *reinterpret_cast<float2 *>(&to[g][2 * i + 8 * n]) = {sum[n][0], sum[n][1]};
    *reinterpret_cast<float2 *>(&to[g + 8][2 * i + 8 * n]) = {sum[n][2], sum[n][3]};
  }
}

} // namespace megacc::runtime::cuda::m2rnn
