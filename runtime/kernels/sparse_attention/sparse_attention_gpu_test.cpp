#include "runtime/kernels/GpuTestSupport.h"
#include "runtime/kernels/NumericGradient.h"
#include "runtime/kernels/sparse_attention/SparseReference.h"

#include <gtest/gtest.h>

using namespace megacc::gpu;

namespace {

using Case = megacc::test::SparseCase;

/// The operands of all kernels over one case; the indexer's are small whole numbers, so that scores are exact and many equal.
struct Sparse {
  Case c;
  MgType type;
  int64_t T = c.rows(), nq = T * c.heads * c.qk_dim, nv = T * c.heads * c.v_dim, ni = T * c.index_heads * c.index_dim;
  std::vector<int32_t> documents = c.makeDocuments(), support;
  Values q = randomValues(nq, 1, 1, type), k = randomValues(nq, 2, 1, type), v = randomValues(nv, 3, 1, type);
  Values index_q = whole(ni, 4), index_k = whole(T * c.index_dim, 5), weights = whole(T * c.index_heads, 6);

  Sparse(const Case &c, MgType type) : c(c), type(type) {}

  static Values whole(int64_t count, unsigned seed) {
    Values values = randomValues(count, seed);
    for (double &value : values)
      value = std::round(value);
    return values;
  }
  static Values widen(const std::vector<int32_t> &values) { return Values(values.begin(), values.end()); }

  void select() {
    Call call = MG_CALL(mg_select_keys);
    call.poisoned("support", MG_I32, T * c.kept).give("q", type, index_q).give("k", type, index_k).give("weights", type, weights);
    if (c.documents)
      call.give("documents", MG_I32, widen(documents));
    call.set("batch", c.batch).set("sequence", c.sequence).set("heads", c.index_heads).set("dim", c.index_dim).set("kept", c.kept);
    ASSERT_EQ(call.run(), "");
    support = megacc::test::selectReference(c, index_q, index_k, weights, documents);
    EXPECT_EQ(call.read("support"), widen(support));
  }

  /// A call with what attention reads, or the indexer.
  Call &attended(Call &call) const {
    call.give("q", type, q).give("k", type, k).give("v", type, v).give("support", MG_I32, widen(support)).setReal("scale", c.scale());
    call.set("batch", c.batch).set("sequence", c.sequence).set("heads", c.heads).set("qk_dim", c.qk_dim);
    return call.set("v_dim", c.v_dim).set("kept", c.kept);
  }
  Call &indexed(Call &call) const {
    call.give("index_q", type, index_q).give("index_k", type, index_k).give("index_weights", type, weights);
    call.give("support", MG_I32, widen(support)).setReal("index_scale", c.indexScale()).set("batch", c.batch).set("sequence", c.sequence);
    return call.set("index_heads", c.index_heads).set("index_dim", c.index_dim).set("kept", c.kept);
  }
};

class SparseAttentionGpu : public testing::TestWithParam<Case> {};

} // namespace

TEST_P(SparseAttentionGpu, AttentionMatchesTheReference) {
  MG_NEEDS_CARD();
  const Case c = GetParam();
  for (MgType type : {MG_BF16, MG_F32}) {
    Sparse sparse(c, type);
    sparse.select();
    Values packed = sparse.q, d_y = randomValues(sparse.nv, 7, 1, type);
    packed.insert(packed.end(), sparse.k.begin(), sparse.k.end());
    packed.insert(packed.end(), sparse.v.begin(), sparse.v.end());
    auto f = [&](const Values &x) { return megacc::test::sparseReference(c, x, sparse.support); };
    Call forward = MG_CALL(mg_sparse_attention);
    ASSERT_EQ(sparse.attended(forward).poisoned("y", type, sparse.nv).run(), "");
    EXPECT_LT(relativeError(forward.read("y"), f(packed)), forwardLimit(type));
    Call backward = MG_CALL(mg_sparse_attention_grad);
    sparse.attended(backward).give("d_y", type, d_y).poisoned("d_q", type, sparse.nq).poisoned("d_k", type, sparse.nq);
    ASSERT_EQ(backward.poisoned("d_v", type, sparse.nv).run(), "");
    if (c.sequence > 12)
      continue;
    Values gradient = backward.read("d_q"), d_k = backward.read("d_k"), d_v = backward.read("d_v");
    gradient.insert(gradient.end(), d_k.begin(), d_k.end());
    gradient.insert(gradient.end(), d_v.begin(), d_v.end());
    EXPECT_LT(relativeError(gradient, megacc::test::numericGradient(f, packed, d_y)), gradientLimit(type));
  }
}

TEST_P(SparseAttentionGpu, KlMatchesTheReference) {
  MG_NEEDS_CARD();
  const Case c = GetParam();
  for (MgType type : {MG_BF16, MG_F32}) {
    Sparse sparse(c, type);
    sparse.select();
    Values packed = sparse.index_q, expected;
    packed.insert(packed.end(), sparse.index_k.begin(), sparse.index_k.end());
    packed.insert(packed.end(), sparse.weights.begin(), sparse.weights.end());
    double loss = 0.7 * megacc::test::klReference(c, sparse.q, sparse.k, packed, sparse.support, &expected);
    Call forward = MG_CALL(mg_support_kl);
    sparse.indexed(forward).give("q", type, sparse.q).give("k", type, sparse.k).poisoned("loss", MG_F32, 1);
    forward.poisoned("difference", MG_F32, expected.size()).set("heads", c.heads).set("qk_dim", c.qk_dim).set("tokens", sparse.T);
    ASSERT_EQ(forward.setReal("scale", c.scale()).setReal("kl", 0.7).run(), "");
    EXPECT_NEAR(forward.read("loss")[0], loss, 1e-4);
    Values difference = forward.read("difference");
    for (size_t i = 0; i < expected.size(); ++i)
      EXPECT_NEAR(difference[i], expected[i], 1e-4);
    Call backward = MG_CALL(mg_support_kl_grad);
    sparse.indexed(backward).give("difference", MG_F32, difference).setReal("factor", 1 / double(sparse.T));
    backward.poisoned("d_index_q", type, sparse.ni).poisoned("d_index_k", type, sparse.T * c.index_dim);
    ASSERT_EQ(backward.poisoned("d_index_weights", type, sparse.T * c.index_heads).run(), "");
    // d_index_weights has no kink, even where whole numbers put a product at zero.
    Values numeric;
    for (size_t i = packed.size() - sparse.weights.size(); i < packed.size() && c.sequence <= 12; ++i) {
      double kept = packed[i], h = 1e-5;
      packed[i] = kept + h;
      double above = megacc::test::klReference(c, sparse.q, sparse.k, packed, sparse.support);
      packed[i] = kept - h;
      numeric.push_back((above - megacc::test::klReference(c, sparse.q, sparse.k, packed, sparse.support)) / (2 * h));
      packed[i] = kept;
    }
    Values d_weights = backward.read("d_index_weights");
    for (size_t i = 0; i < numeric.size(); ++i)
      EXPECT_NEAR(d_weights[i], numeric[i], type == MG_BF16 ? 1e-2 : 1e-4);
    // The other two by the formula.
    Values d_q(sparse.ni), d_k(sparse.T * c.index_dim);
    for (int64_t t = 0; t < sparse.T; ++t)
      for (int64_t j = 0; j < c.kept && sparse.support[t * c.kept + j] >= 0; ++j)
        for (int64_t h = 0; h < c.index_heads; ++h) {
          int64_t s = t / c.sequence * c.sequence + sparse.support[t * c.kept + j], head = t * c.index_heads + h;
          double product = 0, g = difference[t * c.kept + j] * c.indexScale() / double(sparse.T) * sparse.weights[head];
          for (int64_t i = 0; i < c.index_dim; ++i)
            product += sparse.index_q[head * c.index_dim + i] * sparse.index_k[s * c.index_dim + i];
          for (int64_t i = 0; i < c.index_dim && product > 0; ++i) {
            d_q[head * c.index_dim + i] += g * sparse.index_k[s * c.index_dim + i];
            d_k[s * c.index_dim + i] += g * sparse.index_q[head * c.index_dim + i];
          }
        }
    EXPECT_LT(relativeError(backward.read("d_index_q"), d_q), gradientLimit(type));
    EXPECT_LT(relativeError(backward.read("d_index_k"), d_k), gradientLimit(type));
  }
}

INSTANTIATE_TEST_SUITE_P(Shapes, SparseAttentionGpu,
                         testing::Values(Case{1, 1, 1, 3, 2, 1, 2, 1, false}, Case{2, 7, 3, 5, 4, 2, 3, 7, false},
                                         Case{2, 11, 2, 10, 8, 4, 8, 4, true}, Case{2, 333, 2, 34, 41, 3, 70, 20, false},
                                         Case{1, 700, 1, 8, 8, 2, 16, 64, true}));
