// Mean norm of the states of a Mamba-3 scan at the end of their rows, for people who look at a run (megacc --log-blocks): what each window
// adds to a state, as the scan's forward with few heads computes it, then window after window.
#include "runtime/cuda/Device.cuh"
#include "runtime/kernels/mamba3/CudaScan.cuh"

using namespace megacc::runtime;
using namespace megacc::cuda;
using namespace megacc::cuda::mamba3;

namespace {

constexpr int threads = 128;

/// A block has a row and head: its totals [windows, N, P] and the decays of the windows.
__global__ void stateNormKernel(float *norms, const float *totals, const float *decays, int windows, int64_t size) {
  __shared__ float shared[threads / 32];
  totals += int64_t(blockIdx.x) * windows * size, decays += int64_t(blockIdx.x) * windows;
  float square = 0;
  for (int64_t element = threadIdx.x; element < size; element += threads) {
    float state = 0;
    for (int window = 0; window < windows; ++window)
      state = fmaf(decays[window], state, totals[window * size + element]);
    square += state * state;
  }
  square = megacc::runtime::cuda::blockSum<threads>(square, shared);
  if (threadIdx.x == 0)
    norms[blockIdx.x] = sqrtf(square);
}

__global__ void meanKernel(float *norm, const float *norms, int64_t count, float share) {
  __shared__ float shared[threads / 32];
  float sum = megacc::runtime::cuda::blockSumOf<threads>(norms, count, shared);
  if (threadIdx.x == 0)
    *norm = share * sum;
}

} // namespace

extern "C" int32_t mg_mamba3_state_norm(const MgLaunch *launch) {
  MG_ENTER(mg_mamba3_state_norm);
  Shape s = {};
  s.projection = static_cast<const bf16 *>(launch->operands[at::projection]);
  s.documents = integers(launch, at::documents);
  if (int32_t status = readShape(launch, "mg_mamba3_state_norm", launch->types, at::parameter, s))
    return status;
  Scratch scratch(launch, at::scratch);
  takeTables(s, scratch);
  int64_t heads = int64_t(s.batch) * s.heads;
  float *totals = scratch.take<float>(heads * s.windows * s.N * s.P), *decays = scratch.take<float>(heads * s.windows);
  float *norms = scratch.take<float>(heads);
  if (int32_t status = scratch.check("mg_mamba3_state_norm"))
    return status;
  cudaStream_t stream = static_cast<cudaStream_t>(launch->context->streams[launch->stream]);
  if (int32_t status = prepare(s, stream))
    return status;
  if (int32_t status = runStates(s, {.batches = s.batch, .heads = s.heads, .totals = totals, .decays = decays}, stream))
    return status;
  stateNormKernel<<<unsigned(heads), threads, 0, stream>>>(norms, totals, decays, s.windows, int64_t(s.N) * s.P);
  if (int32_t status = checkCuda("mamba3: norms of states"))
    return status;
  meanKernel<<<1, threads, 0, stream>>>(static_cast<float *>(launch->operands[at::norm]), norms, heads,
                                        float(launch->doubles[real::share]));
  return checkCuda("mamba3: mean norm of states");
}
