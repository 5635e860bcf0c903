// The number of targets that count in the loss, conventions 12.1.
#include "runtime/cuda/Device.cuh"

using namespace megacc::runtime;
using namespace megacc::runtime::cuda;

static constexpr int threads = 1024;

static __global__ void countValidKernel(float *valid, const int32_t *targets, int64_t rows) {
  __shared__ int shared[threads / 32];
  int count = 0;
#pragma unroll 4
  for (int64_t t = threadIdx.x; t < rows; t += threads)
    count += targets[t] >= 0;
  count = blockSum<threads>(count, shared);
  if (threadIdx.x == 0)
    *valid = float(count);
}

extern "C" int32_t mg_count_valid(const MgLaunch *launch) {
  MG_ENTER(mg_count_valid);
  countValidKernel<<<1, threads, 0, streamOf(launch)>>>(operand<float>(launch, at::valid), operand<int32_t>(launch, at::targets),
                                                        launch->ints[number::rows]);
  return launched("mg_count_valid");
}
