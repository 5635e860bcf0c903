// Gradient norm and AdamW, conventions section 14, as linear sweeps.
#include "runtime/kernels/optimizer/Optimizer.h"
#include "runtime/core/Scratch.h"
#include "runtime/core/ThreadPool.h"

#include <algorithm>
#include <bit>
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
    // Several sums side by side: one alone waits for each of its additions.
    constexpr int64_t lanes = 32;
    double sums[lanes] = {}, sum = 0;
    int64_t i = begin;
    for (; i + lanes <= end; i += lanes)
      for (int64_t lane = 0; lane < lanes; ++lane)
        sums[lane] += double(x[i + lane]) * x[i + lane];
    for (; i < end; ++i)
      sum += double(x[i]) * x[i];
    for (double one : sums)
      sum += one;
    partial[begin / tile] = sum;
  });
  double sum = 0;
  for (int64_t i = 0; i < tiles; ++i)
    sum += partial[i];
  write(sum);
  return 0;
}

/// One update of AdamW.
struct AdamW {
  float scale, lr, correction1, correction2, keep, b1, c1, b2, c2, eps;

  AdamW(const float *scalars, float norm, double beta1, double beta2, double epsilon, double decay, double clip)
      : scale(clipFactor(clip, norm)), lr(scalars[0]), correction1(1.0f / scalars[1]), correction2(1.0f / scalars[2]),
        keep(float(1.0 - double(lr) * decay)), b1(float(beta1)), c1(float(1.0 - beta1)), b2(float(beta2)), c2(float(1.0 - beta2)),
        eps(float(epsilon)) {}

  void update(float &weight, float &m, float &v, float gradient) const {
    float g = gradient * scale;
    m = b1 * m + c1 * g;
    v = b2 * v + c2 * g * g;
    weight = weight * keep - lr * (m * correction1) / (std::sqrt(v * correction2) + eps);
  }
};

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
  int64_t count = launch->ints[number::count] / launch->ints[number::ranks], first = ownPart(launch, launch->ints[number::axes]) * count;
  float *weight = output(launch, at::weight) + first, *m = output(launch, at::m), *v = output(launch, at::v);
  const float *gradient = input(launch, at::gradient) + first;
  float norm = *input(launch, at::norm);
  if (!std::isfinite(norm))
    return 0;
  const double *reals = launch->doubles;
  const AdamW rule(input(launch, at::scalars), norm, reals[real::beta1], reals[real::beta2], reals[real::eps],
                   launch->ints[number::decays] ? reals[real::decay] : 0.0, reals[real::clip]);
  parallelRanges(count, 32768, [&](int64_t begin, int64_t end) {
    const AdamW own = rule; // which no write reaches
    for (int64_t i = begin; i < end; ++i)
      own.update(weight[i], m[i], v[i], gradient[i]);
  });
  return 0;
}

int32_t mg_adamw_rounded(const MgLaunch *launch) {
  MG_ENTER(mg_adamw_rounded);
  int64_t count = launch->ints[number::count] / launch->ints[number::ranks], shift = ownPart(launch, launch->ints[number::axes]) * count;
  float *weight = output(launch, at::weight) + shift;
  auto *m = static_cast<uint16_t *>(launch->operands[at::m]), *v = static_cast<uint16_t *>(launch->operands[at::v]);
  const float *gradient = input(launch, at::gradient) + shift;
  const auto *table = static_cast<const int64_t *>(launch->operands[at::table]);
  float norm = *input(launch, at::norm);
  if (!std::isfinite(norm))
    return 0;
  const double *reals = launch->doubles;
  const AdamW rule(input(launch, at::scalars), norm, reals[real::beta1], reals[real::beta2], reals[real::eps],
                   launch->ints[number::decays] ? reals[real::decay] : 0.0, reals[real::clip]);
  const Ranks ranks = ranksOf(launch);
  int64_t t = *integers(launch, at::step), last = table[0] - 1;
  parallelRanges(count, 32768, [&](int64_t begin, int64_t end) {
    const AdamW own = rule;
    for (int64_t i = begin; i < end;) {
      const int64_t *entry = findEntry(table, shift + i);
      bool is_last = entry == table + 1 + 3 * last;
      const RoundingStream stream = roundingStream(table, entry + 1, t);
      for (int64_t first = entry[0] - shift, stop = is_last ? end : std::min(end, entry[3] - shift); i < stop; ++i) {
        float first_moment = fromBfloat16(m[i]), second_moment = fromBfloat16(v[i]);
        own.update(weight[i], first_moment, second_moment, gradient[i]);
        uint64_t random = stream.draw(i - first, ranks);
        m[i] = roundBits(std::bit_cast<uint32_t>(first_moment), uint32_t(random));
        v[i] = roundBits(std::bit_cast<uint32_t>(second_moment), uint32_t(random >> 16));
      }
    }
  });
  return 0;
}
}
