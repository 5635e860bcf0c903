#include "runtime/kernels/TestSupport.h"
#include "runtime/kernels/sparse_attention/SparseReference.h"

using namespace megacc::test;

namespace {

using Support = std::vector<int32_t>;

/// The operands of all kernels over one case.
struct Sparse {
  SparseCase c;
  int64_t T = c.rows(), nq = T * c.heads * c.qk_dim, nv = T * c.heads * c.v_dim, ni = T * c.index_heads * c.index_dim;
  Support documents = c.makeDocuments();
  Values qkv = randomValues(2 * nq + nv, 1);
  Values index_q = randomValues(ni, 2), index_k = randomValues(T * c.index_dim, 3), weights = randomValues(T * c.index_heads, 4);
  Support support = Support(T * c.kept, 12345);

  explicit Sparse(const SparseCase &c) : c(c) {}

  void select() {
    ASSERT_EQ(call("mg_select_keys",
                   {{"support", support}, {"q", index_q}, {"k", index_k}, {"weights", weights}, Operand::documents(documents)},
                   {{"batch", c.batch}, {"sequence", c.sequence}, {"heads", c.index_heads}, {"dim", c.index_dim}, {"kept", c.kept}}),
              0);
  }
  Support expected() const { return selectReference(c, widen(index_q), widen(index_k), widen(weights), documents); }

  std::vector<Operand> attended() const {
    return {{"q", qkv.data(), nq}, {"k", qkv.data() + nq, nq}, {"v", qkv.data() + 2 * nq, nv}, {"support", support}};
  }
  Ints ints() const {
    return {{"batch", c.batch}, {"sequence", c.sequence}, {"heads", c.heads}, {"qk_dim", c.qk_dim}, {"v_dim", c.v_dim}, {"kept", c.kept}};
  }
  std::vector<Operand> indexer() const {
    return {{"index_q", index_q}, {"index_k", index_k}, {"index_weights", weights}, {"support", support}};
  }
  Ints indexInts() const {
    return {{"batch", c.batch}, {"sequence", c.sequence}, {"index_heads", c.index_heads}, {"index_dim", c.index_dim}, {"kept", c.kept}};
  }
};

class SparseAttention : public testing::TestWithParam<SparseCase> {};

/// Runs twice, on one thread and on two, and expects the same bits in what `results` names.
template <typename Run> void expectSameAtEveryThread(Values &results, Run run) {
  run();
  Values first = results;
  std::fill(results.begin(), results.end(), NAN);
  mg_cpu_set_threads(1);
  run();
  mg_cpu_set_threads(2);
  EXPECT_EQ(first, results);
}

} // namespace

TEST_P(SparseAttention, SelectsAsASortDoes) {
  Sparse sparse(GetParam());
  sparse.select();
  EXPECT_EQ(sparse.support, sparse.expected());
}

// Small whole numbers: products and sums are exact, and many scores equal.
TEST_P(SparseAttention, OfEqualScoresTheLowerKeysWin) {
  Sparse sparse(GetParam());
  for (Values *values : {&sparse.index_q, &sparse.index_k, &sparse.weights})
    for (float &value : *values)
      value = std::round(value);
  sparse.select();
  EXPECT_EQ(sparse.support, sparse.expected());
  std::fill(sparse.weights.begin(), sparse.weights.end(), 0.0f); // all equal
  for (size_t i = 0; i < sparse.index_q.size(); i += 2)
    sparse.index_q[i] = -sparse.index_q[i];
  for (size_t i = 0; i < sparse.weights.size(); i += 3)
    sparse.weights[i] = -0.0f; // scores of -0 among those of +0
  sparse.select();
  EXPECT_EQ(sparse.support, sparse.expected());
}

TEST(SelectKeys, AQueryWithANanHasNoKeys) {
  Sparse sparse({1, 9, 1, 2, 2, 2, 3, 4, false});
  sparse.index_k[4 * 3 + 1] = NAN;
  sparse.select();
  for (int64_t t = 0; t < 9; ++t)
    for (int64_t j = 0; j < 4; ++j)
      EXPECT_EQ(sparse.support[t * 4 + j] < 0, t >= 4 || j > t);
  Values y(sparse.nv);
  std::vector<Operand> operands = sparse.attended();
  operands.push_back({"y", y});
  ASSERT_EQ(call("mg_sparse_attention", operands, sparse.ints(), {{"scale", 1}}), 0);
  for (int64_t i = 0; i < sparse.nv; ++i)
    EXPECT_EQ(std::isnan(y[i]), i / 2 >= 4);
}

TEST_P(SparseAttention, MatchesTheReferenceForwardAndBackward) {
  const SparseCase c = GetParam();
  Sparse sparse(c);
  sparse.select();
  Values y(sparse.nv, NAN), d_y = randomValues(sparse.nv, 5), gradient(sparse.qkv.size(), NAN);
  auto f = [&](const Doubles &x) { return sparseReference(c, x, sparse.support); };
  expectSameAtEveryThread(y, [&] {
    std::vector<Operand> operands = sparse.attended();
    operands.push_back({"y", y});
    ASSERT_EQ(call("mg_sparse_attention", operands, sparse.ints(), {{"scale", c.scale()}}), 0);
  });
  EXPECT_LT(relativeError(y, f(widen(sparse.qkv))), 2e-6);
  expectSameAtEveryThread(gradient, [&] {
    float *d = gradient.data();
    std::vector<Operand> operands = sparse.attended();
    operands.insert(operands.end(),
                    {{"d_q", d, sparse.nq}, {"d_k", d + sparse.nq, sparse.nq}, {"d_v", d + 2 * sparse.nq, sparse.nv}, {"d_y", d_y}});
    ASSERT_EQ(call("mg_sparse_attention_grad", operands, sparse.ints(), {{"scale", c.scale()}}), 0);
  });
  if (c.sequence <= 12)
    EXPECT_LT(relativeError(gradient, numericGradient(f, widen(sparse.qkv), d_y)), 1e-5);
}

// With all keys picked the support is that of dense attention.
TEST(SparseAttention, OfAllKeysIsDenseAttention) {
  Sparse sparse({2, 300, 2, 12, 9, 2, 4, 300, true});
  sparse.select();
  const SparseCase &c = sparse.c;
  Values y(sparse.nv, NAN), dense(sparse.nv, NAN), d_y = randomValues(sparse.nv, 5), gradient(sparse.qkv.size()),
                                                   dense_gradient(gradient.size());
  auto grads = [&](Values &values) {
    float *d = values.data();
    return std::vector<Operand>{
        {"d_q", d, sparse.nq}, {"d_k", d + sparse.nq, sparse.nq}, {"d_v", d + 2 * sparse.nq, sparse.nv}, {"d_y", d_y}};
  };
  std::vector<Operand> forward = sparse.attended(), backward = forward, dense_forward(forward.begin(), forward.end() - 1);
  dense_forward.push_back({"documents", sparse.documents});
  std::vector<Operand> dense_backward = dense_forward, sparse_grads = grads(gradient), dense_grads = grads(dense_gradient);
  forward.push_back({"y", y}), dense_forward.push_back({"y", dense}), dense_backward.push_back({"y", dense});
  backward.insert(backward.end(), sparse_grads.begin(), sparse_grads.end());
  dense_backward.insert(dense_backward.end(), dense_grads.begin(), dense_grads.end());
  Ints ints = {{"batch", c.batch},   {"sequence", c.sequence}, {"heads", c.heads}, {"kv_heads", c.heads},
               {"qk_dim", c.qk_dim}, {"v_dim", c.v_dim},       {"shared_dim", 0}};
  ASSERT_EQ(call("mg_sparse_attention", forward, sparse.ints(), {{"scale", c.scale()}}), 0);
  ASSERT_EQ(call("mg_attention", dense_forward, ints, {{"scale", c.scale()}}), 0);
  EXPECT_LT(relativeError(y, widen(dense)), 2e-6);
  ASSERT_EQ(call("mg_sparse_attention_grad", backward, sparse.ints(), {{"scale", c.scale()}}), 0);
  ASSERT_EQ(call("mg_attention_grad", dense_backward, ints, {{"scale", c.scale()}}), 0);
  EXPECT_LT(relativeError(gradient, widen(dense_gradient)), 5e-6);
}

TEST_P(SparseAttention, KlMatchesTheReferenceAndItsGradientFiniteDifferences) {
  const SparseCase c = GetParam();
  Sparse sparse(c);
  sparse.select();
  Values loss(1, NAN), difference(sparse.support.size(), NAN), gradient(sparse.ni + sparse.T * (c.index_dim + c.index_heads), NAN);
  Doubles q = widen(Values(sparse.qkv.begin(), sparse.qkv.begin() + sparse.nq)), expected;
  Doubles k = widen(Values(sparse.qkv.begin() + sparse.nq, sparse.qkv.begin() + 2 * sparse.nq)), packed = widen(sparse.index_q);
  for (const Values *values : {&sparse.index_k, &sparse.weights})
    packed.insert(packed.end(), values->begin(), values->end());
  const double kl = 0.7, factor = 0.3 / double(sparse.T);
  expectSameAtEveryThread(difference, [&] {
    std::vector<Operand> operands = sparse.indexer();
    operands.insert(
        operands.end(),
        {{"loss", loss}, {"difference", difference}, {"q", sparse.qkv.data(), sparse.nq}, {"k", sparse.qkv.data() + sparse.nq, sparse.nq}});
    Ints ints = sparse.indexInts();
    ints.insert(ints.end(), {{"heads", c.heads}, {"qk_dim", c.qk_dim}, {"tokens", sparse.T}});
    ASSERT_EQ(call("mg_support_kl", operands, ints, {{"scale", c.scale()}, {"index_scale", c.indexScale()}, {"kl", kl}}), 0);
  });
  EXPECT_NEAR(loss[0], kl * klReference(c, q, k, packed, sparse.support, &expected), 1e-6);
  for (size_t i = 0; i < difference.size(); ++i)
    EXPECT_NEAR(difference[i], expected[i], 2e-6);
  expectSameAtEveryThread(gradient, [&] {
    float *d = gradient.data();
    std::vector<Operand> operands = sparse.indexer();
    operands.insert(operands.end(), {{"difference", difference},
                                     {"d_index_q", d, sparse.ni},
                                     {"d_index_k", d + sparse.ni, sparse.T * c.index_dim},
                                     {"d_index_weights", d + sparse.ni + sparse.T * c.index_dim, sparse.T * c.index_heads}});
    ASSERT_EQ(call("mg_support_kl_grad", operands, sparse.indexInts(), {{"index_scale", c.indexScale()}, {"factor", factor}}), 0);
  });
  if (c.sequence <= 12) {
    auto f = [&](const Doubles &x) { return Doubles{0.3 * klReference(c, q, k, x, sparse.support)}; };
    Doubles numeric = numericGradient(f, packed, Doubles{1});
    for (size_t i = 0; i < gradient.size(); ++i)
      EXPECT_NEAR(gradient[i], numeric[i], 1e-6);
  }
}

// One token; rows shorter than the support; several tiles of queries and keys with odd sizes; documents; wide heads.
INSTANTIATE_TEST_SUITE_P(Shapes, SparseAttention,
                         testing::Values(SparseCase{1, 1, 1, 3, 2, 1, 2, 1, false}, SparseCase{2, 7, 3, 5, 4, 2, 3, 7, false},
                                         SparseCase{1, 12, 2, 8, 9, 3, 4, 3, false}, SparseCase{2, 11, 2, 10, 8, 4, 8, 4, true},
                                         SparseCase{1, 9, 2, 4, 4, 1, 2, 1, false}, SparseCase{2, 333, 2, 34, 41, 3, 70, 20, false},
                                         SparseCase{1, 700, 1, 8, 8, 2, 16, 64, true}));
