// Mean entropy of the probabilities of attention, for people who look at a run (megacc --log-blocks): query by query, plain loops.
#include "runtime/core/Documents.h"
#include "runtime/core/Dot.h"
#include "runtime/core/FastMath.h"
#include "runtime/core/Launch.h"
#include "runtime/core/Scratch.h"
#include "runtime/core/ThreadPool.h"

#include <algorithm>
#include <cmath>

using namespace megacc::runtime;

/// Queries of a task, and tasks that have scratch of their own.
static constexpr int64_t query_tile = 64, most_lanes = 32;

/// -sum p log p with p the softmax of the scores, which is log Z - sum e s / Z with e = exp(s), Z = sum e, s relative to the largest. NaN
/// without a score.
static double entropyOf(const float *scores, int64_t count) {
  float top = largestOf(scores, count, -INFINITY);
  double total = 0, weighted = 0;
  for (int64_t j = 0; j < count; ++j) {
    float below = scores[j] - top;
    double e = fastExp(below);
    total += e;
    weighted += e == 0 ? 0 : e * below;
  }
  return std::log(total) - weighted / total;
}

extern "C" int32_t mg_attention_entropy(const MgLaunch *launch) {
  MG_ENTER(mg_attention_entropy);
  int64_t batch = launch->ints[number::batch], sequence = launch->ints[number::sequence], heads = launch->ints[number::heads];
  int64_t kv_heads = launch->ints[number::kv_heads], dim = launch->ints[number::qk_dim], kept = launch->ints[number::kept];
  int64_t blocks = (sequence + query_tile - 1) / query_tile, tasks = batch * heads * blocks, lanes = std::min(tasks, most_lanes);
  float scale = float(launch->doubles[real::scale]);
  const float *q = input(launch, at::q), *k = input(launch, at::k);
  const int32_t *documents = integers(launch, at::documents), *support = integers(launch, at::support);
  Scratch scratch(launch, at::scratch);
  float *all_scores = scratch.take<float>(lanes * sequence);
  double *sums = scratch.take<double>(tasks), sum = 0;
  if (int32_t status = scratch.check("mg_attention_entropy"))
    return status;
  parallelFor(lanes, [&](int64_t lane) {
    float *scores = all_scores + lane * sequence;
    for (int64_t task = lane; task < tasks; task += lanes) {
      int64_t head = task / blocks % heads, first_row = task / blocks / heads * sequence;
      int64_t begin = task % blocks * query_tile, end = std::min(begin + query_tile, sequence);
      const float *keys = k + first_row * kv_heads * dim + head / (heads / kv_heads) * dim;
      sums[task] = 0;
      for (int64_t t = begin; t < end; ++t) {
        const float *query = q + ((first_row + t) * heads + head) * dim;
        auto score = [&](int64_t key) { return scale * dot(query, keys + key * kv_heads * dim, dim); };
        int64_t count = 0;
        if (support) {
          const int32_t *picked = support + (first_row + t) * kept;
          for (; count < kept && picked[count] >= 0; ++count)
            scores[count] = score(picked[count]);
        } else {
          count = countReach(documents ? documents + first_row : nullptr, sequence, t, -1, t + 1);
          for (int64_t j = 0; j < count; ++j)
            scores[j] = score(t - j);
        }
        sums[task] += entropyOf(scores, count);
      }
    }
  });
  for (int64_t task = 0; task < tasks; ++task)
    sum += sums[task];
  *output(launch, at::entropy) = float(launch->doubles[real::share] * sum);
  return 0;
}
