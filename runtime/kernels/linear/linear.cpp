// Linear layers: y = x W^T and its two gradients.
#include "runtime/core/Gemm.h"
#include "runtime/core/Launch.h"
#include "runtime/core/Scratch.h"

using namespace megacc::runtime;

extern "C" {

int32_t mg_linear(const MgLaunch *launch) {
  MG_ENTER(mg_linear);
  if (int32_t status = Scratch(launch, at::scratch).check("mg_linear"))
    return status;
  int64_t rows = launch->ints[number::rows], in = launch->ints[number::in], out = launch->ints[number::out];
  parallelGemm(Transpose::right, rows, out, in, input(launch, at::x), input(launch, at::weight), 0.0f, output(launch, at::y),
               input(launch, at::addend));
  return productStatus("mg_linear");
}

int32_t mg_linear_grad_input(const MgLaunch *launch) {
  MG_ENTER(mg_linear_grad_input);
  if (int32_t status = Scratch(launch, at::scratch).check("mg_linear_grad_input"))
    return status;
  int64_t rows = launch->ints[number::rows], in = launch->ints[number::in], out = launch->ints[number::out];
  parallelGemm(Transpose::none, rows, in, out, input(launch, at::d_y), input(launch, at::weight), 0.0f, output(launch, at::d_x),
               input(launch, at::addend));
  return productStatus("mg_linear_grad_input");
}

int32_t mg_linear_grad_weight(const MgLaunch *launch) {
  MG_ENTER(mg_linear_grad_weight);
  if (int32_t status = Scratch(launch, at::scratch).check("mg_linear_grad_weight"))
    return status;
  int64_t rows = launch->ints[number::rows], in = launch->ints[number::in], out = launch->ints[number::out];
  float beta = addsToOutput(launch, launch->ints[number::accumulate]) ? 1.0f : 0.0f;
  parallelGemm(Transpose::left, out, in, rows, input(launch, at::d_y), input(launch, at::x), beta, output(launch, at::d_weight));
  return productStatus("mg_linear_grad_weight");
}
}
