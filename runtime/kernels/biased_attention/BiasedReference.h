// Causal attention whose scores get a bias by the relations between chunks, and its gradients, in float64.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

namespace megacc::test {

struct BiasedCase {
  int64_t batch, sequence, heads, kv_heads, qk_dim, v_dim, relations, chunks;
  bool packed; // rows of several documents

  int64_t tokens() const { return batch * sequence; }
  /// Ids come back later in a row: only runs of equal ids belong together.
  std::vector<double> documents() const {
    std::vector<double> ids(packed ? tokens() : 0);
    for (size_t i = 0; i < ids.size(); ++i)
      ids[i] = double(int64_t(i) % sequence * 3 / sequence % 2);
    return ids;
  }
  /// In runs and not in order; -1 and `chunks` are none.
  std::vector<double> chunk() const {
    std::vector<double> ids(tokens());
    for (int64_t i = 0; i < tokens(); ++i)
      ids[i] = double((i * 5 / 7 + i / sequence) % (chunks + 2) - 1);
    return ids;
  }
  /// Bits from `relations` on are nobody's.
  std::vector<double> bits() const {
    std::vector<double> values(batch * chunks * chunks);
    for (size_t i = 0; i < values.size(); ++i)
      values[i] = double((uint32_t(i) * 2654435761u + 12345u) >> (31 - std::min<int64_t>(relations, 29)) & 0x3fffffff);
    return values;
  }
};

struct BiasedResults {
  std::vector<double> y, lse, d_q, d_k, d_v, d_weight;
};

template <typename Numbers>
BiasedResults computeBiased(const BiasedCase &c, double scale, const Numbers &q, const Numbers &k, const Numbers &v, const Numbers &weight,
                            const Numbers &d_y) {
  std::vector<double> documents = c.documents(), chunk = c.chunk(), bits = c.bits();
  BiasedResults e;
  e.y.resize(c.tokens() * c.heads * c.v_dim), e.lse.resize(c.tokens() * c.heads), e.d_q.resize(q.size()), e.d_k.resize(k.size());
  e.d_v.resize(v.size()), e.d_weight.resize(weight.size());
  auto held = [&](int64_t b, int64_t t, int64_t s, int64_t r) {
    int64_t i = int64_t(chunk[b * c.sequence + t]), j = int64_t(chunk[b * c.sequence + s]);
    return i >= 0 && i < c.chunks && j >= 0 && j < c.chunks && (int64_t(bits[(b * c.chunks + i) * c.chunks + j]) >> r & 1);
  };
  for (int64_t b = 0; b < c.batch; ++b)
    for (int64_t h = 0; h < c.heads; ++h)
      for (int64_t t = 0; t < c.sequence; ++t) {
        int64_t query = (b * c.sequence + t) * c.heads + h, kv = h / (c.heads / c.kv_heads), first = t;
        while (first > 0 && (!c.packed || documents[b * c.sequence + first - 1] == documents[b * c.sequence + t]))
          --first;
        std::vector<double> p(c.sequence), d_p(c.sequence);
        double sum = 0, delta = 0;
        for (int64_t s = first; s <= t; ++s) {
          int64_t key = (b * c.sequence + s) * c.kv_heads + kv;
          double score = 0;
          for (int64_t i = 0; i < c.qk_dim; ++i)
            score += double(q[query * c.qk_dim + i]) * double(k[key * c.qk_dim + i]);
          score *= scale;
          for (int64_t r = 0; r < c.relations; ++r)
            score += held(b, t, s, r) ? double(weight[h * c.relations + r]) : 0.0;
          sum += p[s] = std::exp(score);
          for (int64_t i = 0; i < c.v_dim; ++i)
            d_p[s] += double(d_y[query * c.v_dim + i]) * double(v[key * c.v_dim + i]);
        }
        e.lse[(b * c.heads + h) * c.sequence + t] = std::log(sum);
        for (int64_t s = first; s <= t; ++s)
          delta += (p[s] /= sum) * d_p[s];
        for (int64_t s = first; s <= t; ++s) {
          int64_t key = (b * c.sequence + s) * c.kv_heads + kv;
          double d_score = p[s] * (d_p[s] - delta);
          for (int64_t r = 0; r < c.relations; ++r)
            e.d_weight[h * c.relations + r] += held(b, t, s, r) ? d_score : 0.0;
          for (int64_t i = 0; i < c.qk_dim; ++i) {
            e.d_q[query * c.qk_dim + i] += d_score * scale * double(k[key * c.qk_dim + i]);
            e.d_k[key * c.qk_dim + i] += d_score * scale * double(q[query * c.qk_dim + i]);
          }
          for (int64_t i = 0; i < c.v_dim; ++i) {
            e.y[query * c.v_dim + i] += p[s] * double(v[key * c.v_dim + i]);
            e.d_v[key * c.v_dim + i] += p[s] * double(d_y[query * c.v_dim + i]);
          }
        }
      }
  return e;
}

} // namespace megacc::test
