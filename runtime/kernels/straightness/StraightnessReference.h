// Straightness in float64.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

namespace megacc::test {

struct StraightnessProblem {
  int64_t batch, sequence, cols, layers;
  double weight;
  std::vector<int32_t> spans, documents;

  bool isCounted(int64_t b, const int32_t *span) const {
    if (span[0] < 0)
      return false;
    for (int64_t t = span[0]; t < span[2] && !documents.empty(); ++t)
      if (documents[b * sequence + t] != documents[b * sequence + t + 1])
        return false;
    return true;
  }

  double count() const {
    double count = 0;
    for (int64_t b = 0; b < batch; ++b)
      for (size_t j = 0; j < spans.size(); j += 3)
        count += isCounted(b, &spans[j]);
    return count;
  }

  std::vector<double> loss(const std::vector<double> &x) const {
    double sum = 0;
    for (int64_t b = 0; b < batch; ++b)
      for (size_t j = 0; j < spans.size(); j += 3) {
        if (!isCounted(b, &spans[j]))
          continue;
        double aa = 0, bb = 0, ab = 0;
        for (int64_t i = 0; i < cols; ++i) {
          auto h = [&](int place) { return x[(b * sequence + spans[j + place]) * cols + i]; };
          aa += (h(1) - h(0)) * (h(1) - h(0)), bb += (h(2) - h(1)) * (h(2) - h(1)), ab += (h(1) - h(0)) * (h(2) - h(1));
        }
        sum += 1 - (aa * bb > 1e-8 ? ab / std::sqrt(aa * bb) : 0);
      }
    return {weight * sum / std::max(1.0, layers * count())};
  }
};

} // namespace megacc::test
