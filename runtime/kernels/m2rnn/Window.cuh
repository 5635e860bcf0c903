// What the fast forward and backward share: a block has one tile, warps that own 16 rows of its state each, and a helper warp that
// brings a window of tokens to shared memory and carries its results away while the others work on another.
#pragma once
#include "runtime/cuda/Mma.cuh"
#include "runtime/kernels/m2rnn/M2rnn.cuh"

namespace megacc::runtime::cuda::m2rnn {

inline constexpr int row_warps = fast_key / 16, fast_threads = 32 * (row_warps + 1);

/// The operands of one window of tokens; those beyond the sequence are 0, with keep = 1 and take = 0. In fp32 for arithmetic, in bf16 for
/// products.
struct Window {
  alignas(16) float q[window][fast_key], k[window][fast_key], v[window][fast_value], d_y[window][fast_value];
  alignas(16) bf16 q_pairs[window][fast_key], k_pairs[window][fast_key], v_pairs[window][fast_value], d_y_pairs[window][fast_value];
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

/// How the helper warp brings a window: ask() starts the reads, deliver() writes what they brought; a barrier makes it visible.
class Courier {
public:
  /// d_y may be null.
  __device__ Courier(const Sizes &size, const Tile &tile, const Inputs<bf16> &in, const bf16 *d_y)
      : size(size), tile(tile), in(in), d_y(d_y), rate(expf(in.a_log[tile.head])), dt_bias(in.dt_bias[tile.head]) {}

  __device__ void ask(int from) {
    begin = from;
    int lane = threadIdx.x % 32;
#pragma unroll
    for (int i = 0; i < chunks; ++i) {
      int s = (i * 32 + lane) / (fast_key / 8), col = lane % (fast_key / 8) * 8;
      int64_t at = (tile.first + begin + s) * fast_key + col;
      q[i] = read(in.q + at, s);
      k[i] = read(in.k + at, s);
    }
    int s = lane / 2;
    int64_t at = ((tile.first + begin + s) * size.heads + tile.head) * fast_value + lane % 2 * 8;
    v = read(in.v + at, s);
    gradient = d_y ? read(d_y + at, s) : uint4();
    exists = lane < window && begin + lane < size.sequence;
    f = exists ? toFloat(in.f[(tile.first + begin + lane) * size.heads + tile.head]) : 0.0f;
    reset = exists && begin + lane > 0 && startsDocument(in.documents ? in.documents + tile.first : nullptr, begin + lane);
  }

  __device__ void deliver(Window &to) const {
    int lane = threadIdx.x % 32, half = lane % 2 * 8;
#pragma unroll
    for (int i = 0; i < chunks; ++i) {
      int s = (i * 32 + lane) / (fast_key / 8), col = lane % (fast_key / 8) * 8;
      put(&to.q[s][col], &to.q_pairs[s][col], q[i]);
      put(&to.k[s][col], &to.k_pairs[s][col], k[i]);
    }
    put(&to.v[lane / 2][half], &to.v_pairs[lane / 2][half], v);
    put(&to.d_y[lane / 2][half], &to.d_y_pairs[lane / 2][half], gradient);
    if (lane < window) {
      Decay decay(f, rate, dt_bias);
      to.gate[lane] = exists ? float2{decay.keep, decay.take} : float2{1, 0};
      to.exponent[lane] = {decay.exponent, decay.slope};
      to.reset[lane] = reset;
    }
  }

private:
  static constexpr int chunks = window * fast_key / 8 / 32;

  __device__ uint4 read(const bf16 *from, int s) const {
    uint4 raw = {};
    if (begin + s < size.sequence)
      raw = *reinterpret_cast<const uint4 *>(from);
    return raw;
  }
  __device__ static void put(float *wide, bf16 *pairs, uint4 raw) {
    Pack<bf16> pack = unpack(raw, bf16());
    *reinterpret_cast<float4 *>(wide) = {pack[0], pack[1], pack[2], pack[3]};
    *reinterpret_cast<float4 *>(wide + 4) = {pack[4], pack[5], pack[6], pack[7]};
    *reinterpret_cast<uint4 *>(pairs) = raw;
  }

  const Sizes &size;
  const Tile &tile;
  const Inputs<bf16> &in;
  const bf16 *d_y;
  float rate, dt_bias, f;
  int begin;
  bool exists, reset;
  uint4 q[chunks], k[chunks], v, gradient;
};

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

/// Where a lane finds its numbers of a window's first token: those of rows g and g + 8, of its columns, and of its pairs of columns.
struct LanePlace {
  __device__ LanePlace(const Window &from, int warp) {
    int g = threadIdx.x % 32 / 4, i = threadIdx.x % 4;
    q = &from.q[0][16 * warp + g];
    k = &from.k[0][16 * warp + g];
    v = reinterpret_cast<const float2 *>(&from.v[0][2 * i]);
    d_y = reinterpret_cast<const float2 *>(&from.d_y[0][2 * i]);
    v_pairs = reinterpret_cast<const uint32_t *>(&from.v_pairs[0][2 * i]);
    d_y_pairs = reinterpret_cast<const uint32_t *>(&from.d_y_pairs[0][2 * i]);
    q_pairs = reinterpret_cast<const uint32_t *>(&from.q_pairs[0][16 * warp + 2 * i]);
    k_pairs = reinterpret_cast<const uint32_t *>(&from.k_pairs[0][16 * warp + 2 * i]);
    gate = from.gate;
    reset = from.reset;
  }
  const float *q, *k;
  const float2 *v, *d_y, *gate;
  const uint32_t *v_pairs, *d_y_pairs, *q_pairs, *k_pairs;
  const int *reset;
};

/// What happens where a document starts.
__device__ inline void forget(Rows &rows) {
#pragma unroll
  for (int e = 0; e < 8; ++e)
    rows[e / 4][e % 4] = 0;
}

/// What a lane needs of one token to advance its rows. Reading beyond a window is harmless, its results are not used.
struct StepInputs {
  __device__ StepInputs(const LanePlace &from, int s) {
    k[0] = from.k[s * fast_key], k[1] = from.k[s * fast_key + 8];
    v[0] = from.v[s * fast_value / 2], v[1] = from.v[s * fast_value / 2 + 4];
    gate = from.gate[s];
  }
  float k[2];
  float2 v[2], gate;
};

/// z <- tanh(z), h <- keep h + take z; what does not wait for tanh comes first.
__device__ inline void settle(Rows &h, Rows &z, float2 gate) {
#pragma unroll
  for (int n = 0; n < 2; ++n)
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      float kept = __fmul_rn(gate.x, h[n][e]);
      z[n][e] = fastTanh(z[n][e]);
      h[n][e] = fmaf(gate.y, z[n][e], kept);
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
__device__ inline void oneRow(uint32_t (&a)[4], const uint32_t *pairs, int s) {
  int g = threadIdx.x % 32 / 4;
  uint32_t low = pairs[s * fast_key / 2], high = pairs[s * fast_key / 2 + 4];
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
