// Picked keys, attention to them and the KL term in float64, for the tests of every target.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numeric>
#include <vector>

namespace megacc::test {

struct SparseCase {
  int64_t batch, sequence, heads, qk_dim, v_dim, index_heads, index_dim, kept;
  bool documents;

  int64_t rows() const { return batch * sequence; }
  double scale() const { return 1 / std::sqrt(double(qk_dim)); }
  double indexScale() const { return 1 / std::sqrt(double(index_heads * index_dim)); }

  /// Five runs of equal ids in a row; empty without documents.
  std::vector<int32_t> makeDocuments() const {
    std::vector<int32_t> ids(documents ? rows() : 0);
    for (int64_t t = 0; t < int64_t(ids.size()); ++t)
      ids[t] = int32_t(t % sequence * 5 / sequence % 2);
    return ids;
  }
};

/// Scores of key s for query t, both in all rows.
inline double indexScore(const SparseCase &c, const std::vector<double> &q, const std::vector<double> &k,
                         const std::vector<double> &weights, int64_t t, int64_t s) {
  double score = 0;
  for (int64_t h = 0; h < c.index_heads; ++h) {
    double product = 0;
    for (int64_t i = 0; i < c.index_dim; ++i)
      product += q[(t * c.index_heads + h) * c.index_dim + i] * k[s * c.index_dim + i];
    score += weights[t * c.index_heads + h] * std::max(product, 0.0);
  }
  return score * c.indexScale();
}

/// The best legal keys of every query, ascending, then -1: all legal keys, sorted.
inline std::vector<int32_t> selectReference(const SparseCase &c, const std::vector<double> &q, const std::vector<double> &k,
                                            const std::vector<double> &weights, const std::vector<int32_t> &documents) {
  std::vector<int32_t> support(c.rows() * c.kept, -1);
  for (int64_t t = 0; t < c.rows(); ++t) {
    int64_t row = t / c.sequence * c.sequence;
    std::vector<int32_t> keys;
    std::vector<double> scores(c.sequence);
    for (int64_t s = t; s >= row && (documents.empty() || documents[s] == documents[t]); --s) {
      keys.insert(keys.begin(), int32_t(s - row));
      scores[s - row] = indexScore(c, q, k, weights, t, s);
    }
    std::stable_sort(keys.begin(), keys.end(), [&](int32_t a, int32_t b) { return scores[a] > scores[b]; });
    keys.resize(std::min<size_t>(keys.size(), c.kept));
    std::sort(keys.begin(), keys.end());
    std::copy(keys.begin(), keys.end(), support.begin() + t * c.kept);
  }
  return support;
}

/// Probabilities of head h of query t over its support.
inline std::vector<double> attendReference(const SparseCase &c, const double *q, const double *k, const int32_t *keys, int64_t t,
                                           int64_t h) {
  std::vector<double> p;
  int64_t row = t / c.sequence * c.sequence;
  for (int64_t j = 0; j < c.kept && keys[j] >= 0; ++j) {
    double product = 0;
    for (int64_t i = 0; i < c.qk_dim; ++i)
      product += q[(t * c.heads + h) * c.qk_dim + i] * k[((row + keys[j]) * c.heads + h) * c.qk_dim + i];
    p.push_back(std::exp(product * c.scale()));
  }
  double sum = std::accumulate(p.begin(), p.end(), 0.0);
  for (double &value : p)
    value /= sum;
  return p;
}

/// y of packed [q, k, v].
inline std::vector<double> sparseReference(const SparseCase &c, const std::vector<double> &qkv, const std::vector<int32_t> &support) {
  const double *q = qkv.data(), *k = q + c.rows() * c.heads * c.qk_dim, *v = k + c.rows() * c.heads * c.qk_dim;
  std::vector<double> y(c.rows() * c.heads * c.v_dim);
  for (int64_t t = 0; t < c.rows(); ++t)
    for (int64_t h = 0; h < c.heads; ++h) {
      const int32_t *keys = support.data() + t * c.kept;
      std::vector<double> p = attendReference(c, q, k, keys, t, h);
      for (size_t j = 0; j < p.size(); ++j)
        for (int64_t i = 0; i < c.v_dim; ++i)
          y[(t * c.heads + h) * c.v_dim + i] += p[j] * v[((t / c.sequence * c.sequence + keys[j]) * c.heads + h) * c.v_dim + i];
    }
  return y;
}

/// The mean over queries of KL(target || prediction), of packed [index_q, index_k, index_weights]; prediction - target where asked for.
inline double klReference(const SparseCase &c, const std::vector<double> &q, const std::vector<double> &k,
                          const std::vector<double> &indexer, const std::vector<int32_t> &support,
                          std::vector<double> *difference = nullptr) {
  auto index_k = indexer.begin() + c.rows() * c.index_heads * c.index_dim, weights = index_k + c.rows() * c.index_dim;
  std::vector<double> iq(indexer.begin(), index_k), ik(index_k, weights), iw(weights, indexer.end());
  double total = 0;
  if (difference)
    difference->assign(support.size(), 0.0);
  for (int64_t t = 0; t < c.rows(); ++t) {
    const int32_t *keys = support.data() + t * c.kept;
    std::vector<double> target(c.kept), scores;
    for (int64_t h = 0; h < c.heads; ++h) {
      std::vector<double> p = attendReference(c, q.data(), k.data(), keys, t, h);
      for (size_t j = 0; j < p.size(); ++j)
        target[j] += p[j] / double(c.heads);
    }
    double sum = 0;
    for (int64_t j = 0; j < c.kept && keys[j] >= 0; ++j)
      sum += std::exp(scores.emplace_back(indexScore(c, iq, ik, iw, t, t / c.sequence * c.sequence + keys[j])));
    for (size_t j = 0; j < scores.size(); ++j) {
      total += target[j] * (std::log(target[j]) - (scores[j] - std::log(sum)));
      if (difference)
        (*difference)[t * c.kept + j] = std::exp(scores[j]) / sum - target[j];
    }
  }
  return total / double(c.rows());
}

} // namespace megacc::test
