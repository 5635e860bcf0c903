// Routing of tokens to experts, conventions section 7: scores, the best slots, weights, rows sorted by expert, auxiliary losses, and what
// the picks of a step do to the bias of a sigmoid router.
#include "runtime/core/FastMath.h"
#include "runtime/core/Launch.h"
#include "runtime/core/Scratch.h"
#include "runtime/core/ThreadPool.h"

#include <algorithm>
#include <cmath>

using namespace megacc::runtime;

namespace {

constexpr int64_t tile_rows = 64;
constexpr double tiny = 1e-20; // of every normalisation (conventions 7.3 and 7.6)

/// What the softmax of a row needs to know.
struct Pool {
  int64_t experts, nulls, columns;
  Pool(int64_t experts, int64_t nulls) : experts(experts), nulls(nulls), columns(experts + (nulls > 0)) {}
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
  Softmax(const Pool &pool, const float *logits, float *values) : top(logits[0]), sum(0), null(0) {
    for (int64_t e = 1; e < pool.experts; ++e)
      top = std::max(top, logits[e]);
    for (int64_t e = 0; e < pool.experts; ++e)
      values[e] = fastExp(logits[e] - top);
    for (int64_t e = 0; e < pool.experts; ++e)
      sum += values[e];
    float pool_top = pool.nulls ? std::max(top, logits[pool.experts]) : top;
    share = fastExp(top - pool_top);
    if (pool.nulls)
      null = fastExp(logits[pool.experts] - pool_top);
    pool_sum = sum * share + double(pool.nulls) * null;
    share /= pool_sum;
    log_sum = pool_top + std::log(pool_sum);
  }
};

void writeSigmoids(const Pool &pool, const float *logits, float *values) {
  for (int64_t e = 0; e < pool.experts; ++e)
    values[e] = sigmoid(logits[e]);
}

/// Writes the experts among the `slots` best of the pool, ascending, then -1. Of equal preferences the lower index wins, so an expert
/// wins against the null copies, which come last.
void choose(const Pool &pool, int64_t slots, int64_t kept, const float *preference, int32_t *choice) {
  int64_t left = slots, nulls_left = pool.nulls, picked = 0;
  for (int64_t last = -1; left > 0 && picked < kept; --left) {
    int64_t best = -1;
    for (int64_t e = 0; e < pool.experts; ++e) {
      bool open = last < 0 || preference[e] < preference[last] || (preference[e] == preference[last] && e > last);
      if (open && (best < 0 || preference[e] > preference[best]))
        best = e;
    }
    if (nulls_left && preference[pool.experts] > preference[best]) {
      left -= std::min(left, nulls_left);
      nulls_left = 0;
      if (left == 0)
        break;
    }
    choice[picked++] = int32_t(best);
    last = best;
  }
  std::sort(choice, choice + picked);
  std::fill(choice + picked, choice + kept, -1);
}

} // namespace

extern "C" {

int32_t mg_moe_route(const MgLaunch *launch) {
  MG_ENTER(mg_moe_route);
  const Pool pool(launch->ints[number::experts], launch->ints[number::nulls]);
  int64_t rows = launch->ints[number::rows], experts = pool.experts, slots = launch->ints[number::slots], kept = launch->ints[number::kept];
  int64_t tiles = (rows + tile_rows - 1) / tile_rows;
  bool sigmoids = launch->ints[number::sigmoid];
  double scale = launch->doubles[real::scale];
  float *weights = output(launch, at::weights);
  int32_t *choice = static_cast<int32_t *>(launch->operands[at::choice]);
  int32_t *position = static_cast<int32_t *>(launch->operands[at::position]);
  int32_t *offsets = static_cast<int32_t *>(launch->operands[at::offsets]);
  const float *all_logits = input(launch, at::logits), *bias = input(launch, at::bias);
  // Scratch of every tile of tokens: scores, preferences, and picks of each expert.
  Scratch scratch(launch, at::scratch);
  float *all_values = scratch.take<float>(tiles * experts), *all_preferences = scratch.take<float>(tiles * pool.columns);
  int32_t *all_counts = scratch.take<int32_t>(tiles * experts);
  if (int32_t status = scratch.check("mg_moe_route"))
    return status;

  parallelRanges(rows, tile_rows, [&](int64_t begin, int64_t end) {
    int64_t tile = begin / tile_rows;
    float *values = all_values + tile * experts, *preference = all_preferences + tile * pool.columns;
    int32_t *counts = all_counts + tile * experts;
    std::fill(counts, counts + experts, 0);
    for (int64_t t = begin; t < end; ++t) {
      const float *logits = all_logits + t * pool.columns;
      double share = 1.0;
      bool broken = false;
      if (sigmoids) {
        writeSigmoids(pool, logits, values);
        for (int64_t e = 0; e < pool.columns; ++e) {
          preference[e] = (e < experts ? values[e] : sigmoid(logits[e])) + bias[e];
          broken |= std::isnan(preference[e]);
        }
      } else { // the softmax keeps the order of the logits
        Softmax softmax(pool, logits, values);
        share = softmax.share;
        broken = std::isnan(softmax.log_sum);
        std::copy(logits, logits + pool.columns, preference);
      }
      if (broken) { // a token without a score picks nothing; the statistics say so
        std::fill(choice + t * kept, choice + (t + 1) * kept, -1);
        std::fill(weights + t * kept, weights + (t + 1) * kept, 0.0f);
        continue;
      }
      choose(pool, slots, kept, preference, choice + t * kept);
      double chosen = 0;
      for (int64_t k = 0; k < kept; ++k)
        if (int32_t expert = choice[t * kept + k]; expert >= 0) {
          ++counts[expert];
          chosen += values[expert] * share;
        }
      double factor = slots > 1 ? scale / (chosen + tiny) : scale;
      for (int64_t k = 0; k < kept; ++k) {
        int32_t expert = choice[t * kept + k];
        weights[t * kept + k] = expert < 0 ? 0.0f : float(values[expert] * share * factor);
      }
    }
  });

  // Counts become the first row of each tile within its expert.
  int32_t row = 0;
  for (int64_t e = 0; e < experts; ++e) {
    offsets[e] = row;
    for (int64_t tile = 0; tile < tiles; ++tile) {
      int32_t count = all_counts[tile * experts + e];
      all_counts[tile * experts + e] = row;
      row += count;
    }
  }
  offsets[experts] = row;

  parallelRanges(rows, tile_rows, [&](int64_t begin, int64_t end) {
    int32_t *next = all_counts + begin / tile_rows * experts;
    for (int64_t pick = begin * kept; pick < end * kept; ++pick)
      position[pick] = choice[pick] < 0 ? -1 : next[choice[pick]]++;
  });
  return 0;
}

int32_t mg_moe_statistics(const MgLaunch *launch) {
  MG_ENTER(mg_moe_statistics);
  const Pool pool(launch->ints[number::experts], launch->ints[number::nulls]);
  int64_t rows = launch->ints[number::rows], experts = pool.experts, tiles = (rows + tile_rows - 1) / tile_rows;
  bool sigmoids = launch->ints[number::sigmoid];
  const float *all_logits = input(launch, at::logits);
  const int32_t *offsets = integers(launch, at::offsets);
  // Scratch of every tile of tokens: sums of each expert's probability and of the square, and scores.
  Scratch scratch(launch, at::scratch);
  double *all_sums = scratch.take<double>(tiles * (experts + 1));
  float *all_values = scratch.take<float>(tiles * experts);
  if (int32_t status = scratch.check("mg_moe_statistics"))
    return status;

  parallelRanges(rows, tile_rows, [&](int64_t begin, int64_t end) {
    double *sums = all_sums + begin / tile_rows * (experts + 1);
    float *values = all_values + begin / tile_rows * experts;
    std::fill(sums, sums + experts + 1, 0.0);
    for (int64_t t = begin; t < end; ++t) {
      const float *logits = all_logits + t * pool.columns;
      Softmax softmax(pool, logits, values);
      sums[experts] += softmax.log_sum * softmax.log_sum;
      double total = softmax.sum;
      bool broken = std::isnan(softmax.log_sum);
      if (sigmoids) {
        writeSigmoids(pool, logits, values);
        total = tiny, broken = pool.nulls && std::isnan(logits[experts]);
        for (int64_t e = 0; e < experts; ++e)
          total += values[e];
      }
      if (broken) // a token without a score: the loss must not be finite
        total = NAN;
      for (int64_t e = 0; e < experts; ++e)
        sums[e] += values[e] / total;
    }
  });

  double *statistics = static_cast<double *>(launch->operands[at::statistics]);
  for (int64_t e = 0; e < experts; ++e)
    statistics[e] = offsets[e + 1] - offsets[e];
  for (int64_t e = 0; e <= experts; ++e) {
    double sum = 0;
    for (int64_t tile = 0; tile < tiles; ++tile)
      sum += all_sums[tile * (experts + 1) + e];
    statistics[experts + e] = sum;
  }
  return 0;
}

int32_t mg_moe_losses(const MgLaunch *launch) {
  MG_ENTER(mg_moe_losses);
  int64_t experts = launch->ints[number::experts];
  double tokens = double(launch->ints[number::tokens]);
  const double *picks = static_cast<const double *>(launch->operands[at::statistics]), *probability = picks + experts;
  double balance = 0, all_picks = 0;
  for (int64_t e = 0; e < experts; ++e) {
    balance += picks[e] * probability[e];
    all_picks += picks[e];
  }
  *output(launch, at::aux_loss) = float(launch->doubles[real::aux] * experts * balance / std::max(all_picks, 1.0) / tokens);
  *output(launch, at::z_loss) = float(launch->doubles[real::z] * probability[experts] / tokens);
  return 0;
}

int32_t mg_moe_route_grad(const MgLaunch *launch) {
  MG_ENTER(mg_moe_route_grad);
  const Pool pool(launch->ints[number::experts], launch->ints[number::nulls]);
  int64_t rows = launch->ints[number::rows], experts = pool.experts, slots = launch->ints[number::slots], kept = launch->ints[number::kept];
  bool sigmoids = launch->ints[number::sigmoid];
  double scale = launch->doubles[real::scale], z = launch->doubles[real::z], tokens = double(launch->ints[number::tokens]);
  float *all_gradients = output(launch, at::d_logits);
  const float *d_weights = input(launch, at::d_weights), *all_logits = input(launch, at::logits);
  const int32_t *choice = integers(launch, at::choice);
  const double *picks = static_cast<const double *>(launch->operands[at::statistics]);
  double all_picks = 0;
  for (int64_t e = 0; e < experts; ++e)
    all_picks += picks[e];
  // Gradient of the auxiliary loss by the probability of an expert, for one pick of it.
  double aux = launch->doubles[real::aux] * experts / std::max(all_picks, 1.0) / tokens;

  parallelRanges(rows, tile_rows, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      const float *logits = all_logits + t * pool.columns, *d_weight = d_weights + t * kept;
      const int32_t *picked = choice + t * kept;
      float *d_logits = all_gradients + t * pool.columns; // holds values of the row until they are used
      Softmax softmax(pool, logits, d_logits);
      double push = 2 * z * softmax.log_sum / tokens, share = sigmoids ? 1.0 : softmax.share;
      if (sigmoids)
        writeSigmoids(pool, logits, d_logits);

      // d_score of a chosen expert = inverse * (d_weight - mean)
      double chosen = tiny, mean = 0, inverse = scale, flow = 0;
      if (slots > 1) {
        for (int64_t k = 0; k < kept; ++k)
          if (picked[k] >= 0) {
            chosen += d_logits[picked[k]] * share;
            mean += d_logits[picked[k]] * share * d_weight[k];
          }
        mean /= chosen;
        inverse /= chosen;
      }
      double total = sigmoids ? tiny : 0, shift = 0;
      for (int64_t e = 0; e < experts; ++e) {
        total += d_logits[e];
        shift += d_logits[e] * picks[e];
      }
      shift /= total;
      if (sigmoids) {
        for (int64_t k = 0, e = 0; e < experts; ++e) {
          double value = d_logits[e], d_value = aux * (picks[e] - shift) / total;
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
          d_logits[e] = float(d_logits[e] * (share * d_score + aux * (picks[e] - shift) / total));
        }
      }
      if (pool.nulls)
        d_logits[experts] = float(double(pool.nulls) * softmax.null / softmax.pool_sum * (push - flow));
    }
  });
  return 0;
}

int32_t mg_moe_count_picks(const MgLaunch *launch) {
  MG_ENTER(mg_moe_count_picks);
  int64_t experts = launch->ints[number::experts];
  bool add = addsToOutput(launch, launch->ints[number::accumulate]);
  float *picks = output(launch, at::picks);
  const int32_t *offsets = integers(launch, at::offsets);
  for (int64_t e = 0; e < experts; ++e)
    picks[e] = (add ? picks[e] : 0.0f) + float(offsets[e + 1] - offsets[e]);
  return 0;
}

int32_t mg_moe_bias_update(const MgLaunch *launch) {
  MG_ENTER(mg_moe_bias_update);
  int64_t experts = launch->ints[number::experts];
  float *bias = output(launch, at::bias), rate = float(launch->doubles[real::rate]);
  const float *picks = input(launch, at::picks);
  if (!std::isfinite(*input(launch, at::norm)))
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
