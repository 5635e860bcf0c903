// Linear layers: y = x W^T and its two gradients.
#include "runtime/core/Gemm.h"
#include "runtime/core/Launch.h"
#include "runtime/core/Scratch.h"
#include "runtime/core/ThreadPool.h"

#include <algorithm>

using namespace megacc::runtime;

/// Puts the addend, if there is one, where the product is added to it. Returns the product's beta.
static float placeAddend(const float *addend, int64_t count, float *y) {
  if (addend && addend != y)
    parallelRanges(count, int64_t(1) << 16, [&](int64_t begin, int64_t end) { std::copy(addend + begin, addend + end, y + begin); });
  return addend ? 1.0f : 0.0f;
}

extern "C" {

int32_t mg_linear(const MgLaunch *launch) {
  MG_ENTER(mg_linear);
  if (int32_t status = Scratch(launch, at::scratch).check("mg_linear"))
    return status;
  int64_t rows = launch->ints[number::rows], in = launch->ints[number::in], out = launch->ints[number::out];
  float beta = placeAddend(input(launch, at::addend), rows * out, output(launch, at::y));
  parallelGemm(Transpose::right, rows, out, in, input(launch, at::x), input(launch, at::weight), beta, output(launch, at::y));
  return productStatus("mg_linear");
}

int32_t mg_linear_grad_input(const MgLaunch *launch) {
  MG_ENTER(mg_linear_grad_input);
  if (int32_t status = Scratch(launch, at::scratch).check("mg_linear_grad_input"))
    return status;
  int64_t rows = launch->ints[number::rows], in = launch->ints[number::in], out = launch->ints[number::out];
  float beta = placeAddend(input(launch, at::addend), rows * in, output(launch, at::d_x));
  parallelGemm(Transpose::none, rows, in, out, input(launch, at::d_y), input(launch, at::weight), beta, output(launch, at::d_x));
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
