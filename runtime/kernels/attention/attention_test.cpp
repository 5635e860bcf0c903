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

} // namespace

TEST_P(Attention, MatchesTheReferenceForwardAndBackward) {
  const Case c = GetParam();
  int64_t T = c.batch * c.sequence, nq = T * c.heads * c.qk_dim, nk = T * c.kv_heads * c.qk_dim, nv = T * c.kv_heads * c.v_dim;
  double scale = 1 / std::sqrt(double(c.qk_dim));
  std::vector<int32_t> documents(T);
  for (int64_t t = 0; t < T; ++t)
    documents[t] = t % c.sequence * 3 / c.sequence % 2;
  Values qkv = randomValues(nq + nk + nv, 1), y(T * c.heads * c.v_dim), lse(T * c.heads), d_y = randomValues(y.size(), 2);
  Values gradient(qkv.size()), scratch(T * c.heads * (1 + c.qk_dim + c.v_dim), NAN);
  float *q = qkv.data(), *k = q + nq, *v = k + nk, *d_q = gradient.data();
  void *ids = c.documents ? documents.data() : nullptr;
  std::vector<int64_t> ints = {c.batch, c.sequence, c.heads, c.kv_heads, c.qk_dim, c.v_dim};
  ASSERT_EQ(call(mg_attention, {y.data(), lse.data(), q, k, v, ids}, ints, {scale}), 0);
  auto f = [&](const Doubles &x) { return reference(c, scale, documents, x); };
  EXPECT_LT(relativeError(y, f(widen(qkv))), 2e-6);
  ASSERT_EQ(call(mg_attention_grad, {d_q, d_q + nq, d_q + nq + nk, d_y.data(), y.data(), lse.data(), q, k, v, ids, scratch.data()}, ints,
                 {scale}), 0);
  if (c.sequence <= 12)
    EXPECT_LT(relativeError(gradient, numericGradient(f, widen(qkv), d_y)), 1e-5);
  // The same bits at another number of threads.
  Values again(qkv.size());
  mg_cpu_set_threads(1);
  d_q = again.data();
  call(mg_attention_grad, {d_q, d_q + nq, d_q + nq + nk, d_y.data(), y.data(), lse.data(), q, k, v, ids, scratch.data()}, ints, {scale});
  mg_cpu_set_threads(2);
  EXPECT_EQ(gradient, again);
}

// Finite differences are too slow for several tiles: there the gradient is compared with the formula in float64.
TEST_P(Attention, GradientMatchesTheFormulaOverSeveralTiles) {
  const Case c = GetParam();
  int64_t S = c.sequence, T = c.batch * S, nq = T * c.heads * c.qk_dim, nk = T * c.kv_heads * c.qk_dim, nv = T * c.kv_heads * c.v_dim;
  double scale = 1 / std::sqrt(double(c.qk_dim));
  std::vector<int32_t> documents(T);
  for (int64_t t = 0; t < T; ++t)
    documents[t] = t % S * 3 / S % 2;
  Values qkv = randomValues(nq + nk + nv, 1), y(T * c.heads * c.v_dim), lse(T * c.heads), d_y = randomValues(y.size(), 2);
  Values gradient(qkv.size(), NAN), scratch(T * c.heads * (1 + c.qk_dim + c.v_dim), NAN);
  float *q = qkv.data(), *k = q + nq, *v = k + nk, *d_q = gradient.data();
  void *ids = c.documents ? documents.data() : nullptr;
  std::vector<int64_t> ints = {c.batch, S, c.heads, c.kv_heads, c.qk_dim, c.v_dim};
  ASSERT_EQ(call(mg_attention, {y.data(), lse.data(), q, k, v, ids}, ints, {scale}), 0);
  ASSERT_EQ(call(mg_attention_grad, {d_q, d_q + nq, d_q + nq + nk, d_y.data(), y.data(), lse.data(), q, k, v, ids, scratch.data()}, ints,
                 {scale}), 0);
  Doubles expected(qkv.size());
  double *e_q = expected.data(), *e_k = e_q + nq, *e_v = e_k + nk;
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
  EXPECT_LT(relativeError(gradient, expected), 2e-6);
}

INSTANTIATE_TEST_SUITE_P(Shapes, Attention,
                         testing::Values(Case{1, 1, 1, 1, 3, 2, false}, Case{2, 7, 4, 2, 5, 3, false}, Case{1, 11, 3, 1, 4, 6, true},
                                         Case{2, 12, 2, 2, 6, 6, true}, Case{1, 333, 2, 1, 8, 5, false}, Case{1, 333, 2, 1, 8, 5, true}));
