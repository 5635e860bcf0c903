// Linear layers: y = x W^T and its two gradients.
#include "runtime/core/Gemm.h"
#include "runtime/core/Launch.h"

using namespace megacc::runtime;

extern "C" {

int32_t mg_linear(const MgLaunch *launch) {
  int64_t rows = launch->ints[0], in = launch->ints[1], out = launch->ints[2];
  parallelGemm(Transpose::right, rows, out, in, input(launch, 1), input(launch, 2), 0.0f, output(launch, 0));
  return 0;
}

int32_t mg_linear_grad_input(const MgLaunch *launch) {
  int64_t rows = launch->ints[0], in = launch->ints[1], out = launch->ints[2];
  parallelGemm(Transpose::none, rows, in, out, input(launch, 1), input(launch, 2), 0.0f, output(launch, 0));
  return 0;
}

int32_t mg_linear_grad_weight(const MgLaunch *launch) {
  int64_t rows = launch->ints[0], in = launch->ints[1], out = launch->ints[2];
  float beta = addsToOutput(launch, launch->ints[3]) ? 1.0f : 0.0f;
  parallelGemm(Transpose::left, out, in, rows, input(launch, 1), input(launch, 2), beta, output(launch, 0));
  return 0;
}
}
