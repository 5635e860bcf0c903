// Straightness of rows between tokens, conventions 12.6.
#include "runtime/core/Dot.h"
#include "runtime/core/Launch.h"
#include "runtime/core/Scratch.h"
#include "runtime/core/ThreadPool.h"

#include <algorithm>
#include <cmath>

using namespace megacc::runtime;

namespace {

/// Below it two steps have no direction.
constexpr double least_squares = 1e-8;

/// Whether a span lies inside the row and, where `documents` are the row's ids, inside one document: in the same run of equal ids.
bool isCounted(const int32_t *span, const int32_t *documents, int64_t sequence) {
  if (span[0] < 0 || span[0] >= span[1] || span[1] >= span[2] || span[2] >= sequence)
    return false;
  return !documents || std::all_of(documents + span[0], documents + span[2] + 1, [&](int32_t id) { return id == documents[span[0]]; });
}

/// The two steps of a span, a = h[r] - h[s] and b = h[t] - h[r] of the rows h, by their products.
struct Steps {
  double aa, bb, ab;

  Steps(const float *x, const int32_t *span, int64_t cols) {
    const float *s = x + span[0] * cols, *r = x + span[1] * cols, *t = x + span[2] * cols;
    aa = sumOf(cols, [&](int64_t i) { return (r[i] - s[i]) * (r[i] - s[i]); });
    bb = sumOf(cols, [&](int64_t i) { return (t[i] - r[i]) * (t[i] - r[i]); });
    ab = sumOf(cols, [&](int64_t i) { return (r[i] - s[i]) * (t[i] - r[i]); });
  }
  bool hasDirection() const { return aa * bb > least_squares; }
  double cosine() const { return hasDirection() ? ab / std::sqrt(aa * bb) : 0; }
};

} // namespace

extern "C" {

int32_t mg_count_spans(const MgLaunch *launch) {
  MG_ENTER(mg_count_spans);
  int64_t batch = launch->ints[number::batch], sequence = launch->ints[number::sequence], spans = launch->ints[number::spans];
  const int32_t *span = integers(launch, at::spans), *documents = integers(launch, at::documents);
  int64_t count = 0;
  for (int64_t b = 0; b < batch; ++b)
    for (int64_t j = 0; j < spans; ++j)
      count += isCounted(span + 3 * j, documents ? documents + b * sequence : nullptr, documents ? sequence : INT32_MAX);
  *output(launch, at::count) = float(count);
  return 0;
}

int32_t mg_straightness(const MgLaunch *launch) {
  MG_ENTER(mg_straightness);
  int64_t batch = launch->ints[number::batch], sequence = launch->ints[number::sequence], cols = launch->ints[number::cols];
  int64_t spans = launch->ints[number::spans];
  const float *x = input(launch, at::x);
  const int32_t *all = integers(launch, at::spans), *documents = integers(launch, at::documents);
  Scratch scratch(launch, at::scratch);
  double *terms = scratch.take<double>(batch * spans), sum = 0;
  if (int32_t status = scratch.check("mg_straightness"))
    return status;
  parallelFor(batch * spans, [&](int64_t pair) {
    int64_t b = pair / spans;
    const int32_t *span = all + pair % spans * 3;
    bool counted = isCounted(span, documents ? documents + b * sequence : nullptr, sequence);
    terms[pair] = counted ? 1 - Steps(x + b * sequence * cols, span, cols).cosine() : 0;
  });
  for (int64_t pair = 0; pair < batch * spans; ++pair)
    sum += terms[pair];
  double count = double(launch->ints[number::layers]) * *input(launch, at::count);
  *output(launch, at::loss) = float(launch->doubles[real::weight] * sum / std::max(1.0, count));
  return 0;
}

// d(1 - cos)/da = (cos a / |a|^2 - b / (|a| |b|)), and likewise for b; the tokens of a row may be in several spans, which add up in order.
int32_t mg_straightness_grad(const MgLaunch *launch) {
  MG_ENTER(mg_straightness_grad);
  int64_t batch = launch->ints[number::batch], sequence = launch->ints[number::sequence], cols = launch->ints[number::cols];
  int64_t spans = launch->ints[number::spans];
  const int32_t *all = integers(launch, at::spans), *documents = integers(launch, at::documents);
  double count = double(launch->ints[number::layers]) * *input(launch, at::count);
  double weight = launch->doubles[real::weight] / std::max(1.0, count);
  parallelRanges(batch * sequence, 64, [&](int64_t begin, int64_t end) {
    std::fill(output(launch, at::d_x) + begin * cols, output(launch, at::d_x) + end * cols, 0.0f);
  });
  parallelFor(batch, [&](int64_t b) {
    const float *x = input(launch, at::x) + b * sequence * cols;
    float *d_x = output(launch, at::d_x) + b * sequence * cols;
    for (int64_t j = 0; j < spans; ++j) {
      const int32_t *span = all + 3 * j;
      if (!isCounted(span, documents ? documents + b * sequence : nullptr, sequence))
        continue;
      Steps steps(x, span, cols);
      if (!steps.hasDirection())
        continue;
      double cosine = steps.cosine();
      float own_a = float(weight * cosine / steps.aa), own_b = float(weight * cosine / steps.bb);
      float cross = float(weight / std::sqrt(steps.aa * steps.bb));
      for (int64_t i = 0; i < cols; ++i) {
        float a = x[span[1] * cols + i] - x[span[0] * cols + i], b_step = x[span[2] * cols + i] - x[span[1] * cols + i];
        float d_a = own_a * a - cross * b_step, d_b = own_b * b_step - cross * a;
        d_x[span[0] * cols + i] -= d_a;
        d_x[span[1] * cols + i] += d_a - d_b;
        d_x[span[2] * cols + i] += d_b;
      }
    }
  });
  return 0;
}
}
