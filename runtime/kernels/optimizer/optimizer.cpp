// Gradient norm and AdamW, conventions section 14, as linear sweeps.
#include "runtime/core/Launch.h"
#include "runtime/core/ThreadPool.h"

#include <algorithm>
#include <cmath>

using namespace megacc::runtime;

extern "C" {

int32_t mg_gradient_norm(const MgLaunch *launch) {
  constexpr int64_t tile = 4096;
  int64_t count = launch->ints[0], tiles = (count + tile - 1) / tile;
  const float *gradients = input(launch, 1);
  double *partial = static_cast<double *>(launch->operands[2]);
  parallelRanges(count, tile, [&](int64_t begin, int64_t end) {
    double sum = 0;
    for (int64_t i = begin; i < end; ++i)
      sum += double(gradients[i]) * gradients[i];
    partial[begin / tile] = sum;
  });
  double sum = 0;
  for (int64_t i = 0; i < tiles; ++i)
    sum += partial[i];
  *output(launch, 0) = float(std::sqrt(sum));
  return 0;
}

int32_t mg_adamw(const MgLaunch *launch) {
  bool decays = launch->ints[1];
  double beta1 = launch->doubles[0], beta2 = launch->doubles[1], decay = launch->doubles[3], clip = launch->doubles[4];
  float eps = float(launch->doubles[2]);
  float *weight = output(launch, 0), *m = output(launch, 1), *v = output(launch, 2);
  const float *gradient = input(launch, 3), *scalars = input(launch, 5);
  float norm = *input(launch, 4);
  if (!std::isfinite(norm))
    return 0;
  float scale = clip > 0 ? float(std::min(1.0, clip / (norm + 1e-6))) : 1.0f;
  float lr = scalars[0], correction1 = 1.0f / scalars[1], correction2 = 1.0f / scalars[2];
  float keep = decays ? float(1.0 - double(lr) * decay) : 1.0f;
  float b1 = float(beta1), c1 = float(1.0 - beta1), b2 = float(beta2), c2 = float(1.0 - beta2);
  parallelRanges(launch->ints[0], 32768, [&](int64_t begin, int64_t end) {
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
