// The head and its cross-entropy together: logits exist for `logit_rows` rows at a time (conventions 12.2).
#include "runtime/core/Dot.h"
#include "runtime/core/FastMath.h"
#include "runtime/core/Gemm.h"
#include "runtime/core/Launch.h"
#include "runtime/core/Scratch.h"
#include "runtime/core/ThreadPool.h"

#include <algorithm>
#include <cmath>
#include <cstring>

using namespace megacc::runtime;

namespace {

/// Turns logits into exp(logit - top); returns their sum.
double exponentiate(float *row, int64_t count, float top) {
  double sum = 0;
  for (int64_t begin = 0; begin < count; begin += 256) {
    int64_t here = std::min<int64_t>(256, count - begin);
    float *part = row + begin;
    for (int64_t j = 0; j < here; ++j)
      part[j] = fastExp(part[j] - top);
    sum += sumOf(here, [&](int64_t j) { return part[j]; });
  }
  return sum;
}

/// Turns a row of logits into softmax - one_hot times factor; returns the loss of the row. A target outside the vocabulary is ignored.
double lossRow(float *row, int64_t vocab, int32_t target, float factor) {
  if (target < 0 || target >= vocab) {
    std::memset(row, 0, vocab * sizeof(float));
    return 0;
  }
  float top = largestOf(row + 1, vocab - 1, row[0]);
  float goal = row[target];
  double sum = exponentiate(row, vocab, top);
  float scale = float(factor / sum);
  for (int64_t j = 0; j < vocab; ++j)
    row[j] *= scale;
  row[target] -= factor;
  return std::log(sum) + top - goal;
}

/// The softmax of a row over all parts of the vocabulary, from statistics [all_parts, 2, rows].
struct RowSoftmax {
  float top;
  double sum = 0;

  RowSoftmax(const float *statistics, int64_t all_parts, int64_t rows, int64_t row) : top(statistics[row]) {
    for (int64_t part = 1; part < all_parts; ++part)
      top = std::max(top, statistics[part * 2 * rows + row]);
    for (int64_t part = 0; part < all_parts; ++part)
      sum += statistics[(part * 2 + 1) * rows + row] * std::exp(double(statistics[part * 2 * rows + row]) - top);
  }
  double logSum() const { return std::log(sum) + top; }
};

/// Turns the logits of a rank's part of the vocabulary into softmax - one_hot times factor; returns the loss of the row if its target is
/// in the part. `target` counts from the part's first; `ignored` rows become zeros.
double lossRowPart(float *row, int64_t vocab, int64_t target, bool ignored, const RowSoftmax &softmax, float factor) {
  if (ignored) {
    std::memset(row, 0, vocab * sizeof(float));
    return 0;
  }
  bool is_here = target >= 0 && target < vocab;
  double loss = is_here ? softmax.logSum() - row[target] : 0;
  exponentiate(row, vocab, softmax.top);
  float scale = float(factor / softmax.sum);
  for (int64_t j = 0; j < vocab; ++j)
    row[j] *= scale;
  if (is_here)
    row[target] -= factor;
  return loss;
}

} // namespace

extern "C" {

int32_t mg_count_valid(const MgLaunch *launch) {
  MG_ENTER(mg_count_valid);
  const int32_t *targets = integers(launch, at::targets);
  *output(launch, at::valid) =
      float(std::count_if(targets, targets + launch->ints[number::rows], [](int32_t target) { return target >= 0; }));
  return 0;
}

int32_t mg_linear_cross_entropy(const MgLaunch *launch) {
  MG_ENTER(mg_linear_cross_entropy);
  int64_t rows = launch->ints[number::rows], cols = launch->ints[number::cols], vocab = launch->ints[number::vocab];
  int64_t chunk = launch->ints[number::logit_rows];
  bool add = addsToOutput(launch, launch->ints[number::accumulate]);
  float *d_x = output(launch, at::d_x), *d_weight = output(launch, at::d_weight);
  const float *x = input(launch, at::x), *weight = input(launch, at::weight);
  const int32_t *targets = integers(launch, at::targets);
  Scratch scratch(launch, at::scratch);
  float *logits = scratch.take<float>(chunk * vocab);
  if (int32_t status = scratch.check("mg_linear_cross_entropy"))
    return status;
  raiseFlag(launch, output(launch, at::invalid), std::any_of(targets, targets + rows, [&](int32_t target) { return target >= vocab; }));
  double valid = std::max(1.0, double(*input(launch, at::valid)));
  float factor = float(launch->doubles[real::scale] / valid);
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
  *output(launch, at::loss) = float(loss / valid);
  return productStatus("mg_linear_cross_entropy");
}

int32_t mg_head_statistics(const MgLaunch *launch) {
  MG_ENTER(mg_head_statistics);
  int64_t rows = launch->ints[number::rows], cols = launch->ints[number::cols], parts = launch->ints[number::parts];
  int64_t vocab = launch->ints[number::vocab] / parts, chunk = launch->ints[number::logit_rows];
  const float *x = input(launch, at::x), *weight = input(launch, at::weight);
  Scratch scratch(launch, at::scratch);
  float *logits = scratch.take<float>(chunk * vocab);
  if (int32_t status = scratch.check("mg_head_statistics"))
    return status;
  for (int64_t part = 0; part < parts; ++part)
    for (int64_t first = 0; first < rows; first += chunk) {
      int64_t count = std::min(chunk, rows - first);
      float *tops = output(launch, at::statistics) + part * 2 * rows + first, *sums = tops + rows;
      parallelGemm(Transpose::right, count, vocab, cols, x + first * cols, weight + part * vocab * cols, 0.0f, logits);
      parallelRanges(count, 16, [&](int64_t begin, int64_t end) {
        for (int64_t t = begin; t < end; ++t) {
          float *row = logits + t * vocab;
          tops[t] = largestOf(row + 1, vocab - 1, row[0]);
          sums[t] = float(exponentiate(row, vocab, tops[t]));
        }
      });
    }
  return productStatus("mg_head_statistics");
}

int32_t mg_linear_cross_entropy_parts(const MgLaunch *launch) {
  MG_ENTER(mg_linear_cross_entropy_parts);
  int64_t rows = launch->ints[number::rows], cols = launch->ints[number::cols], vocab = launch->ints[number::vocab];
  int64_t chunk = launch->ints[number::logit_rows], all_parts = launch->ints[number::all_parts];
  int64_t whole = vocab / launch->ints[number::parts] * all_parts, begin_here = partBegin(launch, launch->ints[number::axis], vocab);
  bool add = addsToOutput(launch, launch->ints[number::accumulate]);
  float *d_x = output(launch, at::d_x), *d_weight = output(launch, at::d_weight);
  const float *x = input(launch, at::x), *weight = input(launch, at::weight), *statistics = input(launch, at::statistics);
  const int32_t *targets = integers(launch, at::targets);
  Scratch scratch(launch, at::scratch);
  float *logits = scratch.take<float>(chunk * vocab);
  double *losses = scratch.take<double>(rows);
  if (int32_t status = scratch.check("mg_linear_cross_entropy_parts"))
    return status;
  raiseFlag(launch, output(launch, at::invalid), std::any_of(targets, targets + rows, [&](int32_t target) { return target >= whole; }));
  double valid = std::max(1.0, double(*input(launch, at::valid)));
  float factor = float(launch->doubles[real::scale] / valid);
  for (int64_t first = 0; first < rows; first += chunk) {
    int64_t count = std::min(chunk, rows - first);
    parallelGemm(Transpose::right, count, vocab, cols, x + first * cols, weight, 0.0f, logits);
    parallelRanges(count, 16, [&](int64_t begin, int64_t end) {
      for (int64_t t = begin; t < end; ++t) {
        int32_t target = targets[first + t];
        RowSoftmax softmax(statistics, all_parts, rows, first + t);
        losses[first + t] = lossRowPart(logits + t * vocab, vocab, target - begin_here, target < 0 || target >= whole, softmax, factor);
      }
    });
    parallelGemm(Transpose::none, count, cols, vocab, logits, weight, 0.0f, d_x + first * cols);
    parallelGemm(Transpose::left, vocab, cols, count, logits, x + first * cols, add || first > 0 ? 1.0f : 0.0f, d_weight);
  }
  double loss = 0;
  for (int64_t t = 0; t < rows; ++t)
    loss += losses[t];
  *output(launch, at::loss) = float(loss / valid);
  return productStatus("mg_linear_cross_entropy_parts");
}

int32_t mg_linear_cross_entropy_evaluate_parts(const MgLaunch *launch) {
  MG_ENTER(mg_linear_cross_entropy_evaluate_parts);
  int64_t batch = launch->ints[number::batch], sequence = launch->ints[number::sequence], cols = launch->ints[number::cols];
  int64_t vocab = launch->ints[number::vocab], first = partBegin(launch, launch->ints[number::axis], vocab);
  const float *x = input(launch, at::x), *weight = input(launch, at::weight), *statistics = input(launch, at::statistics);
  for (int64_t b = 0; b < batch; ++b) {
    double sum = 0;
    int64_t valid = 0;
    for (int64_t t = b * sequence; t < (b + 1) * sequence; ++t) {
      int64_t target = integers(launch, at::targets)[t] - first;
      if (integers(launch, at::targets)[t] < 0 || target < 0 || target >= vocab)
        continue;
      RowSoftmax softmax(statistics, launch->ints[number::all_parts], batch * sequence, t);
      sum += softmax.logSum() - dot(x + t * cols, weight + target * cols, cols);
      ++valid;
    }
    output(launch, at::loss_sum)[b] = float(sum);
    output(launch, at::count)[b] = float(valid);
  }
  return 0;
}

int32_t mg_linear_cross_entropy_evaluate(const MgLaunch *launch) {
  MG_ENTER(mg_linear_cross_entropy_evaluate);
  int64_t batch = launch->ints[number::batch], sequence = launch->ints[number::sequence], cols = launch->ints[number::cols];
  int64_t vocab = launch->ints[number::vocab], chunk = launch->ints[number::logit_rows];
  float *loss_sum = output(launch, at::loss_sum), *count = output(launch, at::count);
  const float *x = input(launch, at::x), *weight = input(launch, at::weight);
  const int32_t *targets = integers(launch, at::targets);
  Scratch scratch(launch, at::scratch);
  float *logits = scratch.take<float>(chunk * vocab);
  if (int32_t status = scratch.check("mg_linear_cross_entropy_evaluate"))
    return status;
  for (int64_t b = 0; b < batch; ++b) {
    double sum = 0;
    int64_t valid = 0;
    for (int64_t first = b * sequence; first < (b + 1) * sequence; first += chunk) {
      int64_t rows = std::min(chunk, (b + 1) * sequence - first);
      parallelGemm(Transpose::right, rows, vocab, cols, x + first * cols, weight, 0.0f, logits);
      for (int64_t t = 0; t < rows; ++t) {
        valid += targets[first + t] >= 0 && targets[first + t] < vocab;
        sum += lossRow(logits + t * vocab, vocab, targets[first + t], 1.0f);
      }
    }
    loss_sum[b] = float(sum);
    count[b] = float(valid);
  }
  return productStatus("mg_linear_cross_entropy_evaluate");
}

int32_t mg_logits_at(const MgLaunch *launch) {
  MG_ENTER(mg_logits_at);
  if (int32_t status = Scratch(launch, at::scratch).check("mg_logits_at"))
    return status;
  int64_t batch = launch->ints[number::batch], sequence = launch->ints[number::sequence], cols = launch->ints[number::cols];
  int64_t vocab = launch->ints[number::vocab];
  for (int64_t b = 0; b < batch; ++b) {
    int64_t position = std::clamp<int64_t>(integers(launch, at::positions)[b], 0, sequence - 1);
    parallelGemm(Transpose::right, 1, vocab, cols, input(launch, at::x) + (b * sequence + position) * cols, input(launch, at::weight), 0.0f,
                 output(launch, at::logits) + b * vocab);
  }
  return productStatus("mg_logits_at");
}
}
