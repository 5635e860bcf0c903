// The states that enter windows and chunks, and in reverse their adjoints: K^T (leaving U), Q^T (entering E), chunk after chunk of a
// window.
#include "runtime/kernels/mamba3/WalkKeys.cuh"

#include <type_traits>

namespace megacc::cuda::mamba3 {
namespace {

template <int N, int P, int R> struct StateMemory {
  struct {
    uint8_t keys[rows * N * 2], inputs[rows * P * 2];
    uint4 turns[R > 1 ? 2 * block_threads : 64]; // a whole number of 1024 bytes
  } tiles[3];
  HeadTables<N, P, R> head;
  Decays<rows / R> decays[max_window * R / rows];
};

/// Matrix [rows, P] of entering * E, E = d_y * phi * silu(z * zeta).
template <int P, int R, int Threads>
__device__ void placeGateGradients(const TokenRows<P, R, Threads> &z_rows, const TokenRows<P, R, Threads> &d_rows, const float *zeta_rows,
                                   const float *phi_rows, const float *entering, uint8_t *to) {
  using Rows = TokenRows<P, R, Threads>;
#pragma unroll
  for (int k = 0; k < Rows::tokens; ++k) {
    int t = Rows::token(k);
    float factor = entering[t];
#pragma unroll
    for (int pair = 0; pair < Rows::pairs; ++pair) {
      float2 z = widen(z_rows.values[k][pair]), d = widen(d_rows.values[k][pair]);
      int p = Rows::channel(pair);
      d.x *= factor, d.y *= factor;
#pragma unroll
      for (int r = 0; r < R; ++r) {
        float2 zeta = *reinterpret_cast<const float2 *>(zeta_rows + r * P + p),
               phi = *reinterpret_cast<const float2 *>(phi_rows + r * P + p);
        float a = z.x * zeta.x, c = z.y * zeta.y;
        storePair(to, t * R + r, p, rows, d.x * phi.x * a * sigmoid(a), d.y * phi.y * c * sigmoid(c));
      }
    }
  }
}

/// The same from tiles of E.
template <int P, int R> __device__ void scaleGateGradients(const bf16 *E, const float *entering, uint8_t *to) {
  for (int part = threadIdx.x; part < rows * P / 8; part += block_threads) {
    float factor = entering[part / 8 % rows / R];
    uint4 values = load<uint4>(E + part * 8);
#pragma unroll
    for (int k = 0; k < 4; ++k) {
      __nv_bfloat162 &pair = reinterpret_cast<__nv_bfloat162 *>(&values)[k];
      float2 wide = __bfloat1622float2(pair);
      pair = __floats2bfloat162_rn(wide.x * factor, wide.y * factor);
    }
    reinterpret_cast<uint4 *>(to)[part] = values;
  }
}

/// Writes an accumulator of 64 rows as bf16 into a tile in global memory. The four threads that share rows trade words, so that each writes
/// 16 bytes of a row and together they fill whole sectors.
template <int Columns>
__device__ void storeAccumulator(const float (&values)[Columns / 2], uint8_t *tile, int row, int first_column, int tile_rows) {
  int quarter = threadIdx.x & 3;
  bool odd = quarter & 1, upper = quarter & 2;
#pragma unroll
  for (int i = 0; i < Columns / 8; i += 4)
#pragma unroll
    for (int below = 0; below < 2; ++below) {
      uint32_t words[4];
#pragma unroll
      for (int k = 0; k < 4; ++k) {
        __nv_bfloat162 pair = __floats2bfloat162_rn(values[(i + k) * 4 + below * 2], values[(i + k) * 4 + below * 2 + 1]);
        words[k] = *reinterpret_cast<uint32_t *>(&pair);
      }
#pragma unroll
      for (int k = 0; k < 4; k += 2) {
        uint32_t other = __shfl_xor_sync(0xffffffff, odd ? words[k] : words[k + 1], 1);
        words[k] = odd ? other : words[k], words[k + 1] = odd ? words[k + 1] : other;
      }
#pragma unroll
      for (int k = 0; k < 2; ++k) {
        uint32_t other = __shfl_xor_sync(0xffffffff, upper ? words[k] : words[k + 2], 2);
        words[k] = upper ? other : words[k], words[k + 2] = upper ? words[k + 2] : other;
      }
      *reinterpret_cast<uint4 *>(tile + tileByte(row + below * 8, first_column + (i + quarter) * 8, tile_rows)) = {words[0], words[1],
                                                                                                                   words[2], words[3]};
    }
}

/// One block per span of windows of a head. Three sets of tiles: one is multiplied, one written, and one awaits the keys of the chunk after
/// next.
template <int N, int P, int R, bool Reverse>
__global__ void __launch_bounds__(block_threads, P == 64 ? 2 : 1) walkStates(Shape s, StatePass pass) {
  constexpr int chunk = rows / R, columns = N == 128 ? P : P / 2;
  extern __shared__ __align__(1024) uint8_t shared[];
  StateMemory<N, P, R> &memory = *reinterpret_cast<StateMemory<N, P, R> *>(shared);
  int window = blockIdx.x * pass.span, head = blockIdx.y, row = blockIdx.z, b = pass.first_batch + row, h = pass.first_head + head;
  int group = __shfl_sync(0xffffffff, int(threadIdx.x) / 128, 0), warp = threadIdx.x % 128 / 32, lane = threadIdx.x & 31;
  int first_row = (N == 128 ? group * 64 : 0) + warp * 16 + lane / 4, first_column = (N == 128 ? 0 : group * columns) + lane % 4 * 2;
  int64_t index = int64_t(row) * pass.heads + head;

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
  const bf16 *x = s.row(b, 0) + s.column_x + h * s.head_dim, *z = s.row(b, 0) + h * s.head_dim;
  const bf16 *d_y = pass.d_y + (int64_t(b) * s.sequence * s.heads + h) * s.head_dim;
  TokenRows<P, R, block_threads> inputs, d_rows;
  WalkKeys<N, R, block_threads, false> keys(s, b, h, Reverse);
  auto copyKeys = [&](int step) {
    auto &tiles = memory.tiles[step % 3];
    if (step < count)
      keys.copy(s, window_begin + (Reverse ? count - 1 - step : step) * chunk, tiles.keys, tiles.turns);
    commitCopies();
  };
  auto fetch = [&](int step) {
    int t = window_begin + (Reverse ? count - 1 - step : step) * chunk;
    if (!Reverse)
      inputs.read(s, x, s.width, t);
    else if (!pass.E)
      inputs.read(s, z, s.width, t), d_rows.read(s, d_y, s.heads * s.head_dim, t);
  };
  copyKeys(0), copyKeys(1);
  fetch(0);
  __syncthreads();

  float total_decay = 1;
  bool writes_totals = pass.totals;
  for (int step = 0, filled = 0; step < count; ++step) {
    int c = Reverse ? count - 1 - step : step, t = window_begin + c * chunk;
    auto &tiles = memory.tiles[step % 3];
    if (!Reverse && step == filled + window_chunks) {
      __syncthreads();
      filled = step;
      fillDecays(filled);
      __syncthreads();
    }
    const Decays<chunk> &decays = memory.decays[c - filled];
    bool last = step + 1 == count && !writes_totals;
    if (!last) {
      if constexpr (!Reverse)
        placeInputs<false, true>(inputs, memory.head.psi, decays.leaving, nullptr, tiles.inputs);
      else if (pass.E)
        scaleGateGradients<P, R>(pass.E + (index * s.chunks + t / chunk) * rows * P, decays.entering, tiles.inputs);
      else
        placeGateGradients<P, R, block_threads>(inputs, d_rows, memory.head.zeta, memory.head.phi, decays.entering, tiles.inputs);
      if (step + 1 < count)
        fetch(step + 1);
      waitCopies<1>();
      keys.place(s, b, h, t, memory.head.bias[Reverse], tiles.keys, tiles.turns);
    }
    waitProducts();
    fenceRegisters(state);
    if (pass.chunk_states) {
      storeAccumulator<columns>(state, reinterpret_cast<uint8_t *>(pass.chunk_states + (index * s.chunks + t / chunk) * N * P), first_row,
                                first_column / 8 * 8, N);
      if (pass.chunk_decays && threadIdx.x == 0)
        pass.chunk_decays[index * s.chunks + t / chunk] = total_decay;
    }
    if (!Reverse && pass.exact_windows && step == filled)
      writeWindow(s, pass, b, h, window + step / window_chunks, first_row, first_column, state);
    if (last)
      return;
    publishTiles();
    __syncthreads();
    copyKeys(step + 2);
    float decay = decays.end[0];
    total_decay *= decay;
#pragma unroll
    for (float &value : state)
      value *= decay;
    fenceRegisters(state);
    beginProducts();
    multiplyTiles<rows, columns, true, true>(state, sharedAddress(tiles.keys) + (N == 128 ? group * 8192 : 0), rows,
                                             columnsFrom(sharedAddress(tiles.inputs), N == 128 ? 0 : group * columns, rows), rows);
    commitProducts();
  }
  waitProducts();
  fenceRegisters(state);
#pragma unroll
  for (int i = 0; i < columns / 2; i += 2)
    *reinterpret_cast<float2 *>(pass.totals + (index * s.windows + window) * N * P + (first_row + (i & 2) * 4) * P + first_column +
                                i / 4 * 8) = {state[i], state[i + 1]};
  if (threadIdx.x == 0)
    pass.decays[index * s.windows + window] = total_decay;
}

/// One thread two elements of the state of a head. Reads a batch of windows before it writes them.
__global__ void walkWindows(Shape s, StatePass pass, bf16 *exact, bf16 *tiles) {
  constexpr int batch = 8;
  int element = (blockIdx.x * blockDim.x + threadIdx.x) * 2, size = s.N * s.P, channel = s.outside(element / s.P), p = element % s.P;
  int64_t index = int64_t(blockIdx.z) * pass.heads + blockIdx.y;
  int64_t head = (int64_t(pass.first_batch) + blockIdx.z) * s.heads + pass.first_head + blockIdx.y;
  float *from = pass.totals + index * s.windows * size + element;
  bf16 *to = exact ? exact + (head * s.windows * s.state + channel) * s.head_dim + p : nullptr;
  float2 state = {};
  for (int first = 0; first < s.windows; first += batch) {
    float2 values[batch];
    float decay[batch];
#pragma unroll
    for (int i = 0; i < batch; ++i)
      if (first + i < s.windows) {
        int window = pass.reverse ? s.windows - 1 - first - i : first + i;
        values[i] = *reinterpret_cast<const float2 *>(from + int64_t(window) * size),
        decay[i] = load<float>(pass.decays + index * s.windows + window);
      }
#pragma unroll
    for (int i = 0; i < batch; ++i)
      if (first + i < s.windows) {
        int window = pass.reverse ? s.windows - 1 - first - i : first + i;
        if (tiles)
          storePair(reinterpret_cast<uint8_t *>(tiles + (index * s.windows + window) * size), element / s.P, p, s.N, state.x, state.y);
        else
          *reinterpret_cast<float2 *>(from + int64_t(window) * size) = state;
        if (to && channel >= 0)
          writePair(s, to + int64_t(window) * s.state * s.head_dim - p, p, state.x, state.y);
        state.x = fmaf(decay[i], state.x, values[i].x), state.y = fmaf(decay[i], state.y, values[i].y);
      }
  }
}

} // namespace

int32_t runStates(const Shape &s, const StatePass &pass, cudaStream_t stream) {
  return dispatch(s, [&](auto n, auto p, auto r) {
    auto launch = [&](auto kernel) {
      int bytes = sizeof(StateMemory<n, p, r>);
      cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes);
      kernel<<<dim3((s.windows + pass.span - 1) / pass.span, pass.heads, pass.batches), block_threads, bytes, stream>>>(s, pass);
      return checkCuda("mamba3: states");
    };
    return pass.reverse ? launch(walkStates<n, p, r, true>) : launch(walkStates<n, p, r, false>);
  });
}

int32_t scanWindows(const Shape &s, const StatePass &pass, bf16 *exact, bf16 *tiles, cudaStream_t stream) {
  walkWindows<<<dim3(s.N * s.P / 512, pass.heads, pass.batches), 256, 0, stream>>>(s, pass, exact, tiles);
  return checkCuda("mamba3: windows");
}

} // namespace megacc::cuda::mamba3
