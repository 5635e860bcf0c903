// y of the Mamba-3 scan from the states that enter windows; with an output norm also E = dL/dY of a chunk's rows, which then depends on Y.
#include "runtime/kernels/mamba3/WalkKeys.cuh"

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
template <int N, int P, int R, bool Norm, bool Gradient>
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
  // Of this warp's first token of a chunk: z, and in tensors [batch, sequence, heads, head_dim] y or its gradient.
  const bf16 *z_row = s.row(b, window_begin + Rows::token(0)) + h * s.head_dim;
  int64_t y_row = ((int64_t(b) * s.sequence + window_begin + Rows::token(0)) * s.heads + h) * s.head_dim;
  int y_stride = s.heads * s.head_dim;
  Rows x, z, d;
  x.readFrom(s, z_row + s.column_x, s.width, window_begin);
  WalkKeys<N, R, block_threads, true> keys(s, b, h);
  uint8_t *key_tile = keys.which ? memory.Q : memory.K;
  keys.copy(s, window_begin, key_tile, memory.turns);
  commitCopies();
  __syncthreads();

  for (int c = 0, filled = 0; c < count; ++c) {
    int begin = window_begin + c * chunk, row = anew(own_row), side = anew(group);
    const Decays<chunk> &decays = memory.decays[c - filled];
    placeInputs<true, true>(x, memory.head.psi, decays.leaving, memory.U, memory.leaving_U);
    z.readFrom(s, z_row, s.width, begin);
    z_row += int64_t(chunk) * s.width;
    x.readFrom(s, z_row + s.column_x, s.width, begin + chunk);
    if constexpr (Gradient)
      d.readFrom(s, pass.d_y + y_row, y_stride, begin);
    waitCopies();
    keys.place(s, b, h, begin, memory.head.bias[keys.which], key_tile, memory.turns);
    memory.weights.fill(decays);
    uint32_t state_place = anew(tileByte(first_row, first_column, N));
#pragma unroll
    for (int i = 0; i < columns / 2; i += 2)
      *reinterpret_cast<__nv_bfloat162 *>(memory.H + fromPlace(state_place, (i & 2) * 4, i / 4 % 8) + i / 32 * N * 128) =
          __floats2bfloat162_rn(state[i], state[i + 1]);
    publishTiles();
    __syncthreads();

    // S = Q K^T and Q H, half of the columns a warpgroup.
    float S[16] = {}, Y[half / 2] = {};
    fenceRegisters(S), fenceRegisters(Y);
    beginProducts();
    multiplyTiles<N, 32, false, false>(S, sharedAddress(memory.Q), rows, sharedAddress(memory.K) + side * 32 * 128, rows);
    commitProducts();
    multiplyTiles<N, half, false, true>(Y, sharedAddress(memory.Q), rows, columnsFrom(sharedAddress(memory.H), side * half, N), N);
    commitProducts();
    waitProducts<1>();
    fenceRegisters(S);
    unsigned own_token = unsigned(row) / R, other_token = unsigned(side * 32 + column) / R;
    int diagonal = row - side * 32 - column;
    uint32_t place = anew(tileByte(row, side * 32 + column, rows));
#pragma unroll
    for (int i = 0; i < 16; i += 2) {
      constexpr int apart = 8 / R;
      int t = own_token + i / 2 % 2 * apart, u = other_token + i / 4 * apart;
      float weights[2] = {memory.weights.at(decays, t, u).x, 0};
      weights[1] = R == 1 ? memory.weights.at(decays, t, u + 1).x : weights[0];
      float values[2];
#pragma unroll
      for (int e = 0; e < 2; ++e)
        values[e] = S[i + e] * weights[e] + (diagonal == i / 4 * 8 + e - (i & 2) * 4 ? skip : 0.0f);
      *reinterpret_cast<__nv_bfloat162 *>(memory.M + fromPlace(place, (i & 2) * 4, i / 4)) = __floats2bfloat162_rn(values[0], values[1]);
    }
    waitProducts();
    fenceRegisters(Y);
#pragma unroll
    for (int i = 0; i < half / 2; ++i)
      Y[i] *= decays.entering[own_token + i / 2 % 2 * (8 / R)];
#pragma unroll
    for (float &value : state)
      value *= decays.end[0];
    publishTiles();
    __syncthreads();

    fenceRegisters(Y), fenceRegisters(state);
    beginProducts();
    multiplyTiles<rows, half, false, true>(Y, sharedAddress(memory.M), rows, columnsFrom(sharedAddress(memory.U), side * half, rows), rows);
    commitProducts();
    multiplyTiles<rows, columns, true, true>(state, sharedAddress(memory.K) + (N == 128 ? side * 8192 : 0), rows,
                                             columnsFrom(sharedAddress(memory.leaving_U), N == 128 ? 0 : side * columns, rows), rows);
    commitProducts();
    waitProducts<1>();
    fenceRegisters(Y);
#pragma unroll
    for (int i = 0; i < half / 2; i += 2)
      *reinterpret_cast<float2 *>(&memory.Y[row + (i & 2) * 4][side * half + i / 4 * 8 + column]) = {Y[i], Y[i + 1]};
    waitProducts();
    fenceRegisters(state);
    __syncthreads();
    if (c + 1 < count)
      keys.copy(s, begin + chunk, key_tile, memory.turns);
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
        if constexpr (Norm) {
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
          float scale = Norm ? rsqrtf(warpSum(squares) / float(s.head_dim) + s.eps) : 1.0f;
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
          if ((chunk % block_warps == 0 || Rows::token(k) < chunk) && begin + Rows::token(k) < s.sequence)
            writePair(s, y + y_row + int64_t(k * block_warps) * y_stride, Rows::channel(pair), sum[k][pair].x, sum[k][pair].y);
    y_row += int64_t(chunk) * y_stride;
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
    return pass.d_y ? launch(walkOutputs<n, p, r, true, true>)
           : s.norm ? launch(walkOutputs<n, p, r, true, false>)
                    : launch(walkOutputs<n, p, r, false, false>);
  });
}

} // namespace megacc::cuda::mamba3
