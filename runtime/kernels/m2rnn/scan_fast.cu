// The forward recurrence for key 64 and value 16 on tensor cores, see Window.cuh. A step of a warp: two products with W, eight tanh, the
// gate. The states of a window stay in shared memory until y of its 16 tokens follows from 32 products.
#include "runtime/kernels/m2rnn/Window.cuh"

namespace megacc::runtime::cuda::m2rnn {

namespace {

struct Shared {
  Window windows[2];
  uint4 states[row_warps][window][32];
  float y[2][row_warps][window][fast_value];
};

template <bool has_documents>
__global__ void __launch_bounds__(fast_threads, 2) scanKernel(bf16 *y, bf16 *states, Inputs<bf16> in, Sizes size) {
  extern __shared__ __align__(16) char memory[];
  Shared &shared = *reinterpret_cast<Shared *>(memory);
  Tile tile(size);
  int warp = threadIdx.x / 32, count = (size.sequence + window - 1) / window;

  if (warp == row_warps) {
    Courier courier(size, tile, in, nullptr);
    courier.ask(0);
    courier.deliver(shared.windows[0]);
    __syncthreads();
    for (int w = 0; w < count; ++w) {
      courier.ask((w + 1) * window);
      if (w > 0 && y)
        storeColumns(y, shared.y[(w - 1) % 2], size, tile, (w - 1) * window);
      courier.deliver(shared.windows[(w + 1) % 2]);
      __syncthreads();
    }
    if (y)
      storeColumns(y, shared.y[(count - 1) % 2], size, tile, (count - 1) * window);
    return;
  }

  int g = threadIdx.x % 32 / 4, i = threadIdx.x % 4;
  WeightFragments weight(in.weight + tile.head * fast_value * fast_value);
  Rows h = {}, z;
  uint32_t packed[4] = {};
  auto *kept = reinterpret_cast<uint32_t *>(states) + ((int64_t(blockIdx.x) * count) * fast_key + 16 * warp + g) * (fast_value / 2) + i;
  __syncthreads();
  for (int w = 0; w < count; ++w) {
    LanePlace from(shared.windows[w % 2], warp);
    uint4(*tiles)[32] = shared.states[warp];
    if (states) {
      uint32_t *to = kept + int64_t(w) * fast_key * (fast_value / 2);
      to[0] = packed[0], to[8 * fast_value / 2] = packed[1];
      to[4] = packed[2], to[8 * fast_value / 2 + 4] = packed[3];
    }
    // y follows two tokens behind, in the time that tanh takes.
    Rows sum = {};
    uint32_t state[4] = {}, q[4] = {};
    auto readOut = [&] {
      multiplyBf16(sum[0], q, state[0], state[1]);
      multiplyBf16(sum[1], q, state[2], state[3]);
    };
    auto fetchState = [&](int s) {
      __syncwarp();
      loadTileTransposed(state, tiles[s]);
      oneRow(q, from.q_pairs, s);
    };
    StepInputs inputs(from, 0);
#pragma unroll
    for (int s = 0; s < window; ++s) {
      StepInputs next(from, s + 1);
      if (has_documents && from.reset[s])
        forget(h);
      project(z, h, inputs, weight);
      if (s > 1)
        readOut();
      if (s > 0)
        fetchState(s - 1);
      settle(h, z, inputs.gate);
      packRows(packed, h);
      storeTile(tiles[s], packed);
      inputs = next;
    }
    readOut();
    fetchState(window - 1);
    readOut();
    storeAccumulator(shared.y[w % 2][warp], sum);
    __syncthreads();
  }
}

} // namespace

int32_t scanFast(const MgLaunch *launch, const Sizes &size, const Inputs<bf16> &in, bf16 *y, bf16 *states) {
  auto start = [&](auto kernel) {
    if (int32_t status = check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, sizeof(Shared)), "mg_m2rnn_scan"))
      return status;
    kernel<<<unsigned(size.tiles()), fast_threads, sizeof(Shared), streamOf(launch)>>>(y, states, in, size);
    return launched("mg_m2rnn_scan");
  };
  return in.documents ? start(scanKernel<true>) : start(scanKernel<false>);
}

} // namespace megacc::runtime::cuda::m2rnn
