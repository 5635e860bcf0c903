// y of the Mamba-3 scan from the states that enter windows; with an output norm also E = dL/dY of a chunk's rows, which then depends on Y.
#include "runtime/kernels/mamba3/CudaScan.cuh"

#include <type_traits>

namespace megacc::cuda::mamba3 {
namespace {

template <int N, int P, int R> struct OutputMemory {
  uint8_t Q[rows * N * 2], K[rows * N * 2], H[N * P * 2], U[rows * P * 2], leaving_U[rows * P * 2], M[rows * rows * 2];
  float Y[rows][P + 8];
  uint4 turns[R > 1 ? 2 * block_threads : 1];
  HeadTables<N, P, R> head;
  PairWeights<R> weights;
  Decays<rows / R> decays[max_window * R / rows];
};

/// One row of E from its Y. `y` and `e` hold this lane's channels; e is d_y * phi * silu(z * zeta) * norm.
template <int Pairs> __device__ void normGradient(const Shape &s, float2 (&y)[Pairs], float2 (&e)[Pairs]) {
  float squares = 0, products = 0;
#pragma unroll
  for (int k = 0; k < Pairs; ++k)
    squares += y[k].x * y[k].x + y[k].y * y[k].y, products += y[k].x * e[k].x + y[k].y * e[k].y;
  float scale = rsqrtf(warpSum(squares) / float(s.head_dim) + s.eps), shift = warpSum(products) * scale * scale / float(s.head_dim);
#pragma unroll
  for (int k = 0; k < Pairs; ++k)
    e[k].x = scale * (e[k].x - y[k].x * shift), e[k].y = scale * (e[k].y - y[k].y * shift);
}

/// One block per span of windows of a head.
template <int N, int P, int R, bool Gradient>
__global__ void __launch_bounds__(block_threads, P == 64 ? 2 : 1) walkOutputs(Shape s, StatePass pass, bf16 *y, bf16 *E) {
  constexpr int chunk = rows / R, columns = N == 128 ? P : P / 2, half = P / 2, pairs = P / 64;
  using Rows = TokenRows<P, R, block_threads>;
  extern __shared__ __align__(1024) uint8_t shared[];
  OutputMemory<N, P, R> &memory = *reinterpret_cast<OutputMemory<N, P, R> *>(shared);
  int window = blockIdx.x * pass.span, head = blockIdx.y, b = pass.first_batch + blockIdx.z, h = pass.first_head + head;
  int group = __shfl_sync(0xffffffff, int(threadIdx.x) / 128, 0), warp = threadIdx.x % 128 / 32, lane = threadIdx.x & 31;
  int own_row = warp * 16 + lane / 4, column = lane % 4 * 2; // of this thread in accumulators; the other row is row + 8
  int first_row = (N == 128 ? group * 64 : 0) + own_row, first_column = (N == 128 ? 0 : group * columns) + column;
  int64_t index = int64_t(blockIdx.z) * pass.heads + head;
  float skip = s.skip.at(h);

  int window_begin = window * s.window, end = min(s.sequence, window_begin + pass.span * s.window);
  int count = (end - window_begin + chunk - 1) / chunk, window_chunks = s.window / chunk;
  memory.head.copy(s, h);
  commitCopies();
  waitCopies();
  auto fillDecays = [&](int first) {
    for (int c = threadIdx.x / 32; c < window_chunks && first + c < count; c += block_warps)
      memory.decays[c].fill(s, b, h, window_begin + (first + c) * chunk);
  };
  fillDecays(0);
  float state[columns / 2] = {};
  readStart<N, P>(s, pass, index, b, h, window, first_row, first_column, state);
  if (pass.exact_windows)
    writeWindow(s, pass, b, h, window, first_row, first_column, state);
  const bf16 *z_row = s.row(b, 0) + h * s.head_dim, *x_row = z_row + s.column_x;
  int64_t y_stride = int64_t(s.heads) * s.head_dim, y_first = (int64_t(b) * s.sequence * s.heads + h) * s.head_dim;
  Rows x, z, d;
  x.read(s, x_row, s.width, window_begin);
  KeyRows<N, R, block_threads, true> key_rows;
  uint8_t *keys = key_rows.which ? memory.Q : memory.K;
  const __half *bias = memory.head.bias[key_rows.which];
  uint4 *turns = R > 1 ? memory.turns + threadIdx.x : nullptr;
  auto copyKeys = [&](int begin) {
    key_rows.copy(s, b, h, begin, keys);
    if (R > 1)
      key_rows.copyTurns(s, b, h, begin, turns, block_threads);
  };
  if (R > 1)
    key_rows.clearTurns(s, turns, block_threads);
  copyKeys(window_begin);
  commitCopies();
  __syncthreads();

  for (int c = 0, filled = 0; c < count; ++c) {
    int begin = window_begin + c * chunk, row = anew(own_row), state_row = anew(first_row);
    const Decays<chunk> &decays = memory.decays[c - filled];
    placeInputs<P, R, block_threads>(x, memory.head.psi, decays.leaving, memory.U, memory.leaving_U);
    x.read(s, x_row, s.width, begin + chunk);
    z.read(s, z_row, s.width, begin);
    if constexpr (Gradient)
      d.read(s, pass.d_y + y_first, y_stride, begin);
    waitCopies();
    key_rows.turn(s, b, h, begin, bias, keys, keys, turns, block_threads);
    memory.weights.fill(decays);
#pragma unroll
    for (int i = 0; i < columns / 2; i += 2)
      storePair(memory.H, state_row + (i & 2) * 4, first_column + i / 4 * 8, N, state[i], state[i + 1]);
    publishTiles();
    __syncthreads();

    // S = Q K^T and Q H, half of the columns a warpgroup.
    float S[16] = {}, Y[half / 2] = {};
    fenceRegisters(S), fenceRegisters(Y);
    beginProducts();
    multiplyTiles<N, 32, false, false>(S, sharedAddress(memory.Q), rows, sharedAddress(memory.K) + group * 32 * 128, rows);
    commitProducts();
    multiplyTiles<N, half, false, true>(Y, sharedAddress(memory.Q), rows, columnsFrom(sharedAddress(memory.H), group * half, N), N);
    commitProducts();
    waitProducts<1>();
    fenceRegisters(S);
#pragma unroll
    for (int i = 0; i < 16; i += 2) {
      int from = row + (i & 2) * 4, to = group * 32 + i / 4 * 8 + column, t = from / R;
      float weights[2] = {memory.weights.at(decays, t, to / R).x, 0};
      weights[1] = R == 1 ? memory.weights.at(decays, t, to + 1).x : weights[0];
      storePair(memory.M, from, to, rows, S[i] * weights[0] + (from == to ? skip : 0.0f),
                S[i + 1] * weights[1] + (from == to + 1 ? skip : 0.0f));
    }
    waitProducts();
    fenceRegisters(Y);
#pragma unroll
    for (int i = 0; i < half / 2; ++i)
      Y[i] *= decays.entering[(row + (i & 2) * 4) / R];
#pragma unroll
    for (float &value : state)
      value *= decays.end[0];
    publishTiles();
    __syncthreads();

    fenceRegisters(Y), fenceRegisters(state);
    beginProducts();
    multiplyTiles<rows, half, false, true>(Y, sharedAddress(memory.M), rows, columnsFrom(sharedAddress(memory.U), group * half, rows),
                                           rows);
    commitProducts();
    multiplyTiles<rows, columns, true, true>(state, sharedAddress(memory.K) + (N == 128 ? group * 8192 : 0), rows,
                                             columnsFrom(sharedAddress(memory.leaving_U), N == 128 ? 0 : group * columns, rows), rows);
    commitProducts();
    waitProducts<1>();
    fenceRegisters(Y);
#pragma unroll
    for (int i = 0; i < half / 2; i += 2)
      *reinterpret_cast<float2 *>(&memory.Y[row + (i & 2) * 4][group * half + i / 4 * 8 + column]) = {Y[i], Y[i + 1]};
    waitProducts();
    fenceRegisters(state);
    __syncthreads();
    if (c + 1 < count)
      copyKeys(begin + chunk);
    commitCopies();
    if (c + 1 == filled + window_chunks && c + 1 < count) { // the decays of this window have been read
      filled = c + 1;
      fillDecays(filled);
      if (pass.exact_windows)
        writeWindow(s, pass, b, h, ++window, first_row, first_column, state);
      __syncthreads();
    }

    float2 sum[Rows::tokens][pairs] = {};
#pragma unroll
    for (int r = 0; r < R; ++r) {
      float2 zeta[pairs], phi[pairs];
#pragma unroll
      for (int pair = 0; pair < pairs; ++pair) {
        zeta[pair] = *reinterpret_cast<const float2 *>(memory.head.zeta + r * P + Rows::channel(pair));
        phi[pair] = *reinterpret_cast<const float2 *>(memory.head.phi + r * P + Rows::channel(pair));
        if (s.norm) {
          float2 norm = load<float2>(s.out_norms + h * P + Rows::channel(pair));
          phi[pair].x *= norm.x, phi[pair].y *= norm.y;
        }
      }
#pragma unroll
      for (int k = 0; k < Rows::tokens; ++k) {
        float2 value[pairs], e[pairs];
        float squares = 0;
#pragma unroll
        for (int pair = 0; pair < pairs; ++pair) {
          value[pair] = *reinterpret_cast<const float2 *>(&memory.Y[Rows::token(k) * R + r][Rows::channel(pair)]);
          squares += value[pair].x * value[pair].x + value[pair].y * value[pair].y;
          float2 from = widen(z.values[k][pair]);
          float a = from.x * zeta[pair].x, c = from.y * zeta[pair].y;
          e[pair] = {phi[pair].x * a * sigmoid(a), phi[pair].y * c * sigmoid(c)};
        }
        if constexpr (Gradient) {
#pragma unroll
          for (int pair = 0; pair < pairs; ++pair) {
            float2 from = widen(d.values[k][pair]);
            e[pair].x *= from.x, e[pair].y *= from.y;
          }
          normGradient(s, value, e);
          uint8_t *to = reinterpret_cast<uint8_t *>(E + (index * s.chunks + begin / chunk) * rows * P);
#pragma unroll
          for (int pair = 0; pair < pairs; ++pair)
            storePair(to, Rows::token(k) * R + r, Rows::channel(pair), rows, e[pair].x, e[pair].y);
        } else {
          float scale = s.norm ? rsqrtf(warpSum(squares) / float(s.head_dim) + s.eps) : 1.0f;
#pragma unroll
          for (int pair = 0; pair < pairs; ++pair)
            sum[k][pair].x += value[pair].x * scale * e[pair].x, sum[k][pair].y += value[pair].y * scale * e[pair].y;
        }
      }
    }
    if constexpr (!Gradient)
#pragma unroll
      for (int k = 0; k < Rows::tokens; ++k)
#pragma unroll
        for (int pair = 0; pair < pairs; ++pair)
          if (begin + Rows::token(k) < s.sequence)
            writePair(s, y + y_first + (begin + Rows::token(k)) * y_stride, Rows::channel(pair), sum[k][pair].x, sum[k][pair].y);
  }
}

} // namespace

int32_t runOutputs(const Shape &s, const StatePass &pass, bf16 *y, bf16 *E, cudaStream_t stream) {
  return dispatch(s, [&](auto n, auto p, auto r) {
    auto launch = [&](auto kernel) {
      int bytes = sizeof(OutputMemory<n, p, r>);
      cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes);
      kernel<<<dim3((s.windows + pass.span - 1) / pass.span, pass.heads, pass.batches), block_threads, bytes, stream>>>(s, pass, y, E);
      return checkCuda("mamba3: outputs");
    };
    return pass.d_y ? launch(walkOutputs<n, p, r, true>) : launch(walkOutputs<n, p, r, false>);
  });
}

} // namespace megacc::cuda::mamba3
