// What the router's kernels compute, in float64: for the tests of every target.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

namespace megacc::test {

struct RouteCase {
  int64_t rows, experts, slots, nulls;
  bool sigmoid;
  double scale, aux, z;
};

struct RouteReference {
  using Doubles = std::vector<double>;
  RouteCase c;
  int64_t columns, kept;

  explicit RouteReference(const RouteCase &c) : c(c), columns(c.experts + (c.nulls > 0)), kept(std::min(c.slots, c.experts)) {}

  /// Logits of all slots of the pool, null copies last.
  Doubles pool(const Doubles &x, int64_t t) const {
    Doubles values(x.begin() + t * columns, x.begin() + t * columns + c.experts);
    values.resize(c.experts + c.nulls, c.nulls ? x[t * columns + c.experts] : 0.0);
    return values;
  }

  static Doubles softmax(const Doubles &x) {
    double top = *std::max_element(x.begin(), x.end()), sum = 0;
    Doubles y;
    for (double value : x)
      y.push_back(std::exp(value - top)), sum += y.back();
    for (double &value : y)
      value /= sum;
    return y;
  }

  static Doubles sigmoids(Doubles x) {
    for (double &value : x)
      value = 1 / (1 + std::exp(-value));
    return x;
  }

  Doubles scores(const Doubles &x, int64_t t) const { return c.sigmoid ? sigmoids(pool(x, t)) : softmax(pool(x, t)); }

  /// Experts that each token picks, ascending.
  std::vector<std::vector<int32_t>> choose(const Doubles &logits, const Doubles &bias) const {
    std::vector<std::vector<int32_t>> result;
    for (int64_t t = 0; t < c.rows; ++t) {
      Doubles preference = scores(logits, t);
      std::vector<int32_t> order;
      for (size_t slot = 0; slot < preference.size(); ++slot) {
        preference[slot] += c.sigmoid ? bias[std::min<int64_t>(slot, c.experts)] : 0;
        order.push_back(int32_t(slot));
      }
      auto isBetter = [&](int32_t a, int32_t b) { return preference[a] != preference[b] ? preference[a] > preference[b] : a < b; };
      std::sort(order.begin(), order.end(), isBetter);
      order.resize(std::min<int64_t>(c.slots, order.size()));
      std::erase_if(order, [&](int32_t slot) { return slot >= c.experts; });
      std::sort(order.begin(), order.end());
      result.push_back(order);
    }
    return result;
  }

  /// Weights, auxiliary loss and z loss for fixed picks.
  Doubles reference(const Doubles &x, const std::vector<std::vector<int32_t>> &picks) const {
    Doubles result(c.rows * kept + 2), probability(c.experts), count(c.experts);
    double total = 0;
    for (int64_t t = 0; t < c.rows; ++t) {
      Doubles all = pool(x, t), score = scores(x, t), real(all.begin(), all.begin() + c.experts);
      double sum = 1e-20, log_sum = 0, whole = 0;
      for (int32_t e : picks[t])
        sum += score[e], ++count[e], ++total;
      for (size_t k = 0; k < picks[t].size(); ++k)
        result[t * kept + k] = c.scale * score[picks[t][k]] / (c.slots > 1 ? sum : 1);
      real = c.sigmoid ? sigmoids(real) : softmax(real);
      for (double value : real)
        whole += value;
      for (int64_t e = 0; e < c.experts; ++e)
        probability[e] += real[e] / whole / c.rows;
      for (double value : all)
        log_sum += std::exp(value);
      result.back() += c.z * std::pow(std::log(log_sum), 2) / c.rows;
    }
    for (int64_t e = 0; e < c.experts; ++e)
      result[c.rows * kept] += c.aux * c.experts * count[e] / std::max(total, 1.0) * probability[e];
    return result;
  }
};

} // namespace megacc::test
