// Parts of the block that computes the gradients of a chunk, see gradients.cu: its shared memory, the output side, the tokens' scalars.
#pragma once
#include "runtime/kernels/mamba3/CudaScan.cuh"

namespace megacc::cuda::mamba3 {

/// Threads of a block: four warpgroups. The first two have the products of rows with rows, the others those with channels of P, then the
/// first two dQ and the others dK.
constexpr int threads = 512, warps = threads / 32;

template <int N, int P, int R> struct GradientMemory {
  uint8_t keys[P == 64 ? 2 : 0][rows * N * 2]; // B and C before biases and rotation, the same for all heads
  uint8_t Q[rows * N * 2], K[rows * N * 2], H[N * P * 2], Gamma[N * P * 2], U[rows * P * 2];
  uint8_t E[rows * P * 2], M[rows * rows * 2], F[rows * rows * 2]; // with `norm` together also the sums of biases
  float norm[warps][128];                                          // the terms of the norm's gradient
  float Y[rows][P + 8];                                            // then the terms of d_phi, then dU
  float d_gate[rows][P + 8];                                       // the terms of d_zeta, then the angle gradients of K
  static constexpr bool keeps_x = P == 64;
  uint8_t x[keeps_x ? rows / R * P * 2 : 16];
  static constexpr bool keeps_head = P == 64;
  HeadTables<N, P, R> heads[keeps_head ? 2 : 0]; // of this head and the next, as the decays
  static constexpr bool keeps_turns = keeps_head && R > 1;
  uint4 turns[2][keeps_turns ? threads : 0]; // rotations of this head and the next, two for each thread of half a block
  PairWeights<R> weights;
  Decays<rows / R> decays[2];
  float masked_rows[2][rows], same_token[2][rows], state_out[2][rows], state_in[2][rows]; // row sums, half of the columns a warpgroup
  float pair_columns[4][rows];
  float anchor[warps], skip[warps];
};

/// Copies `bytes` from global to shared memory, each thread its parts.
__device__ inline void copyTile(uint8_t *to, const void *from, int bytes) {
  for (int part = threadIdx.x * 16; part < bytes; part += threads * 16)
    copy16(to + part, static_cast<const uint8_t *>(from) + part);
}

/// tile += factor * share, each thread the parts that it copied.
template <int Bytes> __device__ inline void addWindowShare(uint8_t *tile, const bf16 *share, float factor) {
  constexpr int parts = Bytes / (threads * 16);
  static_assert(parts * threads * 16 == Bytes, "all threads copy as many parts");
  tile += threadIdx.x * 16, share += threadIdx.x * 8;
  uint4 added[parts];
  if (factor != 0)
#pragma unroll
    for (int i = 0; i < parts; ++i)
      added[i] = load<uint4>(share + i * threads * 8);
  waitCopies();
  if (factor == 0)
    return;
#pragma unroll
  for (int i = 0; i < parts; ++i) {
    uint4 values = *reinterpret_cast<uint4 *>(tile + i * threads * 16);
#pragma unroll
    for (int k = 0; k < 4; ++k) {
      __nv_bfloat162 &pair = reinterpret_cast<__nv_bfloat162 *>(&values)[k];
      float2 sum = __bfloat1622float2(pair), more = __bfloat1622float2(reinterpret_cast<const __nv_bfloat162 *>(&added[i])[k]);
      pair = __floats2bfloat162_rn(fmaf(factor, more.x, sum.x), fmaf(factor, more.y, sum.y));
    }
    *reinterpret_cast<uint4 *>(tile + i * threads * 16) = values;
  }
}

/// Inner product of two tiles by the first half of the block, this thread's share.
__device__ inline float tileDot(const uint8_t *a, const uint8_t *b, int bytes) {
  float sum = 0;
#pragma unroll 2
  for (int part = threadIdx.x * 16; part < bytes; part += threads / 2 * 16) {
    uint4 from_a = *reinterpret_cast<const uint4 *>(a + part), from_b = *reinterpret_cast<const uint4 *>(b + part);
#pragma unroll
    for (int k = 0; k < 4; ++k) {
      float2 x = __bfloat1622float2(reinterpret_cast<const __nv_bfloat162 *>(&from_a)[k]);
      float2 y = __bfloat1622float2(reinterpret_cast<const __nv_bfloat162 *>(&from_b)[k]);
      sum = fmaf(x.x, y.x, fmaf(x.y, y.y, sum));
    }
  }
  return sum;
}

/// Output side of the tokens: E, the gradient of z, and the terms of the gradients of phi (in Y), zeta (in d_gate), the skip and the norm.
template <int N, int P, int R, bool Norm>
__device__ void gateGradients(const Shape &s, const GradientPass &pass, GradientMemory<N, P, R> &memory, int h, int begin,
                              const float *psi_row, const float *zeta_row, const float *phi_row, const TokenRows<P, R, threads> &x_rows,
                              const TokenRows<P, R, threads> &z_rows, const TokenRows<P, R, threads> &d_rows) {
  using Rows = TokenRows<P, R, threads>;
  constexpr int pairs = P / 64;
  float2 d_norm[pairs] = {};
  float d_skip = 0;
#pragma unroll
  for (int k = 0; k < Rows::tokens; ++k) {
    int t = Rows::token(k);
    if (Rows::chunk % Rows::warps && t >= Rows::chunk)
      break;
    float2 d_z[pairs] = {};
#pragma unroll
    for (int r = 0; r < R; ++r) {
      float2 y[pairs], e[pairs];
      float scale = 1, products = 0;
#pragma unroll
      for (int pair = 0; pair < pairs; ++pair)
        y[pair] = *reinterpret_cast<const float2 *>(&memory.Y[t * R + r][Rows::channel(pair)]);
      if constexpr (Norm) {
        float squares = 0;
#pragma unroll
        for (int pair = 0; pair < pairs; ++pair)
          squares += y[pair].x * y[pair].x + y[pair].y * y[pair].y;
        scale = rsqrtf(warpSum(squares) / float(s.head_dim) + s.eps);
      }
#pragma unroll
      for (int pair = 0; pair < pairs; ++pair) {
        int p = Rows::channel(pair);
        float2 z = widen(z_rows.values[k][pair]), d = widen(d_rows.values[k][pair]);
        float2 zeta = *reinterpret_cast<const float2 *>(zeta_row + r * P + p), phi = *reinterpret_cast<const float2 *>(phi_row + r * P + p);
        float2 norm = Norm ? load<float2>(s.out_norms + h * P + p) : float2{1, 1};
        auto channel = [&](float y, float z, float d, float zeta, float phi, float norm, float &d_phi, float &d_zeta, float &d_z,
                           float &d_norm) {
          float unit = Norm ? y * scale : y, normed = Norm ? unit * norm : unit;
          float w = z * zeta, gate = sigmoid(w), silu = w * gate, inside = d * phi;
          float d_w = inside * normed * fmaf(silu, 1.0f - gate, gate), e = inside * silu;
          d_phi = d * normed * silu, d_zeta = d_w * z, d_z = fmaf(d_w, zeta, d_z);
          if (Norm)
            d_norm += e * unit, e *= norm;
          return e;
        };
        float2 d_phi, d_zeta;
        e[pair].x = channel(y[pair].x, z.x, d.x, zeta.x, phi.x, norm.x, d_phi.x, d_zeta.x, d_z[pair].x, d_norm[pair].x);
        e[pair].y = channel(y[pair].y, z.y, d.y, zeta.y, phi.y, norm.y, d_phi.y, d_zeta.y, d_z[pair].y, d_norm[pair].y);
        *reinterpret_cast<float2 *>(&memory.Y[t * R + r][p]) = d_phi;
        *reinterpret_cast<float2 *>(&memory.d_gate[t * R + r][p]) = d_zeta;
        if (Norm)
          products += e[pair].x * y[pair].x + e[pair].y * y[pair].y;
      }
      float shift = Norm ? warpSum(products) * scale * scale / float(s.head_dim) : 0.0f;
#pragma unroll
      for (int pair = 0; pair < pairs; ++pair) {
        if (Norm)
          e[pair].x = scale * (e[pair].x - y[pair].x * shift), e[pair].y = scale * (e[pair].y - y[pair].y * shift);
        float2 x = widen(x_rows.values[k][pair]), psi = *reinterpret_cast<const float2 *>(psi_row + r * P + Rows::channel(pair));
        d_skip += e[pair].x * (x.x * psi.x) + e[pair].y * (x.y * psi.y);
        storePair(memory.E, t * R + r, Rows::channel(pair), rows, e[pair].x, e[pair].y);
      }
    }
#pragma unroll
    for (int pair = 0; pair < pairs; ++pair)
      if (begin + t < s.sequence)
        writePair(s, pass.d_projection + (int64_t(pass.b) * s.sequence + begin + t) * s.width + h * s.head_dim, Rows::channel(pair),
                  d_z[pair].x, d_z[pair].y);
  }
  d_skip = warpSum(d_skip);
  if ((threadIdx.x & 31) == 0)
    memory.skip[threadIdx.x / 32] = d_skip;
  if constexpr (Norm)
#pragma unroll
    for (int pair = 0; pair < pairs; ++pair)
      *reinterpret_cast<float2 *>(&memory.norm[threadIdx.x / 32][Rows::channel(pair)]) = d_norm[pair];
}

/// Gradients of step, weight and decay of the chunk's tokens, by one warp; lanes take rows.
template <int N, int P, int R>
__device__ void tokenGradients(const Shape &s, const GradientPass &pass, const GradientMemory<N, P, R> &memory,
                               const Decays<rows / R> &decays, int h, int begin, float *skip) {
  int lane = threadIdx.x & 31;
  auto ofToken = [](float value) {
#pragma unroll
    for (int offset = 1; offset < R; offset <<= 1)
      value += __shfl_xor_sync(0xffffffff, value, offset);
    return value;
  };
  // What passes a token: from earlier ones to the end, and what ends in it or later ones less what begins there.
  float passing[2], ending[2], ending_sum = 0;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    int i = lane + 32 * half, t = i / R;
    float same = ofToken(memory.same_token[0][i] + memory.same_token[1][i]);
    float pair_row = ofToken(memory.masked_rows[0][i] + memory.masked_rows[1][i]) - decays.gamma[t] * same;
    float out = ofToken(memory.state_out[0][i] + memory.state_out[1][i]), in = ofToken(memory.state_in[0][i] + memory.state_in[1][i]);
    float column = ofToken(memory.pair_columns[0][i] + memory.pair_columns[1][i] + memory.pair_columns[2][i] + memory.pair_columns[3][i]);
    if (i % R == 0 && begin + t < s.sequence) {
      int64_t at = s.token(pass.b, h, begin + t);
      pass.d_weight[at] = column + decays.remaining[t] * in, pass.d_gamma[at] = same;
    }
    passing[half] = decays.leaving[t] * in, ending[half] = out + pair_row - decays.weight[t] * column;
    ending_sum += warpSum(i % R ? 0.0f : ending[half]);
  }
  float d_skip = warpSum(lane < warps ? memory.skip[lane] : 0.0f);
  if (lane == 0)
    *skip = d_skip;
  float sum = warpSum(lane < warps / 2 ? memory.anchor[lane] : 0.0f) * decays.end[0] + ending_sum;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    int i = lane + 32 * half, t = i / R;
    float change = passing[half] - ending[half], through = change;
#pragma unroll
    for (int offset = R; offset < 32; offset <<= 1) {
      float other = __shfl_up_sync(0xffffffff, through, offset);
      if (lane >= offset)
        through += other;
    }
    bool starts = decays.document[t] != (t ? decays.document[t - 1] : 0);
    if (i % R == 0 && begin + t < s.sequence)
      pass.d_decay[s.token(pass.b, h, begin + t)] = starts ? 0.0f : sum + through - change;
    sum += __shfl_sync(0xffffffff, through, 31);
  }
}

} // namespace megacc::cuda::mamba3
