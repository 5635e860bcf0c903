// Mixture of depths (conventions 10.7 and 10.8): which tokens enter a block, their rows there and back, and the loss of the choice.
#include "runtime/core/Dot.h"
#include "runtime/core/FastMath.h"
#include "runtime/core/Launch.h"
#include "runtime/core/Scratch.h"
#include "runtime/core/ThreadPool.h"

#include <bit>
#include <cstring>

using namespace megacc::runtime;

static constexpr int64_t tile_rows = 64;

/// Integers in the order of the numbers: -0 equals +0, NaN is the least.
static uint32_t orderOf(float logit) {
  if (!(logit == logit))
    return 0;
  uint32_t bits = std::bit_cast<uint32_t>(logit + 0.0f);
  return bits >> 31 ? ~bits : bits | 0x80000000u;
}

/// The `keep`-th largest order of a row, a byte at a time; `equal` becomes how many of that order are kept.
static uint32_t findThreshold(const float *logits, int64_t count, int64_t keep, int64_t &equal) {
  uint32_t found = 0;
  for (int shift = 24; shift >= 0; shift -= 8) {
    int64_t counts[256] = {};
    uint32_t known = shift == 24 ? 0 : ~0u << (shift + 8);
    for (int64_t s = 0; s < count; ++s)
      if (uint32_t order = orderOf(logits[s]); (order & known) == found)
        ++counts[order >> shift & 255];
    uint32_t byte = 255;
    for (; counts[byte] < keep; --byte)
      keep -= counts[byte];
    found |= byte << shift;
  }
  equal = keep;
  return found;
}

extern "C" {

int32_t mg_mod_select(const MgLaunch *launch) {
  MG_ENTER(mg_mod_select);
  int64_t batch = launch->ints[number::batch], sequence = launch->ints[number::sequence], keep = launch->ints[number::keep];
  parallelFor(batch, [&](int64_t b) {
    const float *logits = input(launch, at::logits) + b * sequence;
    int32_t *position = static_cast<int32_t *>(launch->operands[at::position]) + b * sequence, next = 0;
    int64_t equal = 0;
    uint32_t threshold = findThreshold(logits, sequence, keep, equal);
    for (int64_t s = 0; s < sequence; ++s) {
      uint32_t order = orderOf(logits[s]);
      bool kept = order > threshold || (order == threshold && equal-- > 0);
      position[s] = kept ? next++ : -1;
    }
  });
  return 0;
}

int32_t mg_mod_take(const MgLaunch *launch) {
  MG_ENTER(mg_mod_take);
  int64_t sequence = launch->ints[number::sequence], keep = launch->ints[number::keep], cols = launch->ints[number::cols];
  const int32_t *position = integers(launch, at::position);
  parallelRanges(launch->ints[number::batch] * sequence, tile_rows, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t)
      if (position[t] >= 0)
        std::memcpy(output(launch, at::y) + (t / sequence * keep + position[t]) * cols, input(launch, at::x) + t * cols,
                    cols * sizeof(float));
  });
  return 0;
}

int32_t mg_mod_put(const MgLaunch *launch) {
  MG_ENTER(mg_mod_put);
  int64_t sequence = launch->ints[number::sequence], keep = launch->ints[number::keep], cols = launch->ints[number::cols];
  const int32_t *position = integers(launch, at::position);
  const float *logits = input(launch, at::logits);
  parallelRanges(launch->ints[number::batch] * sequence, tile_rows, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      float *y = output(launch, at::y) + t * cols;
      if (position[t] < 0) {
        std::memset(y, 0, cols * sizeof(float));
        continue;
      }
      const float *x = input(launch, at::x) + (t / sequence * keep + position[t]) * cols;
      float factor = logits ? sigmoid(logits[t]) : 1.0f;
      for (int64_t j = 0; j < cols; ++j)
        y[j] = x[j] * factor;
    }
  });
  return 0;
}

int32_t mg_mod_put_grad(const MgLaunch *launch) {
  MG_ENTER(mg_mod_put_grad);
  int64_t sequence = launch->ints[number::sequence], keep = launch->ints[number::keep], cols = launch->ints[number::cols];
  const int32_t *position = integers(launch, at::position);
  const float *logits = input(launch, at::logits);
  float *d_logits = output(launch, at::d_logits);
  parallelRanges(launch->ints[number::batch] * sequence, tile_rows, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      d_logits[t] = 0;
      if (position[t] < 0)
        continue;
      int64_t row = (t / sequence * keep + position[t]) * cols;
      const float *g = input(launch, at::d_y) + t * cols;
      float *d_x = output(launch, at::d_x) + row, factor = sigmoid(logits[t]);
      d_logits[t] = dot(g, input(launch, at::x) + row, cols) * factor * (1.0f - factor);
      for (int64_t j = 0; j < cols; ++j)
        d_x[j] = g[j] * factor;
    }
  });
  return 0;
}

int32_t mg_mod_loss(const MgLaunch *launch) {
  MG_ENTER(mg_mod_loss);
  int64_t rows = launch->ints[number::rows], tiles = (rows + tile_rows - 1) / tile_rows;
  const int32_t *position = integers(launch, at::position);
  const float *logits = input(launch, at::logits);
  Scratch scratch(launch, at::scratch);
  float *partial = scratch.take<float>(tiles);
  if (int32_t status = scratch.check("mg_mod_loss"))
    return status;
  parallelRanges(rows, tile_rows, [&](int64_t begin, int64_t end) {
    partial[begin / tile_rows] = sumOf(end - begin, [&](int64_t i) {
      float logit = logits[begin + i];
      return softplus(position[begin + i] < 0 ? logit : -logit); // softplus(r) - r = softplus(-r)
    });
  });
  double sum = 0;
  for (int64_t tile = 0; tile < tiles; ++tile)
    sum += partial[tile];
  *output(launch, at::loss) = float(sum * launch->doubles[real::aux] / double(launch->ints[number::tokens]));
  return 0;
}

int32_t mg_mod_loss_grad(const MgLaunch *launch) {
  MG_ENTER(mg_mod_loss_grad);
  const int32_t *position = integers(launch, at::position);
  const float *logits = input(launch, at::logits);
  float *d_logits = output(launch, at::d_logits), scale = float(launch->doubles[real::scale]);
  parallelRanges(launch->ints[number::rows], 1024, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t)
      d_logits[t] = position[t] < 0 ? scale * sigmoid(logits[t]) : -scale * sigmoid(-logits[t]);
  });
  return 0;
}
}
