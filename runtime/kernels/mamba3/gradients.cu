// Gradients of the Mamba-3 scan, chunk by chunk, from the states that enter the chunks and the adjoints of those that leave them. A block
// takes a chunk through the heads of its group and so sums the gradients of B and C over them, in order.
#include "runtime/kernels/mamba3/CudaScan.cuh"

#include <type_traits>

namespace megacc::cuda::mamba3 {
namespace {

template <int N, int P> struct GradientMemory {
  uint8_t Q[rows * N * 2], K[rows * N * 2], H[N * P * 2], Gamma[N * P * 2];
  uint8_t U[rows * P * 2], E[rows * P * 2], M[rows * rows * 2], F[rows * rows * 2]; // together also bias sums, see below
  float Y[rows][P + 8];                                                          // then d_phi's terms, then dU
  float d_gate[rows][P + 8];                                                     // d_zeta's terms, then angle gradients of K
  Decays decays;
  float pair_rows[2][rows], same_token[2][rows], state_out[2][rows], state_in[2][rows]; // row sums, half of the columns a warpgroup
  float pair_columns[4][rows], diagonal[rows];
  float anchor[block_warps];
  float norm[block_warps][P];
};

/// Copies `bytes` from global to shared memory; waitCopies() waits for them.
__device__ inline void copyTile(uint8_t *to, const void *from, int bytes) {
  for (int part = threadIdx.x * 16; part < bytes; part += block_threads * 16)
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(sharedAddress(to + part)), "l"(static_cast<const uint8_t *>(from) + part)
                 : "memory");
}
__device__ inline void waitCopies() { asm volatile("cp.async.wait_all;" ::: "memory"); }

/// Inner product of two tiles, this thread's share.
__device__ inline float tileDot(const uint8_t *a, const uint8_t *b, int bytes) {
  float sum = 0;
  for (int part = threadIdx.x * 16; part < bytes; part += block_threads * 16) {
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

/// Output side of the tokens: E, the gradient of z, and the terms of the gradients of phi (in Y), zeta (in d_gate) and the norm.
template <int N, int P, int R>
__device__ void gateGradients(const Shape &s, const GradientPass &pass, GradientMemory<N, P> &memory, int h, int begin) {
  constexpr int pairs = P / 64;
  int lane = threadIdx.x & 31, warp = threadIdx.x / 32;
  float2 d_norm[pairs] = {};
  for (int t = warp; t < rows / R; t += block_warps) {
    bool valid = begin + t < s.sequence;
    int64_t token = int64_t(pass.b) * s.sequence + begin + t;
    float2 z[pairs] = {}, d[pairs] = {}, d_z[pairs] = {};
#pragma unroll
    for (int k = 0; k < pairs; ++k)
      if (valid) {
        z[k] = readPair(s, s.projection + token * s.width + h * s.head_dim, 2 * lane + 64 * k);
        d[k] = readPair(s, pass.d_y + (token * s.heads + h) * s.head_dim, 2 * lane + 64 * k);
      }
#pragma unroll
    for (int r = 0; r < R; ++r) {
      float2 y[pairs], e[pairs], norm[pairs];
      float squares = 0;
#pragma unroll
      for (int k = 0; k < pairs; ++k) {
        y[k] = *reinterpret_cast<const float2 *>(&memory.Y[t * R + r][2 * lane + 64 * k]);
        squares += y[k].x * y[k].x + y[k].y * y[k].y;
        norm[k] = *reinterpret_cast<const float2 *>(s.out_norms + h * P + 2 * lane + 64 * k);
      }
      float scale = s.norm ? rsqrtf(warpSum(squares) / float(s.head_dim) + s.eps) : 1.0f, products = 0;
#pragma unroll
      for (int k = 0; k < pairs; ++k) {
        int p = 2 * lane + 64 * k;
        float2 zeta = *reinterpret_cast<const float2 *>(s.zeta + (h * R + r) * P + p);
        float2 phi = *reinterpret_cast<const float2 *>(s.phi + (h * R + r) * P + p);
        auto channel = [&](float y, float z, float d, float zeta, float phi, float norm, float &d_phi, float &d_zeta, float &d_z, float &d_norm) {
          float w = z * zeta, gate = sigmoid(w), silu = w * gate, unit = y * scale;
          float d_w = d * phi * unit * norm * gate * (1.0f + w * (1.0f - gate)), e = d * phi * silu;
          d_phi = d * unit * norm * silu, d_zeta = d_w * z, d_z += d_w * zeta, d_norm += e * unit;
          return e * norm;
        };
        float2 d_phi, d_zeta;
        e[k].x = channel(y[k].x, z[k].x, d[k].x, zeta.x, phi.x, norm[k].x, d_phi.x, d_zeta.x, d_z[k].x, d_norm[k].x);
        e[k].y = channel(y[k].y, z[k].y, d[k].y, zeta.y, phi.y, norm[k].y, d_phi.y, d_zeta.y, d_z[k].y, d_norm[k].y);
        products += e[k].x * y[k].x + e[k].y * y[k].y;
        *reinterpret_cast<float2 *>(&memory.Y[t * R + r][p]) = d_phi;
        *reinterpret_cast<float2 *>(&memory.d_gate[t * R + r][p]) = d_zeta;
      }
      if (s.norm) {
        float shift = warpSum(products) * scale * scale / float(s.head_dim);
#pragma unroll
        for (int k = 0; k < pairs; ++k)
          e[k].x = scale * (e[k].x - y[k].x * shift), e[k].y = scale * (e[k].y - y[k].y * shift);
      }
#pragma unroll
      for (int k = 0; k < pairs; ++k)
        storePair(memory.E, t * R + r, 2 * lane + 64 * k, rows, e[k].x, e[k].y);
    }
#pragma unroll
    for (int k = 0; k < pairs; ++k)
      if (valid)
        writePair(s, pass.d_projection + token * s.width + h * s.head_dim, 2 * lane + 64 * k, d_z[k].x, d_z[k].y);
  }
  if (s.norm)
#pragma unroll
    for (int k = 0; k < pairs; ++k)
      *reinterpret_cast<float2 *>(&memory.norm[warp][2 * lane + 64 * k]) = d_norm[k];
}

/// Gradients of step, weight and decay of the chunk's tokens, by one warp.
template <int N, int P, int R>
__device__ void tokenGradients(const Shape &s, const GradientPass &pass, GradientMemory<N, P> &memory, int h, int begin, float *skip) {
  constexpr int chunk = rows / R;
  const Decays &decays = memory.decays;
  int lane = threadIdx.x & 31;
  float d_skip = 0;
  for (int t = lane; t < chunk; t += 32) {
    float pair_row = 0, same = 0, out = 0, in = 0, pair_column = 0;
    for (int i = t * R; i < t * R + R; ++i) {
      for (int group : {0, 1})
        pair_row += memory.pair_rows[group][i], same += memory.same_token[group][i], out += memory.state_out[group][i],
            in += memory.state_in[group][i];
      for (int warp = 0; warp < 4; ++warp)
        pair_column += memory.pair_columns[warp][i];
      d_skip += memory.diagonal[i];
    }
    if (begin + t < s.sequence) {
      int64_t at = s.token(pass.b, h, begin + t);
      pass.d_weight[at] = pair_column + decays.remaining[t] * in, pass.d_gamma[at] = same;
    }
    // What passes from earlier tokens to the end, and what ends in this token less what begins in it.
    memory.same_token[0][t * R] = decays.leaving[t] * in;
    memory.same_token[1][t * R] = out + pair_row - decays.weight[t] * pair_column;
  }
  d_skip = warpSum(d_skip);
  if (lane == 0)
    *skip = d_skip;
  __syncwarp();
  float anchor = 0;
  for (float share : memory.anchor)
    anchor += share;
  for (int t = lane; t < chunk && begin + t < s.sequence; t += 32) {
    float sum = anchor * decays.end;
    for (int other = 0; other < chunk; ++other)
      sum += other < t ? memory.same_token[0][other * R] : memory.same_token[1][other * R];
    bool starts = decays.document[t] != (t ? decays.document[t - 1] : 0);
    pass.d_decay[s.token(pass.b, h, begin + t)] = starts ? 0.0f : sum;
  }
}

template <int N, int P, int R> __global__ void __launch_bounds__(block_threads, 1) chunkGradients(Shape s, GradientPass pass) {
  constexpr int chunk = rows / R, half = P / 2;
  extern __shared__ __align__(1024) uint8_t shared[];
  GradientMemory<N, P> &memory = *reinterpret_cast<GradientMemory<N, P> *>(shared);
  Decays &decays = memory.decays;
  int c = blockIdx.x, g = pass.first_group + blockIdx.y, begin = c * chunk;
  int group = __shfl_sync(0xffffffff, int(threadIdx.x) / 128, 0), warp = threadIdx.x % 128 / 32, lane = threadIdx.x & 31;
  int row = warp * 16 + lane / 4, column = lane % 4 * 2; // of this thread in accumulators; the other row is row + 8
  uint32_t Q = sharedAddress(memory.Q), K = sharedAddress(memory.K), H = sharedAddress(memory.H), Gamma = sharedAddress(memory.Gamma);
  uint32_t U = sharedAddress(memory.U), E = sharedAddress(memory.E), M = sharedAddress(memory.M), F = sharedAddress(memory.F);
  float(*bias_sums)[4][R][N] = reinterpret_cast<float(*)[4][R][N]>(memory.U);
  static_assert(2 * 4 * R * N * 4 <= 4 * rows * P + 4 * rows * rows, "bias sums take the place of U, E, M and F");

  float keys[N / 2] = {}; // gradients of C (first warpgroup) and B (second), summed over heads
  for (int head = 0; head < s.group_heads; ++head) {
    int h = g * s.group_heads + head;
    int64_t index = (int64_t(blockIdx.y) * s.group_heads + head) * s.chunks + c;
    float *partial = pass.partial + index * parameterFloats(s), *d_bias = partial, *d_psi = d_bias + 2 * R * N, *d_zeta = d_psi + R * P;
    float *d_phi = d_zeta + R * P, *d_norm = d_phi + R * P, *d_skip = d_norm + P;
    copyTile(memory.H, pass.states + index * N * P, N * P * 2);
    copyTile(memory.Gamma, pass.adjoints + index * N * P, N * P * 2);
    if (threadIdx.x < 32)
      loadDecays<chunk>(s, pass.b, h, begin, decays);
    loadKeys<N, R>(s, 0, pass.b, h, begin, memory.K);
    loadKeys<N, R>(s, 1, pass.b, h, begin, memory.Q);
    loadInputs<P, R>(s, pass.b, h, begin, decays, memory.U, nullptr);
    waitCopies();
    publishTiles();
    __syncthreads();

    // S = Q K^T and the state's part of Y, half of the columns a warpgroup.
    float S[16] = {}, Y_state[half / 2] = {};
    fenceRegisters(S), fenceRegisters(Y_state);
    beginProducts();
    multiplyTiles<N, 32, false, false>(S, Q, rows, K + group * 32 * 128, rows);
    multiplyTiles<N, half, false, true>(Y_state, Q, rows, columnsFrom(H, group * half, N), N);
    commitProducts();
    float anchor = warpSum(tileDot(memory.H, memory.Gamma, N * P * 2));
    if (lane == 0)
      memory.anchor[threadIdx.x / 32] = anchor;
    waitProducts();
    fenceRegisters(S), fenceRegisters(Y_state);
    float skip = s.skip.at(h);
#pragma unroll
    for (int i = 0; i < 16; i += 2) {
      int from = row + (i & 2) * 4, to = group * 32 + i / 4 * 8 + column, t = from / R;
      float weights[2] = {decays.mask(t, to / R), 0};
      weights[1] = R == 1 ? decays.mask(t, to + 1) : weights[0];
      storePair(memory.M, from, to, rows, S[i] * weights[0] + (from == to ? skip : 0.0f), S[i + 1] * weights[1] + (from == to + 1 ? skip : 0.0f));
    }
#pragma unroll
    for (int i = 0; i < half / 2; ++i)
      Y_state[i] *= decays.entering[(row + (i & 2) * 4) / R];
    publishTiles();
    __syncthreads();

    {
      float Y[half / 2];
#pragma unroll
      for (int i = 0; i < half / 2; ++i)
        Y[i] = Y_state[i];
      fenceRegisters(Y);
      beginProducts();
      multiplyTiles<rows, half, false, true>(Y, M, rows, columnsFrom(U, group * half, rows), rows);
      commitProducts();
      waitProducts();
      fenceRegisters(Y);
#pragma unroll
      for (int i = 0; i < half / 2; i += 2)
        *reinterpret_cast<float2 *>(&memory.Y[row + (i & 2) * 4][group * half + i / 4 * 8 + column]) = {Y[i], Y[i + 1]};
    }
    __syncthreads();
    gateGradients<N, P, R>(s, pass, memory, h, begin);
    publishTiles();
    __syncthreads();

    // F = E U^T and K Gamma; meanwhile the gradients of phi, zeta and the norm.
    float dF[16] = {}, dU[half / 2] = {};
    fenceRegisters(dF), fenceRegisters(dU);
    beginProducts();
    multiplyTiles<P, 32, false, false>(dF, E, rows, U + group * 32 * 128, rows);
    multiplyTiles<N, half, false, true>(dU, K, rows, columnsFrom(Gamma, group * half, N), N);
    commitProducts();
    for (int i = threadIdx.x; i < R * P; i += block_threads) {
      float phi = 0, zeta = 0;
#pragma unroll 8
      for (int t = 0; t < chunk; ++t)
        phi += memory.Y[t * R + i / P][i % P], zeta += memory.d_gate[t * R + i / P][i % P];
      d_phi[i] = phi, d_zeta[i] = zeta;
    }
    if (threadIdx.x < P) {
      float norm = 0;
      if (s.norm)
        for (int w = 0; w < block_warps; ++w)
          norm += memory.norm[w][threadIdx.x];
      d_norm[threadIdx.x] = norm;
    }
    waitProducts();
    fenceRegisters(dF), fenceRegisters(dU);

    // Row and column sums of F * S, and F * mask.
    float pair_row[2] = {}, same_token[2] = {};
#pragma unroll
    for (int i = 0; i < 16; i += 4) {
      float pair_column[2] = {};
#pragma unroll
      for (int side = 0; side < 2; ++side) {
        int from = row + side * 8, to = group * 32 + i / 4 * 8 + column, t = from / R;
        float masked[2];
#pragma unroll
        for (int e = 0; e < 2; ++e) {
          int u = (to + e) / R;
          float pair = t > u ? decays.pair(t, u) : 0.0f, value = dF[i + 2 * side + e], product = value * S[i + 2 * side + e];
          pair_row[side] += product * pair * decays.weight[u], pair_column[e] += product * pair;
          same_token[side] += t == u ? product : 0.0f;
          masked[e] = value * (t == u ? decays.gamma[t] : pair * decays.weight[u]);
          if (from == to + e)
            memory.diagonal[from] = value;
        }
        storePair(memory.F, from, to, rows, masked[0], masked[1]);
      }
#pragma unroll
      for (int e = 0; e < 2; ++e) {
        for (int offset = 4; offset < 32; offset <<= 1)
          pair_column[e] += __shfl_xor_sync(0xffffffff, pair_column[e], offset);
        if (lane < 4)
          memory.pair_columns[warp][group * 32 + i / 4 * 8 + column + e] = pair_column[e];
      }
    }
    // E times the state's part of Y, U times K Gamma.
    float state_out[2] = {}, state_in[2] = {};
#pragma unroll
    for (int i = 0; i < half / 2; i += 2) {
      int side = (i & 2) / 2, at = row + side * 8, p = group * half + i / 4 * 8 + column;
      float2 e = loadPair(memory.E, at, p, rows), u = loadPair(memory.U, at, p, rows);
      state_out[side] += e.x * Y_state[i] + e.y * Y_state[i + 1], state_in[side] += u.x * dU[i] + u.y * dU[i + 1];
    }
#pragma unroll
    for (int side = 0; side < 2; ++side) {
      float sums[4] = {quadSum(pair_row[side]), quadSum(same_token[side]), quadSum(state_out[side]), quadSum(state_in[side])};
      if (lane % 4 == 0) {
        int at = row + side * 8;
        memory.pair_rows[group][at] = sums[0], memory.same_token[group][at] = sums[1];
        memory.state_out[group][at] = sums[2], memory.state_in[group][at] = sums[3];
      }
    }
    // dU = leaving (K Gamma) + M^T E
#pragma unroll
    for (int i = 0; i < half / 2; ++i)
      dU[i] *= decays.leaving[(row + (i & 2) * 4) / R];
    fenceRegisters(dU);
    beginProducts();
    multiplyTiles<rows, half, true, true>(dU, M, rows, columnsFrom(E, group * half, rows), rows);
    commitProducts();
    waitProducts();
    fenceRegisters(dU);
    publishTiles();
    __syncthreads();

    // dQ = entering (E H^T) + (F mask) K by the first warpgroup, dK = leaving (U Gamma^T) + (F mask)^T Q by the second.
#pragma unroll
    for (int i = 0; i < half / 2; i += 2)
      *reinterpret_cast<float2 *>(&memory.Y[row + (i & 2) * 4][group * half + i / 4 * 8 + column]) = {dU[i], dU[i + 1]};
    float d[N / 2] = {};
    fenceRegisters(d);
    beginProducts();
    multiplyTiles<P, N, false, false>(d, group ? U : E, rows, group ? Gamma : H, N);
    commitProducts();
    if (threadIdx.x < 32)
      tokenGradients<N, P, R>(s, pass, memory, h, begin, d_skip);
    waitProducts();
    fenceRegisters(d);
#pragma unroll
    for (int i = 0; i < N / 2; ++i)
      d[i] *= (group ? decays.leaving : decays.entering)[(row + (i & 2) * 4) / R];
    fenceRegisters(d);
    beginProducts();
    if (group)
      multiplyTiles<rows, N, true, true>(d, F, rows, Q, rows);
    else
      multiplyTiles<rows, N, false, true>(d, F, rows, K, rows);
    commitProducts();
    waitProducts();
    fenceRegisters(d);
    __syncthreads();

    // Gradients of x and psi.
    for (int t = threadIdx.x / 32; t < chunk && begin + t < s.sequence; t += block_warps)
#pragma unroll
      for (int p = 2 * lane; p < P; p += 64) {
        float2 sum = {};
#pragma unroll
        for (int r = 0; r < R; ++r) {
          float2 value = *reinterpret_cast<const float2 *>(&memory.Y[t * R + r][p]);
          float2 psi = *reinterpret_cast<const float2 *>(s.psi + (h * R + r) * P + p);
          sum.x += value.x * psi.x, sum.y += value.y * psi.y;
        }
        writePair(s, pass.d_projection + (int64_t(pass.b) * s.sequence + begin + t) * s.width + s.column_x + h * s.head_dim, p, sum.x, sum.y);
      }
    for (int i = threadIdx.x; i < R * P; i += block_threads) {
      float psi = 0;
      if (i % P < s.head_dim)
        for (int t = 0; t < chunk && begin + t < s.sequence; ++t)
          psi += memory.Y[t * R + i / P][i % P] * __bfloat162float(s.row(pass.b, begin + t)[s.column_x + h * s.head_dim + i % P]);
      d_psi[i] = psi;
    }

    // Turns the gradients back by the angles, and takes the gradients of the angles, the sum over ranks of v0 d1 - v1 d0.
    const uint8_t *tile = group ? memory.K : memory.Q;
    float angles[N / 4]; // [channel pairs / 8][side][two]
#pragma unroll
    for (int i = 0; i < N / 16; ++i)
#pragma unroll
      for (int side = 0; side < 2; ++side) {
        int at = row + side * 8, j = i * 8 + column, t = begin + at / R;
        float *low = d + i * 4 + side * 2, *high = d + (i + N / 16) * 4 + side * 2, *angle = angles + i * 4 + side * 2;
        angle[0] = angle[1] = 0;
        if (i * 8 < s.A) {
          if (t < s.sequence) {
            float2 v_low = loadPair(tile, at, j, rows), v_high = loadPair(tile, at, N / 2 + j, rows);
            uint2 turns = *reinterpret_cast<const uint2 *>(s.rotation + s.token(pass.b, h, t) * s.A + j);
#pragma unroll
            for (int e = 0; e < 2; ++e) {
              float2 turn = __half22float2(reinterpret_cast<const __half2 *>(&turns)[e]);
              float d_low = low[e], d_high = high[e];
              angle[e] = (e ? v_low.y : v_low.x) * d_high - (e ? v_high.y : v_high.x) * d_low;
              low[e] = d_low * turn.x + d_high * turn.y, high[e] = d_high * turn.x - d_low * turn.y;
            }
          }
#pragma unroll
          for (int e = 0; e < 2; ++e)
#pragma unroll
            for (int offset = 4; offset < 4 * R; offset <<= 1)
              angle[e] += __shfl_xor_sync(0xffffffff, angle[e], offset);
        }
      }
    float *exchange = &memory.d_gate[0][0] + threadIdx.x % 128;
    if (group)
#pragma unroll
      for (int i = 0; i < N / 4; ++i)
        exchange[i * 128] = angles[i];
    // Sums over this warp's tokens: the two rows of a thread, then the threads with the same rank.
#pragma unroll
    for (int i = 0; i < N / 8; ++i)
#pragma unroll
      for (int e = 0; e < 2; ++e) {
        float sum = d[i * 4 + e] + d[i * 4 + 2 + e];
#pragma unroll
        for (int offset = 4 * R; offset < 32; offset <<= 1)
          sum += __shfl_xor_sync(0xffffffff, sum, offset);
        if (lane / 4 < R)
          bias_sums[group ? 0 : 1][warp][lane / 4][i * 8 + column + e] = sum;
      }
#pragma unroll
    for (int i = 0; i < N / 2; ++i)
      keys[i] += d[i];
    __syncthreads();
    if (group == 0)
#pragma unroll
      for (int i = 0; i < N / 16; ++i)
#pragma unroll
        for (int side = 0; side < 2; ++side) {
          int at = row + side * 8, t = begin + at / R;
          if (i * 8 < s.A && t < s.sequence && at % R == 0)
            *reinterpret_cast<float2 *>(pass.d_turn + s.token(pass.b, h, t) * s.A + i * 8 + column) = {
                angles[i * 4 + side * 2] + exchange[(i * 4 + side * 2) * 128], angles[i * 4 + side * 2 + 1] + exchange[(i * 4 + side * 2 + 1) * 128]};
        }
    for (int i = threadIdx.x; i < 2 * R * N; i += block_threads) {
      int which = i / (R * N), r = i / N % R, n = i % N;
      d_bias[i] = bias_sums[which][0][r][n] + bias_sums[which][1][r][n] + bias_sums[which][2][r][n] + bias_sums[which][3][r][n];
    }
    __syncthreads();
  }
#pragma unroll
  for (int i = 0; i < N / 2; i += 2) {
    int at = row + (i & 2) * 4, t = begin + at / R, which = group ? 0 : 1;
    if (t < s.sequence)
      *reinterpret_cast<float2 *>(pass.d_keys + ((((int64_t(which) * s.batch + pass.b) * s.groups + g) * s.sequence + t) * R + at % R) * N +
                                  i / 4 * 8 + column) = {keys[i], keys[i + 1]};
  }
}

} // namespace

int32_t runGradients(const Shape &s, const GradientPass &pass, cudaStream_t stream) {
  return dispatch(s, [&](auto n, auto p, auto r) {
    auto kernel = chunkGradients<n, p, r>;
    int bytes = sizeof(GradientMemory<n, p>);
    cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes);
    kernel<<<dim3(s.chunks, pass.groups), block_threads, bytes, stream>>>(s, pass);
    return checkCuda("mamba3: gradients");
  });
}

} // namespace megacc::cuda::mamba3
