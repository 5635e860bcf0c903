// Gradients of the Mamba-3 scan, chunk by chunk, from the states that enter the chunks and the adjoints of those that leave them. A block
// takes a chunk through the heads of its group and so sums the gradients of B and C over them, in order.
#include "runtime/kernels/mamba3/CudaScan.cuh"

#include <type_traits>

namespace megacc::cuda::mamba3 {
namespace {

/// Threads of a block: four warpgroups. The first two have the products of rows with rows, the others those with channels of P, then the
/// first two dQ and the others dK.
constexpr int threads = 512, warps = threads / 32;

template <int N, int P, int R> struct GradientMemory {
  uint8_t Q[rows * N * 2], K[rows * N * 2], H[N * P * 2], Gamma[N * P * 2], U[rows * P * 2];
  uint8_t E[rows * P * 2], M[rows * rows * 2], F[rows * rows * 2]; // with `norm` together also the sums of biases
  float norm[warps][128];                                          // the terms of the norm's gradient
  float Y[rows][P + 8];      // then the terms of d_phi, then dU
  float d_gate[rows][P + 8]; // the terms of d_zeta, then the angle gradients of K
  static constexpr bool keeps_x = P == 64;
  uint8_t x[keeps_x ? rows / R * P * 2 : 16];
  PairWeights<R> weights;
  Decays<rows / R> decays[2]; // of this head and the next
  float pair_rows[2][rows], same_token[2][rows], state_out[2][rows], state_in[2][rows]; // row sums, half of the columns a warpgroup
  float pair_columns[4][rows], diagonal[rows];
  float anchor[warps];
};

/// Copies `bytes` from global to shared memory; waitCopies() waits for them.
__device__ inline void copyTile(uint8_t *to, const void *from, int bytes) {
  for (int part = threadIdx.x * 16; part < bytes; part += threads * 16)
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(sharedAddress(to + part)), "l"(static_cast<const uint8_t *>(from) + part)
                 : "memory");
}
__device__ inline void waitCopies() { asm volatile("cp.async.wait_all;" ::: "memory"); }

/// tile += factor * share, each thread the parts that it copied.
template <int Bytes> __device__ inline void addWindowShare(uint8_t *tile, const bf16 *share, float factor) {
  uint4 added[(Bytes + threads * 16 - 1) / (threads * 16)];
#pragma unroll
  for (int part = threadIdx.x * 16, i = 0; part < Bytes; part += threads * 16, ++i)
    added[i] = factor == 0 ? uint4{} : load<uint4>(share + part / 2);
  waitCopies();
  if (factor == 0)
    return;
#pragma unroll
  for (int part = threadIdx.x * 16, i = 0; part < Bytes; part += threads * 16, ++i) {
    uint4 values = *reinterpret_cast<uint4 *>(tile + part);
#pragma unroll
    for (int k = 0; k < 4; ++k) {
      __nv_bfloat162 &pair = reinterpret_cast<__nv_bfloat162 *>(&values)[k];
      float2 sum = __bfloat1622float2(pair), more = __bfloat1622float2(reinterpret_cast<const __nv_bfloat162 *>(&added[i])[k]);
      pair = __floats2bfloat162_rn(fmaf(factor, more.x, sum.x), fmaf(factor, more.y, sum.y));
    }
    *reinterpret_cast<uint4 *>(tile + part) = values;
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

/// Output side of the tokens: E, the gradient of z, and the terms of the gradients of phi (in Y), zeta (in d_gate) and the norm.
template <int N, int P, int R>
__device__ void gateGradients(const Shape &s, const GradientPass &pass, GradientMemory<N, P, R> &memory, int h, int begin,
                              const TokenRows<P, R, threads> &z_rows, const TokenRows<P, R, threads> &d_rows) {
  using Rows = TokenRows<P, R, threads>;
  constexpr int pairs = P / 64;
  float2 d_norm[pairs] = {};
#pragma unroll
  for (int k = 0; k < Rows::tokens; ++k) {
    int t = Rows::token(k);
    if (Rows::chunk % Rows::warps && t >= Rows::chunk)
      break;
    float2 d_z[pairs] = {};
#pragma unroll
    for (int r = 0; r < R; ++r) {
      float2 y[pairs], e[pairs];
      float squares = 0;
#pragma unroll
      for (int pair = 0; pair < pairs; ++pair) {
        y[pair] = *reinterpret_cast<const float2 *>(&memory.Y[t * R + r][Rows::channel(pair)]);
        squares += y[pair].x * y[pair].x + y[pair].y * y[pair].y;
      }
      float scale = s.norm ? rsqrtf(warpSum(squares) / float(s.head_dim) + s.eps) : 1.0f, products = 0;
#pragma unroll
      for (int pair = 0; pair < pairs; ++pair) {
        int p = Rows::channel(pair);
        float2 z = widen(z_rows.values[k][pair]), d = widen(d_rows.values[k][pair]);
        float2 zeta = load<float2>(s.zeta + (h * R + r) * P + p), phi = load<float2>(s.phi + (h * R + r) * P + p);
        float2 norm = s.norm ? load<float2>(s.out_norms + h * P + p) : float2{1, 1};
        auto channel = [&](float y, float z, float d, float zeta, float phi, float norm, float &d_phi, float &d_zeta, float &d_z, float &d_norm) {
          float w = z * zeta, gate = sigmoid(w), silu = w * gate, unit = y * scale;
          float d_w = d * phi * unit * norm * gate * (1.0f + w * (1.0f - gate)), e = d * phi * silu;
          d_phi = d * unit * norm * silu, d_zeta = d_w * z, d_z += d_w * zeta, d_norm += e * unit;
          return e * norm;
        };
        float2 d_phi, d_zeta;
        e[pair].x = channel(y[pair].x, z.x, d.x, zeta.x, phi.x, norm.x, d_phi.x, d_zeta.x, d_z[pair].x, d_norm[pair].x);
        e[pair].y = channel(y[pair].y, z.y, d.y, zeta.y, phi.y, norm.y, d_phi.y, d_zeta.y, d_z[pair].y, d_norm[pair].y);
        products += e[pair].x * y[pair].x + e[pair].y * y[pair].y;
        *reinterpret_cast<float2 *>(&memory.Y[t * R + r][p]) = d_phi;
        *reinterpret_cast<float2 *>(&memory.d_gate[t * R + r][p]) = d_zeta;
      }
      if (s.norm) {
        float shift = warpSum(products) * scale * scale / float(s.head_dim);
#pragma unroll
        for (int pair = 0; pair < pairs; ++pair)
          e[pair].x = scale * (e[pair].x - y[pair].x * shift), e[pair].y = scale * (e[pair].y - y[pair].y * shift);
      }
#pragma unroll
      for (int pair = 0; pair < pairs; ++pair)
        storePair(memory.E, t * R + r, Rows::channel(pair), rows, e[pair].x, e[pair].y);
    }
#pragma unroll
    for (int pair = 0; pair < pairs; ++pair)
      if (begin + t < s.sequence)
        writePair(s, pass.d_projection + (int64_t(pass.b) * s.sequence + begin + t) * s.width + h * s.head_dim, Rows::channel(pair),
                  d_z[pair].x, d_z[pair].y);
  }
  if (s.norm)
#pragma unroll
    for (int pair = 0; pair < pairs; ++pair)
      *reinterpret_cast<float2 *>(&memory.norm[threadIdx.x / 32][Rows::channel(pair)]) = d_norm[pair];
}

/// Gradients of step, weight and decay of the chunk's tokens, by one warp; lanes take rows.
template <int N, int P, int R>
__device__ void tokenGradients(const Shape &s, const GradientPass &pass, const GradientMemory<N, P, R> &memory, const Decays<rows / R> &decays,
                               int h, int begin, float *skip) {
  int lane = threadIdx.x & 31;
  auto ofToken = [](float value) {
#pragma unroll
    for (int offset = 1; offset < R; offset <<= 1)
      value += __shfl_xor_sync(0xffffffff, value, offset);
    return value;
  };
  // What passes a token: from earlier ones to the end, and what ends in it or later ones less what begins there.
  float passing[2], ending[2], ending_sum = 0, d_skip = 0;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    int i = lane + 32 * half, t = i / R;
    float pair_row = ofToken(memory.pair_rows[0][i] + memory.pair_rows[1][i]), same = ofToken(memory.same_token[0][i] + memory.same_token[1][i]);
    float out = ofToken(memory.state_out[0][i] + memory.state_out[1][i]), in = ofToken(memory.state_in[0][i] + memory.state_in[1][i]);
    float column = ofToken(memory.pair_columns[0][i] + memory.pair_columns[1][i] + memory.pair_columns[2][i] + memory.pair_columns[3][i]);
    if (i % R == 0 && begin + t < s.sequence) {
      int64_t at = s.token(pass.b, h, begin + t);
      pass.d_weight[at] = column + decays.remaining[t] * in, pass.d_gamma[at] = same;
    }
    passing[half] = decays.leaving[t] * in, ending[half] = out + pair_row - decays.weight[t] * column;
    ending_sum += warpSum(i % R ? 0.0f : ending[half]);
    d_skip += memory.diagonal[i];
  }
  d_skip = warpSum(d_skip);
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

__device__ inline void prefetch(const void *address) { asm volatile("prefetch.global.L2 [%0];" ::"l"(address)); }

template <int N, int P, int R> __global__ void __launch_bounds__(threads, 1) chunkGradients(Shape s, GradientPass pass) {
  constexpr int chunk = rows / R, half = P / 2, quarter = N / 4;
  using Rows = TokenRows<P, R, threads>;
  using Memory = GradientMemory<N, P, R>;
  extern __shared__ __align__(1024) uint8_t shared[];
  Memory &memory = *reinterpret_cast<Memory *>(shared);
  int c = blockIdx.x, g = pass.first_group + blockIdx.y, begin = c * chunk;
  int group = __shfl_sync(0xffffffff, int(threadIdx.x) / 128, 0), side = group & 1, warp = threadIdx.x % 128 / 32, lane = threadIdx.x & 31;
  bool second = group >= 2;
  int row = warp * 16 + lane / 4, column = lane % 4 * 2; // of this thread in accumulators; the other row is row + 8
  uint32_t Q = sharedAddress(memory.Q), K = sharedAddress(memory.K), H = sharedAddress(memory.H), Gamma = sharedAddress(memory.Gamma);
  uint32_t U = sharedAddress(memory.U), E = sharedAddress(memory.E), M = sharedAddress(memory.M), F = sharedAddress(memory.F);
  float(*bias_sums)[4][R][N] = reinterpret_cast<float(*)[4][R][N]>(memory.E);
  static_assert(2 * 4 * R * N * 4 <= 2 * rows * P + 4 * rows * rows + 8192, "the sums of biases take the place of E, M, F and norm");
  int first_head = g * s.group_heads;
  int64_t first_index = int64_t(blockIdx.y) * s.group_heads * s.chunks + c;
  const bf16 *z_row = s.row(pass.b, 0) + first_head * s.head_dim;
  int64_t y_stride = int64_t(s.heads) * s.head_dim;
  const bf16 *d_row = pass.d_y + pass.b * s.sequence * y_stride + first_head * s.head_dim;

  copyTile(memory.H, pass.states + first_index * N * P, N * P * 2);
  copyTile(memory.Gamma, pass.adjoints + first_index * N * P, N * P * 2);
  if (threadIdx.x < 32)
    memory.decays[0].fill(s, pass.b, first_head, begin);
  // Gradients of C (first half of the block) and B (second), summed over heads: channels side * N / 4 + [0, N / 4) and those N / 2 further.
  float keys[N / 4] = {};
  for (int head = 0; head < s.group_heads; ++head) {
    int h = first_head + head;
    int64_t index = first_index + int64_t(head) * s.chunks;
    float *partial = pass.partial + index * parameterFloats(s), *d_bias = partial, *d_psi = d_bias + 2 * R * N, *d_zeta = d_psi + R * P;
    float *d_phi = d_zeta + R * P, *d_norm = d_phi + R * P, *d_skip = d_norm + P;
    const Decays<chunk> &decays = memory.decays[head & 1];
    bool has_next = head + 1 < s.group_heads;
    Rows x, z, d_y;
    x.read(s, z_row + s.column_x + head * s.head_dim, s.width, begin);
    z.read(s, z_row + head * s.head_dim, s.width, begin);
    d_y.read(s, d_row + head * s.head_dim, y_stride, begin);
    addWindowShare<N * P * 2>(memory.Gamma, pass.window_adjoints + (int64_t(blockIdx.y * s.group_heads + head) * s.windows + begin / s.window) * N * P,
                              pass.chunk_decays[index]);
    loadKeys<N, R, threads, true>(s, 0, pass.b, h, begin, memory.K, memory.Q);
    memory.weights.fill(decays);
    placeInputs<P, R, threads>(s, h, x, nullptr, memory.U, nullptr);
#pragma unroll
    for (int k = 0; Memory::keeps_x && k < Rows::tokens; ++k)
#pragma unroll
      for (int pair = 0; pair < Rows::pairs; ++pair)
        if (Rows::token(k) < chunk)
          *reinterpret_cast<uint32_t *>(memory.x + (Rows::token(k) * P + Rows::channel(pair)) * 2) = x.values[k][pair];
    publishTiles();
    __syncthreads();

    // S = Q K^T by the first half of the block, the state's part of Y by the second.
    float S[16] = {}, Y_state[half / 2] = {};
    if (!second) {
      fenceRegisters(S);
      beginProducts();
      multiplyTiles<N, 32, false, false>(S, Q, rows, K + side * 32 * 128, rows);
      commitProducts();
      waitProducts();
      fenceRegisters(S);
      float skip = s.skip.at(h);
#pragma unroll
      for (int i = 0; i < 16; i += 2) {
        int from = row + (i & 2) * 4, to = side * 32 + i / 4 * 8 + column, t = from / R;
        float weights[2] = {memory.weights.at(decays, t, to / R).x, 0};
        weights[1] = R == 1 ? memory.weights.at(decays, t, to + 1).x : weights[0];
        storePair(memory.M, from, to, rows, S[i] * weights[0] + (from == to ? skip : 0.0f), S[i + 1] * weights[1] + (from == to + 1 ? skip : 0.0f));
      }
    } else {
      fenceRegisters(Y_state);
      beginProducts();
      multiplyTiles<N, half, false, true>(Y_state, Q, rows, columnsFrom(H, side * half, N), N);
      commitProducts();
      // What the next head reads first comes closer.
      if (has_next) {
        int i = threadIdx.x % 256;
        const bf16 *next = nullptr;
        if (i < 3 * chunk && begin + i % chunk < s.sequence)
          next = i < chunk       ? z_row + int64_t(begin + i) * s.width + (head + 1) * s.head_dim
                 : i < 2 * chunk ? z_row + s.column_x + int64_t(begin + i - chunk) * s.width + (head + 1) * s.head_dim
                                 : d_row + (begin + i - 2 * chunk) * y_stride + (head + 1) * s.head_dim;
        else if (i >= 3 * chunk && i < 4 * chunk && begin + i - 3 * chunk < s.sequence)
          next = reinterpret_cast<const bf16 *>(s.rotation + s.token(pass.b, h + 1, begin + i - 3 * chunk) * s.A / 2);
        if (next)
          prefetch(next);
      }
      waitProducts();
      fenceRegisters(Y_state);
#pragma unroll
      for (int i = 0; i < half / 2; ++i)
        Y_state[i] *= decays.entering[(row + (i & 2) * 4) / R];
    }
    publishTiles();
    __syncthreads();

    if (second) {
      float Y[half / 2];
#pragma unroll
      for (int i = 0; i < half / 2; ++i)
        Y[i] = Y_state[i];
      fenceRegisters(Y);
      beginProducts();
      multiplyTiles<rows, half, false, true>(Y, M, rows, columnsFrom(U, side * half, rows), rows);
      commitProducts();
      waitProducts();
      fenceRegisters(Y);
#pragma unroll
      for (int i = 0; i < half / 2; i += 2)
        *reinterpret_cast<float2 *>(&memory.Y[row + (i & 2) * 4][side * half + i / 4 * 8 + column]) = {Y[i], Y[i + 1]};
    } else {
      if (threadIdx.x < 32 && has_next)
        memory.decays[(head + 1) & 1].fill(s, pass.b, h + 1, begin);
      float anchor = warpSum(tileDot(memory.H, memory.Gamma, N * P * 2));
      if (lane == 0)
        memory.anchor[threadIdx.x / 32] = anchor;
    }
    __syncthreads();
    gateGradients<N, P, R>(s, pass, memory, h, begin, z, d_y);
    publishTiles();
    __syncthreads();

    // F = E U^T by the first half, K Gamma by the second; meanwhile the gradients of phi, zeta and the norm.
    float dF[16] = {}, dU[half / 2] = {};
    if (!second) {
      fenceRegisters(dF);
      beginProducts();
      multiplyTiles<P, 32, false, false>(dF, E, rows, U + side * 32 * 128, rows);
    } else {
      fenceRegisters(dU);
      beginProducts();
      multiplyTiles<N, half, false, true>(dU, K, rows, columnsFrom(Gamma, side * half, N), N);
    }
    commitProducts();
    for (int i = threadIdx.x; i < 2 * R * P; i += threads) {
      bool zeta = i >= R * P;
      int r = i / P % R, p = i % P;
      float sum = 0;
#pragma unroll 8
      for (int t = 0; t < chunk; ++t)
        sum += (zeta ? memory.d_gate : memory.Y)[t * R + r][p];
      (zeta ? d_zeta : d_phi)[i % (R * P)] = sum;
    }
    if (threadIdx.x < P) {
      float norm = 0;
      if (s.norm)
        for (int w = 0; w < warps; ++w)
          norm += memory.norm[w][threadIdx.x];
      d_norm[threadIdx.x] = norm;
    }
    waitProducts();
    if (!second) {
      // Row and column sums of F * S, and F * mask.
      fenceRegisters(dF);
      float pair_row[2] = {}, same_token[2] = {};
#pragma unroll
      for (int i = 0; i < 16; i += 4) {
        float pair_column[2] = {};
#pragma unroll
        for (int below = 0; below < 2; ++below) {
          int from = row + below * 8, to = side * 32 + i / 4 * 8 + column, t = from / R;
          float masked[2];
          float2 weights = {};
#pragma unroll
          for (int e = 0; e < 2; ++e) {
            int u = (to + e) / R;
            if (R == 1 || e == 0)
              weights = memory.weights.at(decays, t, u);
            float value = dF[i + 2 * below + e], product = value * S[i + 2 * below + e];
            masked[e] = value * weights.x;
            pair_row[below] += t == u ? 0.0f : product * weights.x, pair_column[e] += product * weights.y;
            same_token[below] += t == u ? product : 0.0f;
            if (from == to + e)
              memory.diagonal[from] = value;
          }
          storePair(memory.F, from, to, rows, masked[0], masked[1]);
        }
#pragma unroll
        for (int e = 0; e < 2; ++e) {
#pragma unroll
          for (int offset = 4; offset < 32; offset <<= 1)
            pair_column[e] += __shfl_xor_sync(0xffffffff, pair_column[e], offset);
          if (lane < 4)
            memory.pair_columns[warp][side * 32 + i / 4 * 8 + column + e] = pair_column[e];
        }
      }
#pragma unroll
      for (int below = 0; below < 2; ++below) {
        float pairs = quadSum(pair_row[below]), same = quadSum(same_token[below]);
        if (lane % 4 == 0)
          memory.pair_rows[side][row + below * 8] = pairs, memory.same_token[side][row + below * 8] = same;
      }
    } else {
      // E times the state's part of Y, U times K Gamma; then dU = leaving (K Gamma) + M^T E.
      fenceRegisters(dU);
      float state_out[2] = {}, state_in[2] = {};
#pragma unroll
      for (int i = 0; i < half / 2; i += 2) {
        int below = (i & 2) / 2, at = row + below * 8, p = side * half + i / 4 * 8 + column;
        float2 e = loadPair(memory.E, at, p, rows), u = loadPair(memory.U, at, p, rows);
        state_out[below] += e.x * Y_state[i] + e.y * Y_state[i + 1], state_in[below] += u.x * dU[i] + u.y * dU[i + 1];
      }
#pragma unroll
      for (int below = 0; below < 2; ++below) {
        float out = quadSum(state_out[below]), in = quadSum(state_in[below]);
        if (lane % 4 == 0)
          memory.state_out[side][row + below * 8] = out, memory.state_in[side][row + below * 8] = in;
      }
#pragma unroll
      for (int i = 0; i < half / 2; ++i)
        dU[i] *= decays.leaving[(row + (i & 2) * 4) / R];
      fenceRegisters(dU);
      beginProducts();
      multiplyTiles<rows, half, true, true>(dU, M, rows, columnsFrom(E, side * half, rows), rows);
      commitProducts();
      waitProducts();
      fenceRegisters(dU);
    }
    publishTiles();
    __syncthreads();

    // dQ = entering (E H^T) + (F mask) K by the first half, dK = leaving (U Gamma^T) + (F mask)^T Q by the second.
    if (second)
#pragma unroll
      for (int i = 0; i < half / 2; i += 2)
        *reinterpret_cast<float2 *>(&memory.Y[row + (i & 2) * 4][side * half + i / 4 * 8 + column]) = {dU[i], dU[i + 1]};
    float low[quarter / 2] = {}, high[quarter / 2] = {}; // channels side * N / 4 + [0, N / 4), and those N / 2 further
    int first = side * quarter;
    fenceRegisters(low), fenceRegisters(high);
    beginProducts();
    multiplyTiles<P, quarter, false, false>(low, second ? U : E, rows, (second ? Gamma : H) + first * 128, N);
    multiplyTiles<P, quarter, false, false>(high, second ? U : E, rows, (second ? Gamma : H) + (first + N / 2) * 128, N);
    commitProducts();
    if (threadIdx.x < 32)
      tokenGradients<N, P, R>(s, pass, memory, decays, h, begin, d_skip);
    waitProducts();
    fenceRegisters(low), fenceRegisters(high);
#pragma unroll
    for (int i = 0; i < quarter / 2; ++i) {
      float factor = (second ? decays.leaving : decays.entering)[(row + (i & 2) * 4) / R];
      low[i] *= factor, high[i] *= factor;
    }
    fenceRegisters(low), fenceRegisters(high);
    beginProducts();
    if (second) {
      multiplyTiles<rows, quarter, true, true>(low, F, rows, columnsFrom(Q, first, rows), rows);
      multiplyTiles<rows, quarter, true, true>(high, F, rows, columnsFrom(Q, first + N / 2, rows), rows);
    } else {
      multiplyTiles<rows, quarter, false, true>(low, F, rows, columnsFrom(K, first, rows), rows);
      multiplyTiles<rows, quarter, false, true>(high, F, rows, columnsFrom(K, first + N / 2, rows), rows);
    }
    commitProducts();
    waitProducts();
    fenceRegisters(low), fenceRegisters(high);
    __syncthreads();
    if (has_next) {
      copyTile(memory.H, pass.states + (index + s.chunks) * N * P, N * P * 2);
      copyTile(memory.Gamma, pass.adjoints + (index + s.chunks) * N * P, N * P * 2);
    }

    // Gradients of x and psi, by the warpgroups that have fewer channels to turn.
    if (side) {
      for (int t = group / 2 * 4 + warp; t < chunk && begin + t < s.sequence; t += warps / 2)
#pragma unroll
        for (int pair = 0; pair < Rows::pairs; ++pair) {
          int p = Rows::channel(pair);
          float2 sum = {};
#pragma unroll
          for (int r = 0; r < R; ++r) {
            float2 value = *reinterpret_cast<const float2 *>(&memory.Y[t * R + r][p]), psi = load<float2>(s.psi + (h * R + r) * P + p);
            sum.x += value.x * psi.x, sum.y += value.y * psi.y;
          }
          writePair(s, pass.d_projection + (int64_t(pass.b) * s.sequence + begin + t) * s.width + s.column_x + h * s.head_dim, p, sum.x, sum.y);
        }
      for (int i = group / 2 * 128 + threadIdx.x % 128; i < R * P; i += threads / 2) {
        float psi = 0;
        int r = i / P, p = i % P;
#pragma unroll 8
        for (int t = 0; t < chunk; ++t) {
          float input = 0;
          if constexpr (Memory::keeps_x)
            input = __bfloat162float(reinterpret_cast<const bf16 *>(memory.x)[t * P + p]);
          else if (p < s.head_dim && begin + t < s.sequence)
            input = __bfloat162float(__ldg(z_row + s.column_x + head * s.head_dim + int64_t(begin + t) * s.width + p));
          psi += memory.Y[t * R + r][p] * input;
        }
        d_psi[i] = psi;
      }
    }

    // Turns the gradients back by the angles, and takes the gradients of the angles, the sum over ranks of v0 d1 - v1 d0.
    const uint8_t *tile = second ? memory.K : memory.Q;
    float angles[quarter / 2]; // as low
#pragma unroll
    for (int i = 0; i < quarter / 2; i += 2) {
      int at = row + (i & 2) * 4, j = first + i / 4 * 8 + column, t = begin + at / R;
      angles[i] = angles[i + 1] = 0;
      if (first + i / 4 * 8 < s.A) {
        if (t < s.sequence) {
          float2 v_low = loadPair(tile, at, j, rows), v_high = loadPair(tile, at, N / 2 + j, rows);
          uint2 turns = load<uint2>(s.rotation + (s.token(pass.b, h, t) * s.A + j) / 2); // cosines, sines
#pragma unroll
          for (int e = 0; e < 2; ++e) {
            float2 turn = {e ? __high2float(reinterpret_cast<const __half2 &>(turns.x)) : __low2float(reinterpret_cast<const __half2 &>(turns.x)),
                           e ? __high2float(reinterpret_cast<const __half2 &>(turns.y)) : __low2float(reinterpret_cast<const __half2 &>(turns.y))};
            float d_low = low[i + e], d_high = high[i + e];
            angles[i + e] = (e ? v_low.y : v_low.x) * d_high - (e ? v_high.y : v_high.x) * d_low;
            low[i + e] = d_low * turn.x + d_high * turn.y, high[i + e] = d_high * turn.x - d_low * turn.y;
          }
        }
#pragma unroll
        for (int e = 0; e < 2; ++e)
#pragma unroll
          for (int offset = 4; offset < 4 * R; offset <<= 1)
            angles[i + e] += __shfl_xor_sync(0xffffffff, angles[i + e], offset);
      }
    }
    float *exchange = &memory.d_gate[0][0] + threadIdx.x % 256;
    if (second)
#pragma unroll
      for (int i = 0; i < quarter / 2; ++i)
        exchange[i * 256] = angles[i];
    // Sums over this warp's tokens: the two rows of a thread, then the threads with the same rank.
#pragma unroll
    for (int i = 0; i < quarter / 2; i += 4)
#pragma unroll
      for (int e = 0; e < 2; ++e) {
        float sums[2] = {low[i + e] + low[i + 2 + e], high[i + e] + high[i + 2 + e]};
#pragma unroll
        for (int offset = 4 * R; offset < 32; offset <<= 1)
          sums[0] += __shfl_xor_sync(0xffffffff, sums[0], offset), sums[1] += __shfl_xor_sync(0xffffffff, sums[1], offset);
        if (lane / 4 < R) {
          float *to = bias_sums[second ? 0 : 1][warp][lane / 4] + first + i / 4 * 8 + column + e;
          to[0] = sums[0], to[N / 2] = sums[1];
        }
      }
#pragma unroll
    for (int i = 0; i < quarter / 2; ++i)
      keys[i] += low[i], keys[quarter / 2 + i] += high[i];
    __syncthreads();
    if (!second)
#pragma unroll
      for (int i = 0; i < quarter / 2; i += 2) {
        int at = row + (i & 2) * 4, t = begin + at / R;
        if (first + i / 4 * 8 < s.A && t < s.sequence && at % R == 0)
          *reinterpret_cast<float2 *>(pass.d_turn + s.token(pass.b, h, t) * s.A + first + i / 4 * 8 + column) = {
              angles[i] + exchange[i * 256], angles[i + 1] + exchange[(i + 1) * 256]};
      }
    for (int i = threadIdx.x; i < 2 * R * N; i += threads) {
      int which = i / (R * N), r = i / N % R, n = i % N;
      d_bias[i] = bias_sums[which][0][r][n] + bias_sums[which][1][r][n] + bias_sums[which][2][r][n] + bias_sums[which][3][r][n];
    }
  }
#pragma unroll
  for (int i = 0; i < quarter / 2; i += 2) {
    int at = row + (i & 2) * 4, t = begin + at / R, which = second ? 0 : 1;
    float *to = pass.d_keys + ((((int64_t(which) * s.batch + pass.b) * s.groups + g) * s.sequence + t) * R + at % R) * N + side * quarter +
                i / 4 * 8 + column;
    if (t < s.sequence) {
      *reinterpret_cast<float2 *>(to) = {keys[i], keys[i + 1]};
      *reinterpret_cast<float2 *>(to + N / 2) = {keys[quarter / 2 + i], keys[quarter / 2 + i + 1]};
    }
  }
}

} // namespace

int32_t runGradients(const Shape &s, const GradientPass &pass, cudaStream_t stream) {
  return dispatch(s, [&](auto n, auto p, auto r) {
    auto kernel = chunkGradients<n, p, r>;
    int bytes = sizeof(GradientMemory<n, p, r>);
    cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes);
    kernel<<<dim3(s.chunks, pass.groups), threads, bytes, stream>>>(s, pass);
    return checkCuda("mamba3: gradients");
  });
}

} // namespace megacc::cuda::mamba3
