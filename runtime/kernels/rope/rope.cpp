// Rotary position embedding, conventions 5.2: pairs channel j with j + width/2, angle position * theta^(-2j/width).
#include "runtime/core/Launch.h"
#include "runtime/core/ThreadPool.h"

#include <algorithm>
#include <cmath>
#include <cstring>

using namespace megacc::runtime;

/// Pairs whose angles are at hand at a time.
static constexpr int64_t block = 64;

/// Both kernels: the first `pairs` pairs turn.
static void rotate(const MgLaunch *launch, float *y, const float *x, int64_t pairs) {
  namespace number = number_mg_rope;
  int64_t rows = launch->ints[number::rows], sequence = launch->ints[number::sequence], heads = launch->ints[number::heads];
  int64_t head_dim = launch->ints[number::head_dim], offset = launch->ints[number::offset], half = launch->ints[number::width] / 2;
  double sign = launch->ints[number::inverse] ? -1.0 : 1.0, theta = launch->doubles[real_mg_rope::theta];
  // A tile is a range of positions, so that each angle is computed once for all rows of the batch and all heads. Within it a pair's angle
  // grows by turning its sine and cosine, in double: no more than 31 roundings after the exact first one.
  parallelRanges(sequence, 32, [&](int64_t begin, int64_t end) {
    if (y != x)
      for (int64_t row = begin; row < rows; row += sequence)
        std::memcpy(y + row * heads * head_dim, x + row * heads * head_dim,
                    std::min(end - begin, rows - row) * heads * head_dim * sizeof(float));
    for (int64_t first = 0; first < pairs; first += block) {
      int64_t count = std::min(block, pairs - first);
      double turned_cosine[block], turned_sine[block], step_cosine[block], step_sine[block];
      for (int64_t j = 0; j < count; ++j) {
        double step = std::pow(theta, -double(first + j) / half);
        turned_cosine[j] = std::cos(begin * step), turned_sine[j] = sign * std::sin(begin * step);
        step_cosine[j] = std::cos(step), step_sine[j] = sign * std::sin(step);
      }
      for (int64_t position = begin; position < end; ++position) {
        float cosine[block], sine[block];
        for (int64_t j = 0; j < count; ++j) {
          double c = turned_cosine[j], d = turned_sine[j];
          cosine[j] = float(c), sine[j] = float(d);
          turned_cosine[j] = c * step_cosine[j] - d * step_sine[j];
          turned_sine[j] = d * step_cosine[j] + c * step_sine[j];
        }
        for (int64_t t = position; t < rows; t += sequence)
          for (int64_t h = 0; h < heads; ++h) {
            float *__restrict a = y + (t * heads + h) * head_dim + offset + first, *__restrict b = a + half;
            for (int64_t j = 0; j < count; ++j) {
              float left = a[j], right = b[j];
              a[j] = left * cosine[j] - right * sine[j];
              b[j] = left * sine[j] + right * cosine[j];
            }
          }
      }
    }
  });
}

extern "C" {

int32_t mg_rope(const MgLaunch *launch) {
  MG_ENTER(mg_rope);
  rotate(launch, output(launch, at::y), input(launch, at::x), launch->ints[number::width] / 2);
  return 0;
}

int32_t mg_partial_rope(const MgLaunch *launch) {
  MG_ENTER(mg_partial_rope);
  rotate(launch, output(launch, at::y), input(launch, at::x), launch->ints[number::pairs]);
  return 0;
}
}
