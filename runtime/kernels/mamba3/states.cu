// The states that enter windows and chunks, and in reverse their adjoints: K^T (leaving U), Q^T (entering E), chunk after chunk of a window.
#include "runtime/kernels/mamba3/CudaScan.cuh"

#include <type_traits>

namespace megacc::cuda::mamba3 {
namespace {

template <int N, int P> struct StateMemory {
  uint8_t keys[rows * N * 2], inputs[rows * P * 2];
  Decays decays;
};

/// Matrix [rows, P] of entering * E, E = d_y * phi * silu(z * zeta).
template <int P, int R>
__device__ void loadGateGradients(const Shape &s, const bf16 *d_y, int b, int h, int begin, const Decays &decays, uint8_t *to) {
  int lane = threadIdx.x & 31;
  for (int t = threadIdx.x / 32; t < rows / R; t += block_warps)
#pragma unroll
    for (int p = 2 * lane; p < P; p += 64) {
      float2 z = {}, d = {};
      if (begin + t < s.sequence) {
        z = readPair(s, s.row(b, begin + t) + h * s.head_dim, p);
        d = readPair(s, d_y + ((int64_t(b) * s.sequence + begin + t) * s.heads + h) * s.head_dim, p);
      }
      d.x *= decays.entering[t], d.y *= decays.entering[t];
#pragma unroll
      for (int r = 0; r < R; ++r) {
        float2 zeta = *reinterpret_cast<const float2 *>(s.zeta + (h * R + r) * P + p);
        float2 phi = *reinterpret_cast<const float2 *>(s.phi + (h * R + r) * P + p);
        float a = z.x * zeta.x, c = z.y * zeta.y;
        storePair(to, t * R + r, p, rows, d.x * phi.x * a * sigmoid(a), d.y * phi.y * c * sigmoid(c));
      }
    }
}

/// The same from tiles of E.
template <int P, int R> __device__ void scaleGateGradients(const bf16 *E, const Decays &decays, uint8_t *to) {
  for (int part = threadIdx.x; part < rows * P / 8; part += block_threads) {
    float entering = decays.entering[part / 8 % rows / R];
    uint4 values = reinterpret_cast<const uint4 *>(E)[part];
#pragma unroll
    for (int k = 0; k < 4; ++k) {
      __nv_bfloat162 &pair = reinterpret_cast<__nv_bfloat162 *>(&values)[k];
      float2 wide = __bfloat1622float2(pair);
      pair = __floats2bfloat162_rn(wide.x * entering, wide.y * entering);
    }
    reinterpret_cast<uint4 *>(to)[part] = values;
  }
}

/// One block a window of a head.
template <int N, int P, int R, bool Reverse> __global__ void __launch_bounds__(block_threads) walkStates(Shape s, StatePass pass) {
  constexpr int chunk = rows / R, columns = N == 128 ? P : P / 2;
  extern __shared__ __align__(1024) uint8_t shared[];
  StateMemory<N, P> &memory = *reinterpret_cast<StateMemory<N, P> *>(shared);
  int window = blockIdx.x, head = blockIdx.y, row = blockIdx.z, b = pass.first_batch + row, h = pass.first_head + head;
  int group = threadIdx.x / 128, warp = threadIdx.x % 128 / 32, lane = threadIdx.x & 31;
  int first_row = (N == 128 ? group * 64 : 0) + warp * 16 + lane / 4, first_column = (N == 128 ? 0 : group * columns) + lane % 4 * 2;
  int64_t index = int64_t(row) * pass.heads + head;

  float state[columns / 2] = {};
#pragma unroll
  for (int i = 0; i < columns / 2; i += 2) {
    int n = first_row + (i & 2) * 4, p = first_column + i / 4 * 8;
    if (pass.start) {
      float2 value = *reinterpret_cast<const float2 *>(pass.start + (index * s.windows + window) * N * P + n * P + p);
      state[i] = value.x, state[i + 1] = value.y;
    } else if (pass.exact_start) {
      int channel = s.outside(n);
      const bf16 *from = pass.exact_start + ((int64_t(b) * s.heads + h) * s.windows + window) * s.state * s.head_dim;
      for (int e = 0; e < 2; ++e)
        if (channel >= 0 && p + e < s.head_dim)
          state[i + e] = __bfloat162float(from[channel * s.head_dim + p + e]);
    }
  }
  int begin = window * s.window, end = min(s.sequence, begin + s.window), count = (end - begin + chunk - 1) / chunk;
  float total_decay = 1;
  for (int step = 0; step < count; ++step) {
    int t = begin + (Reverse ? count - 1 - step : step) * chunk;
    if (pass.chunk_states) {
      uint8_t *to = reinterpret_cast<uint8_t *>(pass.chunk_states + (index * s.chunks + t / chunk) * N * P);
#pragma unroll
      for (int i = 0; i < columns / 2; i += 2)
        storePair(to, first_row + (i & 2) * 4, first_column + i / 4 * 8, N, state[i], state[i + 1]);
      if (step + 1 == count && !pass.totals)
        return;
    }
    if (threadIdx.x < 32)
      loadDecays<chunk>(s, b, h, t, memory.decays);
    loadKeys<N, R>(s, Reverse, b, h, t, memory.keys);
    __syncthreads();
    if constexpr (!Reverse)
      loadInputs<P, R>(s, b, h, t, memory.decays, nullptr, memory.inputs);
    else if (pass.E)
      scaleGateGradients<P, R>(pass.E + (index * s.chunks + t / chunk) * rows * P, memory.decays, memory.inputs);
    else
      loadGateGradients<P, R>(s, pass.d_y, b, h, t, memory.decays, memory.inputs);
    publishTiles();
    __syncthreads();
    float decay = memory.decays.end;
    total_decay *= decay;
#pragma unroll
    for (float &value : state)
      value *= decay;
    fenceRegisters(state);
    beginProducts();
    uint32_t keys = sharedAddress(memory.keys) + (N == 128 ? group * 8192 : 0);
    multiplyTiles<rows, columns, true, true>(state, keys, rows, columnsFrom(sharedAddress(memory.inputs), N == 128 ? 0 : group * columns, rows),
                                             rows);
    commitProducts();
    waitProducts();
    fenceRegisters(state);
    __syncthreads();
  }
  if (pass.totals) {
#pragma unroll
    for (int i = 0; i < columns / 2; i += 2)
      *reinterpret_cast<float2 *>(pass.totals + (index * s.windows + window) * N * P + (first_row + (i & 2) * 4) * P + first_column +
                                  i / 4 * 8) = {state[i], state[i + 1]};
    if (threadIdx.x == 0)
      pass.decays[index * s.windows + window] = total_decay;
  }
}

/// One thread an element of the state of a head.
__global__ void walkWindows(Shape s, StatePass pass, float *totals, const float *decays, bf16 *exact) {
  int element = blockIdx.x * blockDim.x + threadIdx.x, size = s.N * s.P;
  int64_t index = int64_t(blockIdx.z) * pass.heads + blockIdx.y, head = (int64_t(pass.first_batch) + blockIdx.z) * s.heads + pass.first_head + blockIdx.y;
  int channel = s.outside(element / s.P), p = element % s.P;
  float state = 0;
#pragma unroll 4
  for (int step = 0; step < s.windows; ++step) {
    int window = pass.reverse ? s.windows - 1 - step : step;
    int64_t at = index * s.windows + window;
    float total = totals[at * size + element];
    totals[at * size + element] = state;
    if (exact && channel >= 0 && p < s.head_dim)
      exact[((head * s.windows + window) * s.state + channel) * s.head_dim + p] = __float2bfloat16(state);
    state = fmaf(decays[at], state, total);
  }
}

} // namespace

int32_t runStates(const Shape &s, const StatePass &pass, cudaStream_t stream) {
  return dispatch(s, [&](auto n, auto p, auto r) {
    auto launch = [&](auto kernel) {
      int bytes = sizeof(StateMemory<n, p>);
      cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes);
      kernel<<<dim3(s.windows, pass.heads, pass.batches), block_threads, bytes, stream>>>(s, pass);
      return checkCuda("mamba3: states");
    };
    return pass.reverse ? launch(walkStates<n, p, r, true>) : launch(walkStates<n, p, r, false>);
  });
}

int32_t scanWindows(const Shape &s, const StatePass &pass, float *totals, const float *decays, bf16 *exact, cudaStream_t stream) {
  walkWindows<<<dim3(s.N * s.P / 256, pass.heads, pass.batches), 256, 0, stream>>>(s, pass, totals, decays, exact);
  return checkCuda("mamba3: windows");
}

} // namespace megacc::cuda::mamba3
