// The head and its cross-entropy together: logits exist for `chunk` rows at a time (conventions 12.2).
#include "runtime/core/FastMath.h"
#include "runtime/core/Gemm.h"
#include "runtime/core/Launch.h"
#include "runtime/core/Status.h"
#include "runtime/core/ThreadPool.h"

#include <algorithm>
#include <cmath>
#include <cstring>

using namespace megacc::runtime;

namespace {

int32_t checkTargets(const int32_t *targets, int64_t rows, int64_t vocab) {
  for (int64_t t = 0; t < rows; ++t)
    if (targets[t] >= vocab)
      return mg_fail("target %d at position %ld of the micro-batch is outside the vocabulary of %ld; a negative target is ignored",
                     targets[t], long(t), long(vocab));
  return 0;
}

/// Turns a row of logits into softmax - one_hot times factor; returns the loss of the row.
double lossRow(float *row, int64_t vocab, int32_t target, float factor) {
  if (target < 0) {
    std::memset(row, 0, vocab * sizeof(float));
    return 0;
  }
  float top = row[0];
  for (int64_t j = 1; j < vocab; ++j)
    top = std::max(top, row[j]);
  float goal = row[target];
  double sum = 0;
  for (int64_t begin = 0; begin < vocab; begin += 256) {
    float part = 0;
    for (int64_t j = begin; j < std::min(begin + 256, vocab); ++j) {
      row[j] = fastExp(row[j] - top);
      part += row[j];
    }
    sum += part;
  }
  float scale = float(factor / sum);
  for (int64_t j = 0; j < vocab; ++j)
    row[j] *= scale;
  row[target] -= factor;
  return std::log(sum) + top - goal;
}

} // namespace

extern "C" {

int32_t mg_linear_cross_entropy(const MgLaunch *launch) {
  int64_t rows = launch->ints[0], cols = launch->ints[1], vocab = launch->ints[2], chunk = launch->ints[3];
  bool add = addsToOutput(launch, launch->ints[4]);
  float *d_x = output(launch, 1), *d_weight = output(launch, 2), *logits = output(launch, 6);
  const float *x = input(launch, 3), *weight = input(launch, 4);
  const int32_t *targets = integers(launch, 5);
  if (int32_t status = checkTargets(targets, rows, vocab))
    return status;
  int64_t valid = std::count_if(targets, targets + rows, [](int32_t target) { return target >= 0; });
  float factor = float(launch->doubles[0] / std::max<int64_t>(valid, 1));
  constexpr int64_t tile_rows = 16, most_tiles = 256;
  double loss = 0, partial[most_tiles];
  for (int64_t first = 0; first < rows; first += chunk) {
    int64_t count = std::min(chunk, rows - first);
    parallelGemm(Transpose::right, count, vocab, cols, x + first * cols, weight, 0.0f, logits);
    for (int64_t base = 0; base < count; base += tile_rows * most_tiles) {
      int64_t part = std::min(tile_rows * most_tiles, count - base);
      parallelRanges(part, tile_rows, [&](int64_t begin, int64_t end) {
        double sum = 0;
        for (int64_t t = base + begin; t < base + end; ++t)
          sum += lossRow(logits + t * vocab, vocab, targets[first + t], factor);
        partial[begin / tile_rows] = sum;
      });
      for (int64_t tile = 0; tile < (part + tile_rows - 1) / tile_rows; ++tile)
        loss += partial[tile];
    }
    parallelGemm(Transpose::none, count, cols, vocab, logits, weight, 0.0f, d_x + first * cols);
    parallelGemm(Transpose::left, vocab, cols, count, logits, x + first * cols, add || first > 0 ? 1.0f : 0.0f, d_weight);
  }
  *output(launch, 0) = float(loss / std::max<int64_t>(valid, 1));
  return 0;
}

int32_t mg_linear_cross_entropy_evaluate(const MgLaunch *launch) {
  int64_t batch = launch->ints[0], sequence = launch->ints[1], cols = launch->ints[2], vocab = launch->ints[3], chunk = launch->ints[4];
  float *loss_sum = output(launch, 0), *count = output(launch, 1), *logits = output(launch, 5);
  const float *x = input(launch, 2), *weight = input(launch, 3);
  const int32_t *targets = integers(launch, 4);
  if (int32_t status = checkTargets(targets, batch * sequence, vocab))
    return status;
  for (int64_t b = 0; b < batch; ++b) {
    double sum = 0;
    int64_t valid = 0;
    for (int64_t first = b * sequence; first < (b + 1) * sequence; first += chunk) {
      int64_t rows = std::min(chunk, (b + 1) * sequence - first);
      parallelGemm(Transpose::right, rows, vocab, cols, x + first * cols, weight, 0.0f, logits);
      for (int64_t t = 0; t < rows; ++t) {
        valid += targets[first + t] >= 0;
        sum += lossRow(logits + t * vocab, vocab, targets[first + t], 1.0f);
      }
    }
    loss_sum[b] = float(sum);
    count[b] = float(valid);
  }
  return 0;
}

int32_t mg_logits_at(const MgLaunch *launch) {
  int64_t batch = launch->ints[0], sequence = launch->ints[1], cols = launch->ints[2], vocab = launch->ints[3];
  const int32_t *positions = integers(launch, 3);
  for (int64_t b = 0; b < batch; ++b) {
    if (positions[b] < 0 || positions[b] >= sequence)
      return mg_fail("position %d of row %ld is outside the sequence of %ld", positions[b], long(b), long(sequence));
    parallelGemm(Transpose::right, 1, vocab, cols, input(launch, 1) + (b * sequence + positions[b]) * cols, input(launch, 2), 0.0f,
                 output(launch, 0) + b * vocab);
  }
  return 0;
}
}
