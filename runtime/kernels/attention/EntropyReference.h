// Mean entropy of attention in float64.
#pragma once
#include <cmath>
#include <cstdint>
#include <vector>

namespace megacc::test {

struct EntropyProblem {
  int64_t batch, sequence, heads, kv_heads, dim, kept; // kept: 0 without supports
  std::vector<int32_t> documents, support;
  double scale = 0.3;

  double share() const { return 1.0 / double(batch * sequence * heads); }

  bool isLegal(int64_t b, int64_t t, int64_t key) const {
    if (kept)
      for (int64_t j = 0; j < kept; ++j)
        if (support[(b * sequence + t) * kept + j] == key)
          return true;
    if (kept || key > t)
      return false;
    for (int64_t s = key; s < t && !documents.empty(); ++s)
      if (documents[b * sequence + s] != documents[b * sequence + s + 1])
        return false;
    return true;
  }

  template <typename Number> double entropy(const std::vector<Number> &q, const std::vector<Number> &k) const {
    double sum = 0;
    for (int64_t b = 0; b < batch; ++b)
      for (int64_t h = 0; h < heads; ++h)
        for (int64_t t = 0; t < sequence; ++t) {
          std::vector<double> weights;
          double total = 0;
          for (int64_t key = 0; key < sequence; ++key) {
            if (!isLegal(b, t, key))
              continue;
            double score = 0;
            for (int64_t c = 0; c < dim; ++c)
              score += double(q[((b * sequence + t) * heads + h) * dim + c]) *
                       double(k[((b * sequence + key) * kv_heads + h / (heads / kv_heads)) * dim + c]);
            weights.push_back(std::exp(scale * score));
            total += weights.back();
          }
          for (double weight : weights)
            sum -= weight > 0 ? weight / total * std::log(weight / total) : 0;
        }
    return share() * sum;
  }
};

/// One token, documents, grouped heads, more than a tile, picked keys.
inline std::vector<EntropyProblem> entropyProblems() {
  std::vector<int32_t> support;
  for (int32_t row = 0; row < 2 * 9; ++row) {
    int32_t t = row % 9;
    for (int32_t j = 0; j < 3; ++j)
      support.push_back(t == 0 ? (j ? -1 : 0) : t == 1 ? (j < 2 ? j : -1) : t - 2 + j);
  }
  return {{1, 1, 1, 1, 3, 0, {}, {}},
          {2, 5, 2, 2, 4, 0, {}, {}},
          {2, 9, 4, 2, 5, 0, {1, 1, 1, 2, 3, 3, 3, 3, 3, 3, 3, 1, 1, 1, 1, 1, 1, 2}, {}},
          {1, 150, 2, 1, 8, 0, {}, {}},
          {2, 9, 2, 2, 4, 3, {}, support}};
}

} // namespace megacc::test
