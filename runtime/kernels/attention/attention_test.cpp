#include "runtime/kernels/TestSupport.h"

using namespace megacc::test;

namespace {

struct Case {
  int64_t batch, sequence, heads, kv_heads, qk_dim, v_dim;
  bool documents;
};

class Attention : public testing::TestWithParam<Case> {};

// Plain softmax attention in float64 over packed [q, k, v].
Doubles reference(const Case &c, double scale, const std::vector<int32_t> &documents, const Doubles &qkv) {
  int64_t S = c.sequence, T = c.batch * S;
  const double *q = qkv.data(), *k = q + T * c.heads * c.qk_dim, *v = k + T * c.kv_heads * c.qk_dim;
  Doubles y(T * c.heads * c.v_dim);
  for (int64_t b = 0; b < c.batch; ++b)
    for (int64_t h = 0; h < c.heads; ++h)
      for (int64_t t = 0; t < S; ++t) {
        int64_t kv = h / (c.heads / c.kv_heads), first = t;
        while (first > 0 && (!c.documents || documents[b * S + first - 1] == documents[b * S + t]))
          --first;
        Doubles p(S);
        double sum = 0;
        for (int64_t s = first; s <= t; ++s) {
          double dot = 0;
          for (int64_t i = 0; i < c.qk_dim; ++i)
            dot += q[((b * S + t) * c.heads + h) * c.qk_dim + i] * k[((b * S + s) * c.kv_heads + kv) * c.qk_dim + i];
          sum += p[s] = std::exp(dot * scale);
        }
        for (int64_t s = first; s <= t; ++s)
          for (int64_t i = 0; i < c.v_dim; ++i)
            y[((b * S + t) * c.heads + h) * c.v_dim + i] += p[s] / sum * v[((b * S + s) * c.kv_heads + kv) * c.v_dim + i];
      }
  return y;
}

/// Both kernels on packed [q, k, v]; `cached`: lse is kept for the backward.
struct Attend {
  Case c;
  int64_t T = c.batch * c.sequence, nq = T * c.heads * c.qk_dim, nk = T * c.kv_heads * c.qk_dim, nv = T * c.kv_heads * c.v_dim;
  double scale = 1 / std::sqrt(double(c.qk_dim));
  std::vector<int32_t> documents = std::vector<int32_t>(T);
  Values qkv = randomValues(nq + nk + nv, 1), y = Values(T * c.heads * c.v_dim, NAN), d_y = randomValues(y.size(), 2);
  Values lse = Values(T * c.heads, NAN), gradient = Values(qkv.size(), NAN);

  explicit Attend(const Case &c) : c(c) {
    for (int64_t t = 0; t < T; ++t)
      documents[t] = t % c.sequence * 3 / c.sequence % 2;
  }

  std::vector<Operand> inputs(bool cached) const {
    return {{"q", qkv.data(), nq},
            {"k", qkv.data() + nq, nk},
            {"v", qkv.data() + nq + nk, nv},
            c.documents ? Operand("documents", documents) : Operand("documents", nullptr),
            cached ? Operand("lse", lse) : Operand("lse", nullptr)};
  }
  Ints ints() const {
    return {{"batch", c.batch},   {"sequence", c.sequence}, {"heads", c.heads}, {"kv_heads", c.kv_heads},
            {"qk_dim", c.qk_dim}, {"v_dim", c.v_dim},       {"shared_dim", 0}};
  }

  void runForward(bool cached = true) {
    std::vector<Operand> operands = inputs(cached);
    operands.push_back({"y", y});
    ASSERT_EQ(call("mg_attention", operands, ints(), {{"scale", scale}}), 0);
  }
  void runBackward(bool cached = true) {
    float *d = gradient.data();
    std::vector<Operand> operands = inputs(cached);
    operands.insert(operands.end(), {{"d_q", d, nq}, {"d_k", d + nq, nk}, {"d_v", d + nq + nk, nv}, {"d_y", d_y}, {"y", y}});
    ASSERT_EQ(call("mg_attention_grad", operands, ints(), {{"scale", scale}}), 0);
  }
};

} // namespace

TEST_P(Attention, SameBitsWithoutTheCache) {
  Attend kept(GetParam()), computed(GetParam());
  kept.runForward(), kept.runBackward();
  computed.runForward(/*cached=*/false), computed.runBackward(/*cached=*/false);
  EXPECT_EQ(kept.y, computed.y);
  EXPECT_EQ(kept.gradient, computed.gradient);
}

TEST_P(Attention, MatchesTheReferenceForwardAndBackward) {
  const Case c = GetParam();
  Attend attend(c);
  attend.runForward();
  auto f = [&](const Doubles &x) { return reference(c, attend.scale, attend.documents, x); };
  EXPECT_LT(relativeError(attend.y, f(widen(attend.qkv))), 2e-6);
  attend.runBackward();
  if (c.sequence <= 12)
    EXPECT_LT(relativeError(attend.gradient, numericGradient(f, widen(attend.qkv), attend.d_y)), 1e-5);
  // The same bits at another number of threads.
  Values gradient = attend.gradient;
  mg_cpu_set_threads(1);
  attend.runBackward();
  mg_cpu_set_threads(2);
  EXPECT_EQ(gradient, attend.gradient);
}

// Finite differences are too slow for several tiles: there the gradient is compared with the formula in float64.
TEST_P(Attention, GradientMatchesTheFormulaOverSeveralTiles) {
  const Case c = GetParam();
  Attend attend(c);
  attend.runForward();
  attend.runBackward();
  int64_t S = c.sequence;
  double scale = attend.scale;
  const std::vector<int32_t> &documents = attend.documents;
  const Values &qkv = attend.qkv, &d_y = attend.d_y;
  const float *q = qkv.data(), *k = q + attend.nq, *v = k + attend.nk;
  Doubles expected(qkv.size());
  double *e_q = expected.data(), *e_k = e_q + attend.nq, *e_v = e_k + attend.nk;
  for (int64_t b = 0; b < c.batch; ++b)
    for (int64_t h = 0; h < c.heads; ++h)
      for (int64_t t = 0; t < S; ++t) {
        int64_t query = (b * S + t) * c.heads + h, kv = h / (c.heads / c.kv_heads), first = t;
        while (first > 0 && (!c.documents || documents[b * S + first - 1] == documents[b * S + t]))
          --first;
        Doubles p(S), d_p(S);
        double sum = 0, delta = 0;
        for (int64_t s = first; s <= t; ++s) {
          int64_t key = (b * S + s) * c.kv_heads + kv;
          double dot = 0;
          for (int64_t i = 0; i < c.qk_dim; ++i)
            dot += double(q[query * c.qk_dim + i]) * k[key * c.qk_dim + i];
          sum += p[s] = std::exp(dot * scale);
          for (int64_t i = 0; i < c.v_dim; ++i)
            d_p[s] += double(d_y[query * c.v_dim + i]) * v[key * c.v_dim + i];
        }
        for (int64_t s = first; s <= t; ++s)
          delta += (p[s] /= sum) * d_p[s];
        for (int64_t s = first; s <= t; ++s) {
          int64_t key = (b * S + s) * c.kv_heads + kv;
          double d_score = p[s] * (d_p[s] - delta) * scale;
          for (int64_t i = 0; i < c.qk_dim; ++i) {
            e_q[query * c.qk_dim + i] += d_score * k[key * c.qk_dim + i];
            e_k[key * c.qk_dim + i] += d_score * q[query * c.qk_dim + i];
          }
          for (int64_t i = 0; i < c.v_dim; ++i)
            e_v[key * c.v_dim + i] += p[s] * d_y[query * c.v_dim + i];
        }
      }
  EXPECT_LT(relativeError(attend.gradient, expected), 2e-6);
}

INSTANTIATE_TEST_SUITE_P(Shapes, Attention,
                         testing::Values(Case{1, 1, 1, 1, 3, 2, false}, Case{2, 7, 4, 2, 5, 3, false}, Case{1, 11, 3, 1, 4, 6, true},
                                         Case{2, 12, 2, 2, 6, 6, true}, Case{1, 333, 2, 1, 8, 5, false}, Case{1, 333, 2, 1, 8, 5, true}));
