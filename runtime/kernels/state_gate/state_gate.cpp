// The gate of a state: cut = softplus(-(logits + bias)) is what sigmoid(logits + bias) takes from the logarithm of a decay.
#include "runtime/core/FastMath.h"
#include "runtime/core/Launch.h"
#include "runtime/core/ThreadPool.h"

using namespace megacc::runtime;

extern "C" {

int32_t mg_state_gate(const MgLaunch *launch) {
  MG_ENTER(mg_state_gate);
  int64_t rows = launch->ints[number::rows], heads = launch->ints[number::heads];
  float *cut = output(launch, at::cut);
  const float *logits = input(launch, at::logits), *bias = input(launch, at::bias);
  parallelRanges(rows, 64, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t)
      for (int64_t h = 0; h < heads; ++h)
        cut[t * heads + h] = softplus(-(logits[t * heads + h] + bias[h]));
  });
  return 0;
}

int32_t mg_state_gate_grad(const MgLaunch *launch) {
  MG_ENTER(mg_state_gate_grad);
  int64_t rows = launch->ints[number::rows], heads = launch->ints[number::heads];
  float *d_logits = output(launch, at::d_logits), *d_bias = output(launch, at::d_bias);
  const float *d_cut = input(launch, at::d_cut), *logits = input(launch, at::logits), *bias = input(launch, at::bias);
  parallelFor(heads, [&](int64_t h) {
    double sum = 0;
    for (int64_t i = h; i < rows * heads; i += heads) {
      d_logits[i] = -d_cut[i] * sigmoid(-(logits[i] + bias[h]));
      sum += d_logits[i];
    }
    d_bias[h] = float(sum);
  });
  return 0;
}
}
