// The backward recurrence for key 64 and value 16 on tensor cores, see Window.cuh. Windows go from the last to the first. Four warps walk
// back through the states of one with A = dL/dh,
//   A += q dy^T, dq = h dy, df = sum A (h_before - z), X = (1-f) A (1-z^2), dk = X v, dv = X^T k, dW += h_before^T X, A <- f A + X W^T,
// while four others compute the states of the window before again, from the stored one. Warps of the same rows share a scheduler: each
// has instructions to issue while the other waits.
#include "runtime/kernels/m2rnn/Window.cuh"

namespace megacc::runtime::cuda::m2rnn {

namespace {

/// Warps that compute states again, warps that walk back, and the helper.
constexpr int grad_threads = 32 * (2 * row_warps + 1);

struct Shared {
  Window windows[3];
  uint4 states[2][row_warps][window + 1][32]; // before each token, and after the last; bf16
  uint4 squashed[2][row_warps][window][32];   // z in f16, then X in bf16
  float d_v[2][row_warps][window][fast_value];
  float d_decay[2][row_warps][window][32];
};

/// The helper's part of the results of a window: d_v, d_f and the sums of its lane for d_a_log and d_dt_bias.
__device__ void finish(const Shared &shared, int turn, bf16 *d_v, bf16 *d_f, const Sizes &size, const Tile &tile, int begin, float2 &sums) {
  const Window &from = shared.windows[turn % 3];
  storeColumns(d_v, shared.d_v[turn % 2], size, tile, begin);
  int lane = threadIdx.x % 32, s = lane / 2;
  float sum = 0;
#pragma unroll
  for (int part = 0; part < 2; ++part)
#pragma unroll
    for (int j = 0; j < 8; ++j) {
      // Lanes start at different places, so that they read different banks.
      float4 four = *reinterpret_cast<const float4 *>(&shared.d_decay[turn % 2][2 * (lane % 2) + part][s][(j + s) % 8 * 4]);
      sum += (four.x + four.y) + (four.z + four.w);
    }
  sum += __shfl_xor_sync(0xffffffffu, sum, 1);
  if (lane % 2 || begin + s >= size.sequence)
    return;
  float d_exponent = -sum * from.gate[s].x, d_input = d_exponent * from.exponent[s].y;
  d_f[(tile.first + begin + s) * size.heads + tile.head] = fromFloat<bf16>(d_input);
  sums.x += d_exponent * from.exponent[s].x;
  sums.y += d_input;
}

/// What a lane needs of one token on the way back.
struct BackInputs {
  __device__ BackInputs(const uint4 (*states)[32], const uint4 (*squashed)[32], const LanePlace &from, int s) {
    loadTile(before, states[s]);
    loadTile(z, squashed[s]);
    q[0] = from.q[s * fast_key], q[1] = from.q[s * fast_key + 8];
#pragma unroll
    for (int n = 0; n < 2; ++n) {
      d_y[n] = from.d_y[s * fast_value / 2 + 4 * n];
      d_y_pairs[n] = from.d_y_pairs[s * fast_value / 2 + 4 * n];
      v_pairs[n] = from.v_pairs[s * fast_value / 2 + 4 * n];
    }
    gate = from.gate[s];
  }
  uint32_t before[4], z[4], d_y_pairs[2], v_pairs[2];
  float q[2];
  float2 d_y[2], gate;
};

/// Eight tokens of this warp's rows to their group of shares; the accumulator has a column per token.
__device__ void storeShare(bf16 *group, const float (&sum)[4], int warp) {
  int lane = threadIdx.x % 32;
  auto *to = reinterpret_cast<uint32_t *>(group + 16 * warp * 8) + lane;
  to[0] = packBf16(sum[0], sum[1]);
  to[32] = packBf16(sum[2], sum[3]);
}

template <bool has_documents>
__global__ void __launch_bounds__(grad_threads, 1)
    scanGradKernel(bf16 *d_v, bf16 *d_f, Shares<bf16> shares, const bf16 *d_y, const bf16 *states, Inputs<bf16> in, Sizes size) {
  extern __shared__ __align__(16) char memory[];
  Shared &shared = *reinterpret_cast<Shared *>(memory);
  Tile tile(size);
  int role = threadIdx.x / 32 / row_warps, warp = threadIdx.x / 32 % row_warps, lane = threadIdx.x % 32;
  int g = lane / 4, i = lane % 4, count = (size.sequence + window - 1) / window;
  const bf16 *matrix = in.weight + tile.head * fast_value * fast_value;

  // The helper: window `turn + 2` comes while `turn` is at work, and results of `turn - 1` leave.
  if (role == 2) {
    Courier courier(size, tile, in, d_y);
    float2 sums = {};
    for (int turn = 0; turn < 2; ++turn) {
      courier.ask(max(count - 1 - turn, 0) * window);
      courier.deliver(shared.windows[turn]);
    }
    __syncthreads();
    __syncthreads();
    for (int turn = 0; turn < count; ++turn) {
      courier.ask(max(count - 3 - turn, 0) * window);
      if (turn > 0)
        finish(shared, turn - 1, d_v, d_f, size, tile, (count - turn) * window, sums);
      __syncwarp();
      courier.deliver(shared.windows[(turn + 2) % 3]);
      __syncthreads();
    }
    finish(shared, count - 1, d_v, d_f, size, tile, 0, sums);
    sums = {warpSum(sums.x), warpSum(sums.y)};
    if (lane == 0)
      *reinterpret_cast<float2 *>(shares.sums + 2 * int64_t(blockIdx.x)) = sums;
    return;
  }

  // The states of window `turn`, then z: they are ready a barrier before that window's walk. After the last there is nothing to do.
  if (role == 0) {
    WeightFragments weight(matrix);
    auto *kept =
        reinterpret_cast<const uint32_t *>(states) + ((int64_t(blockIdx.x) * count) * fast_key + 16 * warp + g) * (fast_value / 2) + i;
    uint32_t entering[4];
    auto ask = [&](int turn) {
      const uint32_t *at = kept + int64_t(max(count - 1 - turn, 0)) * fast_key * (fast_value / 2);
      entering[0] = at[0], entering[1] = at[8 * fast_value / 2];
      entering[2] = at[4], entering[3] = at[8 * fast_value / 2 + 4];
    };
    ask(0);
    __syncthreads();
    for (int turn = 0; turn <= count; ++turn) {
      if (turn < count) {
        LanePlace from(shared.windows[turn % 3], warp);
        uint4(*to_states)[32] = shared.states[turn % 2][warp], (*to_squashed)[32] = shared.squashed[turn % 2][warp];
        Rows h, z;
#pragma unroll
        for (int e = 0; e < 4; ++e) {
          float2 pair = unpackBf16(entering[e]);
          h[e / 2][e % 2 * 2] = pair.x, h[e / 2][e % 2 * 2 + 1] = pair.y;
        }
        storeTile(to_states[0], entering);
        ask(turn + 1);
        StepInputs inputs(from, 0);
#pragma unroll 8
        for (int s = 0; s < window; ++s) {
          StepInputs next(from, s + 1);
          if (has_documents && from.reset[s])
            forget(h);
          project(z, h, inputs, weight);
          settle(h, z, inputs.gate);
          uint32_t packed[4];
          packRows(packed, h);
          storeTile(to_states[s + 1], packed);
          packRowsF16(packed, z);
          storeTile(to_squashed[s], packed);
          inputs = next;
        }
      }
      __syncthreads();
    }
    return;
  }

  uint32_t transposed[2][2]; // W^T as a right operand
#pragma unroll
  for (int n = 0; n < 2; ++n)
#pragma unroll
    for (int half = 0; half < 2; ++half)
      transposed[n][half] = *reinterpret_cast<const uint32_t *>(matrix + (g + 8 * n) * fast_value + 2 * i + 8 * half);
  Rows adjoint = {}, d_weight = {};
  __syncthreads();
  __syncthreads();
  for (int turn = 0; turn < count; ++turn) {
    LanePlace from(shared.windows[turn % 3], warp);
    uint4(*tiles)[32] = shared.states[turn % 2][warp], (*squashed)[32] = shared.squashed[turn % 2][warp];
    float *decays = &shared.d_decay[turn % 2][warp][0][lane];
    Rows d_value = {};
    float d_q[4] = {}, d_k[4] = {};
    uint32_t after[4];
    loadTile(after, tiles[window]);
    BackInputs inputs(tiles, squashed, from, window - 1);

    // d_v and d_weight follow two tokens behind; before the first there are zeros.
    uint32_t left_state[4] = {}, left_x[4] = {}, left_k[4] = {};
    auto fetchLeft = [&](int s) {
      __syncwarp();
      loadTileTransposed(left_x, squashed[s]);
      loadTileTransposedLeft(left_state, tiles[s]);
      oneRow(left_k, from.k_pairs, s);
    };
    auto multiplyLeft = [&](int s) {
      multiplyBf16(d_value[0], left_k, left_x[0], left_x[1]);
      multiplyBf16(d_value[1], left_k, left_x[2], left_x[3]);
      if (has_documents && s < window && from.reset[s])
        return;
      multiplyBf16(d_weight[0], left_state, left_x[0], left_x[1]);
      multiplyBf16(d_weight[1], left_state, left_x[2], left_x[3]);
    };

#pragma unroll 1
    for (int half = 1; half >= 0; --half) {
#pragma unroll
      for (int j = 7; j >= 0; --j) {
        int s = 8 * half + j;
        BackInputs next(tiles, squashed, from, j > 0 || half > 0 ? s - 1 : 0);
        bool is_column = g == j, resets = has_documents && from.reset[s];
        multiplyBf16(d_q, after, is_column ? inputs.d_y_pairs[0] : 0, is_column ? inputs.d_y_pairs[1] : 0);
        Rows x;
        uint32_t packed[4];
        float d_decay = 0;
#pragma unroll
        for (int n = 0; n < 2; ++n)
#pragma unroll
          for (int row = 0; row < 2; ++row) {
            float2 before = unpackBf16(inputs.before[2 * n + row]), z = unpackF16(inputs.z[2 * n + row]);
            if (resets)
              before = {};
            float &a0 = adjoint[n][2 * row], &a1 = adjoint[n][2 * row + 1];
            a0 += inputs.q[row] * inputs.d_y[n].x, a1 += inputs.q[row] * inputs.d_y[n].y;
            d_decay += a0 * (before.x - z.x);
            d_decay += a1 * (before.y - z.y);
            x[n][2 * row] = a0 * (inputs.gate.y - inputs.gate.y * z.x * z.x);
            x[n][2 * row + 1] = a1 * (inputs.gate.y - inputs.gate.y * z.y * z.y);
          }
        packRows(packed, x);
#pragma unroll
        for (int n = 0; n < 2; ++n) {
#pragma unroll
          for (int e = 0; e < 4; ++e)
            adjoint[n][e] *= inputs.gate.x;
          multiplyBf16(adjoint[n], packed, transposed[n][0], transposed[n][1]);
        }
        if (resets)
          forget(adjoint);
        multiplyBf16(d_k, packed, is_column ? inputs.v_pairs[0] : 0, is_column ? inputs.v_pairs[1] : 0);
        multiplyLeft(s + 2);
        if (j < 7 || half == 0)
          fetchLeft(s + 1);
        storeTile(squashed[s], packed);
        decays[s * 32] = d_decay;
#pragma unroll
        for (int e = 0; e < 4; ++e)
          after[e] = inputs.before[e];
        inputs = next;
      }
      int64_t group = (int64_t(blockIdx.x) * size.groups() + (count - 1 - turn) * (window / 8) + half) * fast_key * 8;
      storeShare(shares.q + group, d_q, warp);
      storeShare(shares.k + group, d_k, warp);
#pragma unroll
      for (int e = 0; e < 4; ++e)
        d_q[e] = d_k[e] = 0;
    }
    multiplyLeft(1);
    fetchLeft(0);
    multiplyLeft(0);
    storeAccumulator(shared.d_v[turn % 2][warp], d_value);
    __syncthreads();
  }
  auto *total = reinterpret_cast<float (*)[fast_value]>(shares.weight + (int64_t(blockIdx.x) * row_warps + warp) * fast_value * fast_value);
#pragma unroll
  for (int n = 0; n < 2; ++n) {
    *reinterpret_cast<float2 *>(&total[g][2 * i + 8 * n]) = {d_weight[n][0], d_weight[n][1]};
    *reinterpret_cast<float2 *>(&total[g + 8][2 * i + 8 * n]) = {d_weight[n][2], d_weight[n][3]};
  }
}

} // namespace

int32_t scanGradFast(const MgLaunch *launch, const Sizes &size, const Inputs<bf16> &in, const bf16 *d_y, const bf16 *states, bf16 *d_v,
                     bf16 *d_f, const Shares<bf16> &shares) {
  auto start = [&](auto kernel) {
    if (int32_t status =
            check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, sizeof(Shared)), "mg_m2rnn_scan_grad"))
      return status;
    kernel<<<unsigned(size.tiles()), grad_threads, sizeof(Shared), streamOf(launch)>>>(d_v, d_f, shares, d_y, states, in, size);
    return launched("mg_m2rnn_scan_grad");
  };
  return in.documents ? start(scanGradKernel<true>) : start(scanGradKernel<false>);
}

} // namespace megacc::runtime::cuda::m2rnn
