// Gradient norm and AdamW, conventions section 14, as linear sweeps.
#include "runtime/core/Launch.h"
#include "runtime/core/Scratch.h"
#include "runtime/core/ThreadPool.h"

#include <algorithm>
#include <cmath>

using namespace megacc::runtime;

/// Hands the sum of the squares of `count` numbers to write(sum).
template <typename Write>
static int32_t sumSquares(const MgLaunch *launch, const char *kernel, const float *x, int64_t count, int operand, Write &&write) {
  constexpr int64_t tile = 4096;
  int64_t tiles = (count + tile - 1) / tile;
  Scratch scratch(launch, operand);
  double *partial = scratch.take<double>(tiles);
  if (int32_t status = scratch.check(kernel))
    return status;
  parallelRanges(count, tile, [&](int64_t begin, int64_t end) {
    double sum = 0;
    for (int64_t i = begin; i < end; ++i)
      sum += double(x[i]) * x[i];
    partial[begin / tile] = sum;
  });
  double sum = 0;
  for (int64_t i = 0; i < tiles; ++i)
    sum += partial[i];
  write(sum);
  return 0;
}

extern "C" {

int32_t mg_square_sum(const MgLaunch *launch) {
  MG_ENTER(mg_square_sum);
  return sumSquares(launch, "mg_square_sum", input(launch, at::x), launch->ints[number::count], at::scratch,
                    [&](double sum) { *static_cast<double *>(launch->operands[at::sum]) = sum; });
}

int32_t mg_log_norm(const MgLaunch *launch) {
  MG_ENTER(mg_log_norm);
  return sumSquares(launch, "mg_log_norm", input(launch, at::x), launch->ints[number::count], at::scratch,
                    [&](double sum) { *output(launch, at::norm) = float(std::sqrt(sum)); });
}

int32_t mg_norm(const MgLaunch *launch) {
  MG_ENTER(mg_norm);
  double sum = 0;
  for (int64_t part = 0; part < launch->ints[number::parts]; ++part)
    sum += *static_cast<const double *>(launch->operands[at::part + part]);
  *output(launch, at::norm) = float(std::sqrt(sum));
  return 0;
}

// Weights of the CPU are fp32: there is no master.
int32_t mg_adamw(const MgLaunch *launch) {
  MG_ENTER(mg_adamw);
  bool decays = launch->ints[number::decays];
  double beta1 = launch->doubles[real::beta1], beta2 = launch->doubles[real::beta2], decay = launch->doubles[real::decay];
  double clip = launch->doubles[real::clip];
  float eps = float(launch->doubles[real::eps]);
  float *weight = output(launch, at::weight), *m = output(launch, at::m), *v = output(launch, at::v);
  const float *gradient = input(launch, at::gradient), *scalars = input(launch, at::scalars);
  float norm = *input(launch, at::norm);
  if (!std::isfinite(norm))
    return 0;
  float scale = clip > 0 ? float(std::min(1.0, clip / (norm + 1e-6))) : 1.0f;
  float lr = scalars[0], correction1 = 1.0f / scalars[1], correction2 = 1.0f / scalars[2];
  float keep = decays ? float(1.0 - double(lr) * decay) : 1.0f;
  float b1 = float(beta1), c1 = float(1.0 - beta1), b2 = float(beta2), c2 = float(1.0 - beta2);
  parallelRanges(launch->ints[number::count], 32768, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      float g = gradient[i] * scale;
      m[i] = b1 * m[i] + c1 * g;
      v[i] = b2 * v[i] + c2 * g * g;
      weight[i] = weight[i] * keep - lr * (m[i] * correction1) / (std::sqrt(v[i] * correction2) + eps);
    }
  });
  return 0;
}
}
