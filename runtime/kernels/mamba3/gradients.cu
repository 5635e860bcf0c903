// Gradients of the Mamba-3 scan, chunk by chunk, from the states that enter the chunks and the adjoints of those that leave them. A block
// takes a chunk through the heads of its group and so sums the gradients of B and C over them, in order.
#include "runtime/kernels/mamba3/CudaGradients.cuh"

#include <type_traits>

namespace megacc::cuda::mamba3 {
namespace {

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
  int own_row = warp * 16 + lane / 4, column = lane % 4 * 2; // of this thread in accumulators; the other row is own_row + 8
  uint32_t Q = sharedAddress(memory.Q), K = sharedAddress(memory.K), H = sharedAddress(memory.H), Gamma = sharedAddress(memory.Gamma);
  uint32_t U = sharedAddress(memory.U), E = sharedAddress(memory.E), M = sharedAddress(memory.M), F = sharedAddress(memory.F);
  float (*bias_sums)[4][R][N] = reinterpret_cast<float (*)[4][R][N]>(memory.E);
  static_assert(2 * 4 * R * N * 4 <= 2 * rows * P + 4 * rows * rows + 8192, "the sums of biases take the place of E, M, F and norm");
  int first_head = g * s.group_heads;
  int first_index = blockIdx.y * s.group_heads * s.chunks + c; // of a chunk of the pass
  const bf16 *z_row = s.row(pass.b, 0) + first_head * s.head_dim;
  int y_stride = s.heads * s.head_dim;
  const bf16 *d_row = pass.d_y + int64_t(pass.b) * s.sequence * y_stride + first_head * s.head_dim;

  copyTile(memory.H, pass.states + int64_t(first_index) * N * P, N * P * 2);
  copyTile(memory.Gamma, pass.adjoints + int64_t(first_index) * N * P, N * P * 2);
  KeyRows<N, R, threads, true> key_rows;
  uint8_t *turned_keys = key_rows.which ? memory.Q : memory.K, *raw_keys = P == 64 ? memory.keys[key_rows.which] : turned_keys;
  key_rows.copy(s, pass.b, first_head, begin, raw_keys);
  int turn = threadIdx.x % (threads / 2); // B and C share the rotations
  if constexpr (Memory::keeps_turns)
    if (threadIdx.x < threads / 2) {
      for (auto &turns : memory.turns)
        key_rows.clearTurns(s, turns + turn, threads / 2);
      key_rows.copyTurns(s, pass.b, first_head, begin, memory.turns[0] + turn, threads / 2);
    }
  if constexpr (Memory::keeps_head)
    memory.heads[0].copy(s, first_head);
  commitCopies();
  waitCopies();
  if (threadIdx.x < 32)
    memory.decays[0].fill(s, pass.b, first_head, begin);
  __syncthreads();
  float share = load<float>(pass.chunk_decays + first_index); // of the window's adjoint in the chunk's, of the next head
  // Gradients of C (first half of the block) and B (second), summed over heads: channels side * N / 4 + [0, N / 4) and those N / 2 further.
  float keys[N / 4] = {};
  for (int head = 0; head < s.group_heads; ++head) {
    int h = first_head + head, row = anew(own_row);
    int index = first_index + head * s.chunks;
    // Gradients of the biases, of psi, zeta and phi, of the norm and the skip follow one another.
    auto partial = [&](int first) { return pass.partial + int64_t(index) * parameterFloats(s) + first; };
    constexpr int psi_first = 2 * R * N, zeta_first = psi_first + R * P, phi_first = zeta_first + R * P, norm_first = phi_first + R * P;
    const Decays<chunk> &decays = memory.decays[head & 1];
    bool has_next = head + 1 < s.group_heads;
    const float *psi = s.psi + h * R * P, *zeta = s.zeta + h * R * P, *phi = s.phi + h * R * P;
    const __half *bias = s.biases + (int64_t(key_rows.which) * s.heads + h) * R * N;
    const uint4 *turns = nullptr;
    if constexpr (Memory::keeps_turns)
      turns = memory.turns[head & 1] + turn;
    if constexpr (Memory::keeps_head) {
      const auto &tables = memory.heads[head & 1];
      psi = tables.psi, zeta = tables.zeta, phi = tables.phi, bias = tables.bias[key_rows.which];
    }
    Rows x, z, d_y;
    x.read(s, z_row + s.column_x + head * s.head_dim, s.width, begin);
    z.read(s, z_row + head * s.head_dim, s.width, begin);
    d_y.read(s, d_row + head * s.head_dim, y_stride, begin);
    addWindowShare<N * P * 2>(
        memory.Gamma, pass.window_adjoints + (int64_t(blockIdx.y * s.group_heads + head) * s.windows + begin / s.window) * N * P, share);
    share = has_next ? load<float>(pass.chunk_decays + index + s.chunks) : 0.0f;
    KeyRows<N, R, threads, true> turned = key_rows;
    turned.j = anew(key_rows.j), turned.first = anew(key_rows.first);
    turned.turn(s, pass.b, h, begin, bias, raw_keys, turned_keys, turns, threads / 2);
    memory.weights.fill(decays);
    placeInputs<true, false>(x, psi, nullptr, memory.U, nullptr);
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
        storePair(memory.M, from, to, rows, S[i] * weights[0] + (from == to ? skip : 0.0f),
                  S[i + 1] * weights[1] + (from == to + 1 ? skip : 0.0f));
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
                                 : d_row + int64_t(begin + i - 2 * chunk) * y_stride + (head + 1) * s.head_dim;
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
    if (s.norm)
      gateGradients<N, P, R, true>(s, pass, memory, h, begin, psi, zeta, phi, x, z, d_y);
    else
      gateGradients<N, P, R, false>(s, pass, memory, h, begin, psi, zeta, phi, x, z, d_y);
    publishTiles();
    __syncthreads();

    if constexpr (Memory::keeps_head)
      if (has_next) {
        memory.heads[(head + 1) & 1].copy(s, h + 1);
        if constexpr (Memory::keeps_turns)
          if (threadIdx.x < threads / 2)
            key_rows.copyTurns(s, pass.b, h + 1, begin, memory.turns[(head + 1) & 1] + turn, threads / 2);
      }
    commitCopies();

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
      partial(zeta ? zeta_first : phi_first)[i % (R * P)] = sum;
    }
    if (threadIdx.x < P) {
      float norm = 0;
      if (s.norm)
        for (int w = 0; w < warps; ++w)
          norm += memory.norm[w][threadIdx.x];
      partial(norm_first)[threadIdx.x] = norm;
    }
    waitProducts();
    if (!second) {
      // Row and column sums of F * S, and F * mask.
      fenceRegisters(dF);
      float masked_row[2] = {}, same_token[2] = {}, pair_column[8] = {};
#pragma unroll
      for (int below = 0; below < 2; ++below) {
        int from = row + below * 8, t = from / R;
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          int to = side * 32 + i * 8 + column;
          float2 weights = memory.weights.at(decays, t, to / R);
          float masked[2];
#pragma unroll
          for (int e = 0; e < 2; ++e) {
            if (R == 1 && e)
              weights = memory.weights.at(decays, t, to + 1);
            float value = dF[i * 4 + 2 * below + e], product = value * S[i * 4 + 2 * below + e];
            masked[e] = value * weights.x;
            masked_row[below] = fmaf(product, weights.x, masked_row[below]);
            pair_column[2 * i + e] = fmaf(product, weights.y, pair_column[2 * i + e]);
            if (t == (to + e) / R)
              same_token[below] += product;
          }
          storePair(memory.F, from, to, rows, masked[0], masked[1]);
        }
      }
      // Column i of this thread's eight over the warp's rows: every thread ends with one of them.
#pragma unroll
      for (int count = 4, offset = 16; count; count >>= 1, offset >>= 1)
#pragma unroll
        for (int i = 0; i < count; ++i) {
          bool upper = lane & offset;
          float kept = select(upper, pair_column[i + count], pair_column[i]), sent = select(upper, pair_column[i], pair_column[i + count]);
          pair_column[i] = kept + __shfl_xor_sync(0xffffffff, sent, offset);
        }
      int mine = (lane >> 4 & 1) * 4 + (lane >> 3 & 1) * 2 + (lane >> 2 & 1);
      memory.pair_columns[warp][side * 32 + mine / 2 * 8 + column + mine % 2] = pair_column[0];
#pragma unroll
      for (int below = 0; below < 2; ++below) {
        float masked = quadSum(masked_row[below]), same = quadSum(same_token[below]);
        if (lane % 4 == 0)
          memory.masked_rows[side][row + below * 8] = masked, memory.same_token[side][row + below * 8] = same;
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
      copyTile(memory.H, pass.states + int64_t(index + s.chunks) * N * P, N * P * 2);
      copyTile(memory.Gamma, pass.adjoints + int64_t(index + s.chunks) * N * P, N * P * 2);
    }
    commitCopies();

    // Gradients of the tokens' scalars, x and psi, by the warpgroups that have fewer channels to turn.
    if (side) {
      if (threadIdx.x / 32 == warps - 1)
        tokenGradients<N, P, R>(s, pass, memory, decays, h, begin, partial(norm_first + P));
      for (int t = group / 2 * 4 + warp; t < chunk && begin + t < s.sequence; t += warps / 2)
#pragma unroll
        for (int pair = 0; pair < Rows::pairs; ++pair) {
          int p = Rows::channel(pair);
          float2 sum = {};
#pragma unroll
          for (int r = 0; r < R; ++r) {
            float2 value = *reinterpret_cast<const float2 *>(&memory.Y[t * R + r][p]),
                   factor = *reinterpret_cast<const float2 *>(psi + r * P + p);
            sum.x += value.x * factor.x, sum.y += value.y * factor.y;
          }
          writePair(s, pass.d_projection + (int64_t(pass.b) * s.sequence + begin + t) * s.width + s.column_x + h * s.head_dim, p, sum.x,
                    sum.y);
        }
      for (int i = group / 2 * 128 + threadIdx.x % 128; i < R * P; i += threads / 2) {
        float sum = 0;
        int r = i / P, p = i % P;
#pragma unroll 8
        for (int t = 0; t < chunk; ++t) {
          float input = 0;
          if constexpr (Memory::keeps_x)
            input = __bfloat162float(reinterpret_cast<const bf16 *>(memory.x)[t * P + p]);
          else if (p < s.head_dim && begin + t < s.sequence)
            input = __bfloat162float(__ldg(z_row + s.column_x + head * s.head_dim + int64_t(begin + t) * s.width + p));
          sum += memory.Y[t * R + r][p] * input;
        }
        partial(psi_first)[i] = sum;
      }
    }

    // Turns the gradients back by the angles, and takes the gradients of the angles, the sum over ranks of v0 d1 - v1 d0. With ranks every
    // thread ends with one of its four sums per column tile: of row side `kept_below`, column `kept_column`.
    const uint8_t *tile = second ? memory.K : memory.Q;
    constexpr int kept = R == 1 ? 4 : 1;
    int kept_below = lane >> 2 & 1, kept_column = lane >> 3 & 1;
    float angles[quarter / 8][kept];
    bool valid[2] = {begin + row / R < s.sequence, begin + (row + 8) / R < s.sequence};
    int64_t first_token = s.token(pass.b, h, begin);
    // Of the thread's two tokens, the pairs of angles of column tile 0; that of tile i is i * stride further.
    const uint2 *rotations[2];
    int stride = 4;
#pragma unroll
    for (int below = 0; below < 2; ++below) {
      int t = (row + below * 8) / R;
      if constexpr (Memory::keeps_turns) {
        using Keys = KeyRows<N, R, threads, true>;
        int place = t * R / Keys::own * Keys::lanes + first / 8 + column / 4 * (threads / 2);
        rotations[below] = reinterpret_cast<const uint2 *>(memory.turns[head & 1] + place) + column / 2 % 2, stride = 2;
      } else {
        rotations[below] = s.rotation + ((first_token + t) * s.A + first + column) / 2;
      }
    }
#pragma unroll
    for (int i = 0; i < quarter / 8; ++i) {
      float sums[4] = {};
      if (first + i * 8 >= s.A)
        break;
#pragma unroll
      for (int below = 0; below < 2; ++below) {
        if (!valid[below])
          continue;
        int at = row + below * 8, j = first + i * 8 + column;
        float2 v_low = loadPair(tile, at, j, rows), v_high = loadPair(tile, at, N / 2 + j, rows);
        uint2 turns = rotations[below][i * stride]; // cosines, sines
        float2 cosine = __half22float2(reinterpret_cast<const __half2 &>(turns.x)),
               sine = __half22float2(reinterpret_cast<const __half2 &>(turns.y));
        float *l = low + i * 4 + below * 2, *u = high + i * 4 + below * 2;
        sums[below * 2] = v_low.x * u[0] - v_high.x * l[0], sums[below * 2 + 1] = v_low.y * u[1] - v_high.y * l[1];
        float turned[2] = {l[0] * cosine.x + u[0] * sine.x, l[1] * cosine.y + u[1] * sine.y};
        u[0] = u[0] * cosine.x - l[0] * sine.x, u[1] = u[1] * cosine.y - l[1] * sine.y;
        l[0] = turned[0], l[1] = turned[1];
      }
      if constexpr (R == 1) {
#pragma unroll
        for (int k = 0; k < 4; ++k)
          angles[i][k] = sums[k];
      } else {
#pragma unroll
        for (int k = 0; k < 2; ++k)
          sums[k] = select(kept_below, sums[2 + k], sums[k]) + __shfl_xor_sync(0xffffffff, select(kept_below, sums[k], sums[2 + k]), 4);
        float sum = select(kept_column, sums[1], sums[0]) + __shfl_xor_sync(0xffffffff, select(kept_column, sums[0], sums[1]), 8);
        angles[i][0] = R == 8 ? sum + __shfl_xor_sync(0xffffffff, sum, 16) : sum;
      }
    }
    float *exchange = &memory.d_gate[0][0] + threadIdx.x % 256;
    if (second)
#pragma unroll
      for (int i = 0; i < quarter / 8; ++i)
#pragma unroll
        for (int k = 0; k < kept; ++k)
          if (first + i * 8 < s.A)
            exchange[(i * kept + k) * 256] = angles[i][k];
    // Sums over this warp's tokens: the two rows of a thread, then the threads with the same rank.
    float *bias_sum = &bias_sums[second ? 0 : 1][warp][lane / 4 % R][first + column];
#pragma unroll
    for (int i = 0; i < quarter / 8; ++i)
#pragma unroll
      for (int e = 0; e < 2; ++e) {
        float sums[2] = {low[i * 4 + e] + low[i * 4 + 2 + e], high[i * 4 + e] + high[i * 4 + 2 + e]};
        if constexpr (R == 4) { // the upper half of the warp ends with the upper channels
          bool upper = lane >= 16;
          bias_sum[(upper ? N / 2 : 0) + i * 8 + e] =
              select(upper, sums[1], sums[0]) + __shfl_xor_sync(0xffffffff, select(upper, sums[0], sums[1]), 16);
        } else {
#pragma unroll
          for (int offset = 4 * R; offset < 32; offset <<= 1)
            sums[0] += __shfl_xor_sync(0xffffffff, sums[0], offset), sums[1] += __shfl_xor_sync(0xffffffff, sums[1], offset);
          if (lane / 4 < R)
            bias_sum[i * 8 + e] = sums[0], bias_sum[N / 2 + i * 8 + e] = sums[1];
        }
      }
#pragma unroll
    for (int i = 0; i < quarter / 2; ++i)
      keys[i] += low[i], keys[quarter / 2 + i] += high[i];
    waitCopies<1>(); // the next head's tables, not its states
    __syncthreads();
    if (P != 64 && has_next)
      key_rows.copy(s, pass.b, h + 1, begin, raw_keys);
    commitCopies();
    if (!second && (R < 8 || lane < 16))
#pragma unroll
      for (int k = 0; k < kept; ++k) {
        int below = R == 1 ? k / 2 : kept_below, e = R == 1 ? k % 2 : kept_column;
        float *to = pass.d_turn + (first_token + (row + below * 8) / R) * s.A + first + column + e;
        if (begin + (row + below * 8) / R < s.sequence)
#pragma unroll
          for (int i = 0; i < quarter / 8; ++i)
            if (first + i * 8 < s.A)
              to[i * 8] = angles[i][k] + exchange[(i * kept + k) * 256];
      }
    for (int i = threadIdx.x; i < 2 * R * N; i += threads) {
      int which = i / (R * N), r = i / N % R, n = i % N;
      partial(0)[i] = bias_sums[which][0][r][n] + bias_sums[which][1][r][n] + bias_sums[which][2][r][n] + bias_sums[which][3][r][n];
    }
  }
#pragma unroll
  for (int i = 0; i < quarter / 2; i += 2) {
    int at = own_row + (i & 2) * 4, t = begin + at / R, which = second ? 0 : 1;
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
