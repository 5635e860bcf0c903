// y of the Mamba-3 scan from the states that enter windows; with an output norm also E = dL/dY of a chunk's rows, which then depends on Y.
#include "runtime/kernels/mamba3/CudaScan.cuh"

#include <type_traits>

namespace megacc::cuda::mamba3 {
namespace {

template <int N, int P> struct OutputMemory {
  uint8_t Q[rows * N * 2], K[rows * N * 2], H[N * P * 2], U[rows * P * 2], leaving_U[rows * P * 2], M[rows * rows * 2];
  float Y[rows][P + 8];
  Decays decays;
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

/// One block a window of a head.
template <int N, int P, int R, bool Gradient>
__global__ void __launch_bounds__(block_threads) walkOutputs(Shape s, StatePass pass, bf16 *y, bf16 *E) {
  constexpr int chunk = rows / R, columns = N == 128 ? P : P / 2, half = P / 2, pairs = P / 64;
  extern __shared__ __align__(1024) uint8_t shared[];
  OutputMemory<N, P> &memory = *reinterpret_cast<OutputMemory<N, P> *>(shared);
  Decays &decays = memory.decays;
  int window = blockIdx.x, head = blockIdx.y, row = blockIdx.z, b = pass.first_batch + row, h = pass.first_head + head;
  int group = threadIdx.x / 128, warp = threadIdx.x % 128 / 32, lane = threadIdx.x & 31;
  int first_row = (N == 128 ? group * 64 : 0) + warp * 16 + lane / 4, first_column = (N == 128 ? 0 : group * columns) + lane % 4 * 2;
  int64_t index = int64_t(row) * pass.heads + head;
  float skip = s.skip.at(h);

  float state[columns / 2] = {};
#pragma unroll
  for (int i = 0; i < columns / 2; i += 2) {
    int n = first_row + (i & 2) * 4, p = first_column + i / 4 * 8;
    if (pass.start) {
      float2 value = *reinterpret_cast<const float2 *>(pass.start + (index * s.windows + window) * N * P + n * P + p);
      state[i] = value.x, state[i + 1] = value.y;
    } else {
      int channel = s.outside(n);
      const bf16 *from = pass.exact_start + ((int64_t(b) * s.heads + h) * s.windows + window) * s.state * s.head_dim;
      for (int e = 0; e < 2; ++e)
        if (channel >= 0 && p + e < s.head_dim)
          state[i + e] = __bfloat162float(from[channel * s.head_dim + p + e]);
    }
  }
  for (int begin = window * s.window, end = min(s.sequence, begin + s.window); begin < end; begin += chunk) {
    if (threadIdx.x < 32)
      loadDecays<chunk>(s, b, h, begin, decays);
    loadKeys<N, R>(s, 0, b, h, begin, memory.K);
    loadKeys<N, R>(s, 1, b, h, begin, memory.Q);
#pragma unroll
    for (int i = 0; i < columns / 2; i += 2)
      storePair(memory.H, first_row + (i & 2) * 4, first_column + i / 4 * 8, N, state[i], state[i + 1]);
    __syncthreads();
    loadInputs<P, R>(s, b, h, begin, decays, memory.U, memory.leaving_U);
    publishTiles();
    __syncthreads();

    // S = Q K^T and Q H, half of the columns a warpgroup.
    float S[16] = {}, Y[half / 2] = {};
    fenceRegisters(S), fenceRegisters(Y);
    beginProducts();
    multiplyTiles<N, 32, false, false>(S, sharedAddress(memory.Q), rows, sharedAddress(memory.K) + group * 32 * 128, rows);
    multiplyTiles<N, half, false, true>(Y, sharedAddress(memory.Q), rows, columnsFrom(sharedAddress(memory.H), group * half, N), N);
    commitProducts();
    waitProducts();
    fenceRegisters(S), fenceRegisters(Y);
#pragma unroll
    for (int i = 0; i < 16; i += 2) {
      int from = warp * 16 + lane / 4 + (i & 2) * 4, to = group * 32 + i / 4 * 8 + lane % 4 * 2, t = from / R;
      float weights[2] = {decays.mask(t, to / R), 0};
      weights[1] = R == 1 ? decays.mask(t, to + 1) : weights[0];
      storePair(memory.M, from, to, rows, S[i] * weights[0] + (from == to ? skip : 0.0f), S[i + 1] * weights[1] + (from == to + 1 ? skip : 0.0f));
    }
#pragma unroll
    for (int i = 0; i < half / 2; ++i)
      Y[i] *= decays.entering[(warp * 16 + lane / 4 + (i & 2) * 4) / R];
#pragma unroll
    for (float &value : state)
      value *= decays.end;
    publishTiles();
    __syncthreads();

    fenceRegisters(Y), fenceRegisters(state);
    beginProducts();
    multiplyTiles<rows, half, false, true>(Y, sharedAddress(memory.M), rows, columnsFrom(sharedAddress(memory.U), group * half, rows), rows);
    commitProducts();
    multiplyTiles<rows, columns, true, true>(state, sharedAddress(memory.K) + (N == 128 ? group * 8192 : 0), rows,
                                             columnsFrom(sharedAddress(memory.leaving_U), N == 128 ? 0 : group * columns, rows), rows);
    commitProducts();
    waitProducts();
    fenceRegisters(Y), fenceRegisters(state);
#pragma unroll
    for (int i = 0; i < half / 2; i += 2)
      *reinterpret_cast<float2 *>(&memory.Y[warp * 16 + lane / 4 + (i & 2) * 4][group * half + i / 4 * 8 + lane % 4 * 2]) = {Y[i], Y[i + 1]};
    __syncthreads();

    for (int t = threadIdx.x / 32; t < chunk; t += block_warps) {
      bool valid = begin + t < s.sequence;
      if (!Gradient && !valid)
        break;
      float2 z[pairs] = {}, d[pairs] = {}, sum[pairs] = {};
#pragma unroll
      for (int k = 0; k < pairs; ++k)
        if (valid) {
          z[k] = readPair(s, s.row(b, begin + t) + h * s.head_dim, 2 * lane + 64 * k);
          if constexpr (Gradient)
            d[k] = readPair(s, pass.d_y + ((int64_t(b) * s.sequence + begin + t) * s.heads + h) * s.head_dim, 2 * lane + 64 * k);
        }
#pragma unroll
      for (int r = 0; r < R; ++r) {
        float2 value[pairs], e[pairs];
        float squares = 0;
#pragma unroll
        for (int k = 0; k < pairs; ++k) {
          int p = 2 * lane + 64 * k;
          value[k] = *reinterpret_cast<const float2 *>(&memory.Y[t * R + r][p]);
          squares += value[k].x * value[k].x + value[k].y * value[k].y;
          float2 zeta = *reinterpret_cast<const float2 *>(s.zeta + (h * R + r) * P + p);
          float2 phi = *reinterpret_cast<const float2 *>(s.phi + (h * R + r) * P + p);
          float2 norm = *reinterpret_cast<const float2 *>(s.out_norms + h * P + p);
          float a = z[k].x * zeta.x, c = z[k].y * zeta.y;
          e[k] = {phi.x * norm.x * a * sigmoid(a), phi.y * norm.y * c * sigmoid(c)};
        }
        if constexpr (Gradient) {
#pragma unroll
          for (int k = 0; k < pairs; ++k)
            e[k].x *= d[k].x, e[k].y *= d[k].y;
          normGradient(s, value, e);
          uint8_t *to = reinterpret_cast<uint8_t *>(E + (index * s.chunks + begin / chunk) * rows * P);
#pragma unroll
          for (int k = 0; k < pairs; ++k)
            storePair(to, t * R + r, 2 * lane + 64 * k, rows, e[k].x, e[k].y);
        } else {
          float scale = s.norm ? rsqrtf(warpSum(squares) / float(s.head_dim) + s.eps) : 1.0f;
#pragma unroll
          for (int k = 0; k < pairs; ++k)
            sum[k].x += value[k].x * scale * e[k].x, sum[k].y += value[k].y * scale * e[k].y;
        }
      }
      if constexpr (!Gradient)
#pragma unroll
        for (int k = 0; k < pairs; ++k)
          writePair(s, y + ((int64_t(b) * s.sequence + begin + t) * s.heads + h) * s.head_dim, 2 * lane + 64 * k, sum[k].x, sum[k].y);
    }
  }
}

} // namespace

int32_t runOutputs(const Shape &s, const StatePass &pass, bf16 *y, bf16 *E, cudaStream_t stream) {
  return dispatch(s, [&](auto n, auto p, auto r) {
    auto launch = [&](auto kernel) {
      int bytes = sizeof(OutputMemory<n, p>);
      cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes);
      kernel<<<dim3(s.windows, pass.heads, pass.batches), block_threads, bytes, stream>>>(s, pass, y, E);
      return checkCuda("mamba3: outputs");
    };
    return pass.d_y ? launch(walkOutputs<n, p, r, true>) : launch(walkOutputs<n, p, r, false>);
  });
}

} // namespace megacc::cuda::mamba3
