// Routing of tokens to experts, conventions section 7: scores, the best slots, weights, rows sorted by expert, auxiliary losses, and what
// the picks of a step do to the bias of a sigmoid router.
#include "runtime/core/FastMath.h"
#include "runtime/core/Launch.h"
#include "runtime/core/ThreadPool.h"

#include <algorithm>
#include <cmath>

using namespace megacc::runtime;

namespace {

constexpr int64_t tile_rows = 64;
constexpr double tiny = 1e-20; // of every normalisation (conventions 7.3 and 7.6)

struct Router {
  int64_t rows, experts, slots, nulls, columns, kept;
  bool sigmoid;
  double scale, aux, z;

  explicit Router(const MgLaunch *launch)
      : rows(launch->ints[0]), experts(launch->ints[1]), slots(launch->ints[2]), nulls(launch->ints[3]), columns(experts + (nulls > 0)),
        kept(std::min(slots, experts)), sigmoid(launch->ints[4]), scale(launch->doubles[0]), aux(launch->doubles[1]), z(launch->doubles[2]) {}
};

/// Softmax statistics of a row of logits, over the experts alone and over the pool: the experts and all copies of the null expert.
struct Softmax {
  float top;       // largest logit of an expert
  double sum;      // of exp(logit - top) over the experts
  double null;     // exp(null logit - largest logit of the pool)
  double pool_sum; // of exp(logit - largest logit of the pool) over the pool
  double share;    // exp(logit - top) * share = probability in the pool
  double log_sum;  // log-sum-exp of the pool

  /// Leaves exp(logit - top) of the experts in `values`.
  Softmax(const Router &router, const float *logits, float *values) : top(logits[0]), sum(0), null(0) {
    for (int64_t e = 1; e < router.experts; ++e)
      top = std::max(top, logits[e]);
    for (int64_t e = 0; e < router.experts; ++e)
      values[e] = fastExp(logits[e] - top);
    for (int64_t e = 0; e < router.experts; ++e)
      sum += values[e];
    float pool_top = router.nulls ? std::max(top, logits[router.experts]) : top;
    share = fastExp(top - pool_top);
    if (router.nulls)
      null = fastExp(logits[router.experts] - pool_top);
    pool_sum = sum * share + double(router.nulls) * null;
    share /= pool_sum;
    log_sum = pool_top + std::log(pool_sum);
  }
};

void writeSigmoids(const Router &router, const float *logits, float *values) {
  for (int64_t e = 0; e < router.experts; ++e)
    values[e] = sigmoid(logits[e]);
}

/// Writes the experts among the `slots` best of the pool, ascending, then -1. Of equal preferences the lower index wins, so an expert
/// wins against the null copies, which come last.
void choose(const Router &router, const float *preference, int32_t *choice) {
  int64_t left = router.slots, nulls_left = router.nulls, picked = 0;
  for (int64_t last = -1; left > 0 && picked < router.kept; --left) {
    int64_t best = -1;
    for (int64_t e = 0; e < router.experts; ++e) {
      bool open = last < 0 || preference[e] < preference[last] || (preference[e] == preference[last] && e > last);
      if (open && (best < 0 || preference[e] > preference[best]))
        best = e;
    }
    if (nulls_left && preference[router.experts] > preference[best]) {
      left -= std::min(left, nulls_left);
      nulls_left = 0;
      if (left == 0)
        break;
    }
    choice[picked++] = int32_t(best);
    last = best;
  }
  std::sort(choice, choice + picked);
  std::fill(choice + picked, choice + router.kept, -1);
}

/// What a tile of tokens leaves for the others, in the workspace.
struct Scratch {
  double *sums;      // experts + 1: probability of each expert, square of the log-sum-exp
  float *values;     // experts + 1
  float *preference; // experts + 1
  int32_t *counts;   // experts + 1: picks of each expert, then the tokens with a score that is NaN

  Scratch(void *workspace, const Router &router, int64_t tile) {
    int64_t width = router.experts + 1, tiles = (router.rows + tile_rows - 1) / tile_rows;
    sums = static_cast<double *>(workspace) + tile * width;
    values = reinterpret_cast<float *>(static_cast<double *>(workspace) + tiles * width) + 2 * tile * width;
    preference = values + width;
    counts = reinterpret_cast<int32_t *>(static_cast<double *>(workspace) + 2 * tiles * width) + tile * width;
  }
};

} // namespace

extern "C" {

int32_t mg_moe_route(const MgLaunch *launch) {
  const Router router(launch);
  int64_t experts = router.experts, kept = router.kept, tiles = (router.rows + tile_rows - 1) / tile_rows;
  float *weights = output(launch, 0);
  int32_t *choice = static_cast<int32_t *>(launch->operands[1]), *position = static_cast<int32_t *>(launch->operands[2]);
  int32_t *offsets = static_cast<int32_t *>(launch->operands[3]);
  const float *all_logits = input(launch, 6), *bias = input(launch, 7);
  void *workspace = launch->operands[8];

  parallelRanges(router.rows, tile_rows, [&](int64_t begin, int64_t end) {
    Scratch scratch(workspace, router, begin / tile_rows);
    std::fill(scratch.sums, scratch.sums + experts + 1, 0.0);
    std::fill(scratch.counts, scratch.counts + experts + 1, 0);
    for (int64_t t = begin; t < end; ++t) {
      const float *logits = all_logits + t * router.columns;
      Softmax softmax(router, logits, scratch.values);
      scratch.sums[experts] += softmax.log_sum * softmax.log_sum;
      double total = softmax.sum, share = softmax.share;
      bool broken = !router.sigmoid && std::isnan(softmax.log_sum);
      if (router.sigmoid) {
        writeSigmoids(router, logits, scratch.values);
        total = tiny, share = 1.0;
        for (int64_t e = 0; e < experts; ++e)
          total += scratch.values[e];
        for (int64_t e = 0; e < router.columns; ++e) {
          scratch.preference[e] = (e < experts ? scratch.values[e] : sigmoid(logits[e])) + bias[e];
          broken |= std::isnan(scratch.preference[e]);
        }
      } else { // the softmax keeps the order of the logits
        std::copy(logits, logits + router.columns, scratch.preference);
      }
      if (broken) {
        ++scratch.counts[experts];
        std::fill(choice + t * kept, choice + (t + 1) * kept, -1);
        std::fill(weights + t * kept, weights + (t + 1) * kept, 0.0f);
        continue;
      }
      for (int64_t e = 0; e < experts; ++e)
        scratch.sums[e] += scratch.values[e] / total;
      choose(router, scratch.preference, choice + t * kept);
      double chosen = 0;
      for (int64_t k = 0; k < kept; ++k)
        if (int32_t expert = choice[t * kept + k]; expert >= 0) {
          ++scratch.counts[expert];
          chosen += scratch.values[expert] * share;
        }
      double factor = router.slots > 1 ? router.scale / (chosen + tiny) : router.scale;
      for (int64_t k = 0; k < kept; ++k) {
        int32_t expert = choice[t * kept + k];
        weights[t * kept + k] = expert < 0 ? 0.0f : float(scratch.values[expert] * share * factor);
      }
    }
  });

  // Counts become the first row of each tile within its expert; losses are sums over tiles in order.
  int32_t row = 0;
  double balance = 0, square = 0;
  for (int64_t e = 0; e < experts; ++e) {
    offsets[e] = row;
    double probability = 0;
    for (int64_t tile = 0; tile < tiles; ++tile) {
      Scratch scratch(workspace, router, tile);
      int32_t count = scratch.counts[e];
      scratch.counts[e] = row;
      row += count;
      probability += scratch.sums[e];
    }
    balance += (row - offsets[e]) * probability;
  }
  offsets[experts] = row;
  int64_t broken = 0;
  for (int64_t tile = 0; tile < tiles; ++tile) {
    Scratch scratch(workspace, router, tile);
    broken += scratch.counts[experts];
    square += scratch.sums[experts];
  }
  // A token without a score picks nothing; the loss says so, and the step ends as one that is not finite.
  *output(launch, 4) = broken ? NAN : float(router.aux * experts * balance / std::max(row, 1) / router.rows);
  *output(launch, 5) = float(router.z * square / router.rows);

  parallelRanges(router.rows, tile_rows, [&](int64_t begin, int64_t end) {
    Scratch scratch(workspace, router, begin / tile_rows);
    for (int64_t pick = begin * kept; pick < end * kept; ++pick)
      position[pick] = choice[pick] < 0 ? -1 : scratch.counts[choice[pick]]++;
  });
  return 0;
}

int32_t mg_moe_route_grad(const MgLaunch *launch) {
  const Router router(launch);
  int64_t experts = router.experts, kept = router.kept;
  float *all_gradients = output(launch, 0);
  const float *d_weights = input(launch, 1), *all_logits = input(launch, 2);
  const int32_t *choice = integers(launch, 3), *offsets = integers(launch, 4);
  // Gradient of the auxiliary loss by the probability of an expert, for one pick of it.
  double aux = router.aux * experts / std::max(offsets[experts], 1) / router.rows;
  auto picks = [&](int64_t e) { return double(offsets[e + 1] - offsets[e]); };

  parallelRanges(router.rows, tile_rows, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      const float *logits = all_logits + t * router.columns, *d_weight = d_weights + t * kept;
      const int32_t *picked = choice + t * kept;
      float *d_logits = all_gradients + t * router.columns; // holds values of the row until they are used
      Softmax softmax(router, logits, d_logits);
      double push = 2 * router.z * softmax.log_sum / router.rows, share = router.sigmoid ? 1.0 : softmax.share;
      if (router.sigmoid)
        writeSigmoids(router, logits, d_logits);

      // d_score of a chosen expert = inverse * (d_weight - mean)
      double chosen = tiny, mean = 0, inverse = router.scale, flow = 0;
      if (router.slots > 1) {
        for (int64_t k = 0; k < kept; ++k)
          if (picked[k] >= 0) {
            chosen += d_logits[picked[k]] * share;
            mean += d_logits[picked[k]] * share * d_weight[k];
          }
        mean /= chosen;
        inverse /= chosen;
      }
      double total = router.sigmoid ? tiny : 0, shift = 0;
      for (int64_t e = 0; e < experts; ++e) {
        total += d_logits[e];
        shift += d_logits[e] * picks(e);
      }
      shift /= total;
      if (router.sigmoid) {
        for (int64_t k = 0, e = 0; e < experts; ++e) {
          double value = d_logits[e], d_value = aux * (picks(e) - shift) / total;
          if (k < kept && picked[k] == e)
            d_value += inverse * (d_weight[k++] - mean);
          d_logits[e] = float(d_value * value * (1 - value) + push * softmax.share * fastExp(logits[e] - softmax.top));
        }
      } else {
        for (int64_t k = 0; k < kept; ++k)
          if (picked[k] >= 0)
            flow += d_logits[picked[k]] * share * inverse * (d_weight[k] - mean);
        for (int64_t k = 0, e = 0; e < experts; ++e) {
          double d_score = push - flow;
          if (k < kept && picked[k] == e)
            d_score += inverse * (d_weight[k++] - mean);
          d_logits[e] = float(d_logits[e] * (share * d_score + aux * (picks(e) - shift) / total));
        }
      }
      if (router.nulls)
        d_logits[experts] = float(double(router.nulls) * softmax.null / softmax.pool_sum * (push - flow));
    }
  });
  return 0;
}

int32_t mg_moe_count_picks(const MgLaunch *launch) {
  int64_t experts = launch->ints[0];
  bool add = addsToOutput(launch, launch->ints[1]);
  float *picks = output(launch, 0);
  const int32_t *offsets = integers(launch, 1);
  for (int64_t e = 0; e < experts; ++e)
    picks[e] = (add ? picks[e] : 0.0f) + float(offsets[e + 1] - offsets[e]);
  return 0;
}

int32_t mg_moe_bias_update(const MgLaunch *launch) {
  int64_t experts = launch->ints[0];
  float *bias = output(launch, 0), rate = float(launch->doubles[0]);
  const float *picks = input(launch, 1);
  if (!std::isfinite(*input(launch, 2)))
    return 0;
  double sum = 0;
  for (int64_t e = 0; e < experts; ++e)
    sum += picks[e];
  for (int64_t e = 0; e < experts; ++e) {
    double lack = sum - double(experts) * picks[e]; // exact, so equal counts move nothing
    bias[e] += lack > 0 ? rate : lack < 0 ? -rate : 0.0f;
  }
  return 0;
}
}
