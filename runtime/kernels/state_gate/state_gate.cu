// The gate of a state: cut = softplus(-(logits + bias)) is what sigmoid(logits + bias) takes from the logarithm of a decay.
#include "runtime/cuda/Device.cuh"

using namespace megacc::runtime;
using namespace megacc::runtime::cuda;

namespace {

constexpr int threads = 256;

template <typename T> __global__ void stateGateKernel(float *cut, const T *logits, const float *bias, int64_t count, int heads) {
  int64_t i = int64_t(blockIdx.x) * threads + threadIdx.x;
  if (i >= count)
    return;
  float x = -(toFloat(logits[i]) + bias[i % heads]);
  cut[i] = fmaxf(x, 0.0f) + log1pf(__expf(-fabsf(x)));
}

/// One block per head.
template <typename T>
__global__ void stateGateGradKernel(T *d_logits, float *d_bias, const float *d_cut, const T *logits, const float *bias, int64_t rows,
                                    int heads) {
  __shared__ float shared[threads / 32];
  int h = blockIdx.x;
  float sum = 0, offset = bias[h];
  for (int64_t t = threadIdx.x; t < rows; t += threads) {
    int64_t i = t * heads + h;
    float gradient = -d_cut[i] * sigmoid(-(toFloat(logits[i]) + offset));
    d_logits[i] = fromFloat<T>(gradient);
    sum += gradient;
  }
  sum = blockSum<threads>(sum, shared);
  if (threadIdx.x == 0)
    d_bias[h] = sum;
}

} // namespace

extern "C" {

int32_t mg_state_gate(const MgLaunch *launch) {
  MG_ENTER(mg_state_gate);
  int64_t heads = launch->ints[number::heads], count = launch->ints[number::rows] * heads;
  return withElement(launch, "mg_state_gate", {at::logits}, [&](auto element) {
    using T = decltype(element);
    stateGateKernel<<<unsigned(blocksOf(count, threads)), threads, 0, streamOf(launch)>>>(
        output(launch, at::cut), operand<T>(launch, at::logits), input(launch, at::bias), count, int(heads));
    return launched("mg_state_gate");
  });
}

int32_t mg_state_gate_grad(const MgLaunch *launch) {
  MG_ENTER(mg_state_gate_grad);
  int64_t rows = launch->ints[number::rows], heads = launch->ints[number::heads];
  return withElement(launch, "mg_state_gate_grad", {at::d_logits, at::logits}, [&](auto element) {
    using T = decltype(element);
    stateGateGradKernel<<<unsigned(heads), threads, 0, streamOf(launch)>>>(operand<T>(launch, at::d_logits), output(launch, at::d_bias),
                                                                           input(launch, at::d_cut), operand<T>(launch, at::logits),
                                                                           input(launch, at::bias), rows, int(heads));
    return launched("mg_state_gate_grad");
  });
}
}
