#include "runtime/kernels/TestSupport.h"
#include "runtime/kernels/biased_attention/BiasedReference.h"

using namespace megacc::test;

namespace {

/// Both kernels; `cached`: lse is kept for the backward.
struct Biased {
  BiasedCase c;
  double scale = 1 / std::sqrt(double(c.qk_dim));
  Values q = randomValues(c.tokens() * c.heads * c.qk_dim, 1), k = randomValues(c.tokens() * c.kv_heads * c.qk_dim, 2);
  Values v = randomValues(c.tokens() * c.kv_heads * c.v_dim, 3), weight = randomValues(c.heads * c.relations, 4);
  Values y = Values(c.tokens() * c.heads * c.v_dim, NAN), d_y = randomValues(y.size(), 5), lse = Values(c.tokens() * c.heads, NAN);
  Values d_q = Values(q.size(), NAN), d_k = Values(k.size(), NAN), d_v = Values(v.size(), NAN), d_weight = Values(weight.size(), NAN);
  std::vector<int32_t> documents = whole(c.documents()), chunk = whole(c.chunk()), bits = whole(c.bits());

  static std::vector<int32_t> whole(const std::vector<double> &values) { return {values.begin(), values.end()}; }
  void run(bool cached = true) {
    Ints ints = {{"batch", c.batch},   {"sequence", c.sequence}, {"heads", c.heads},         {"kv_heads", c.kv_heads},
                 {"qk_dim", c.qk_dim}, {"v_dim", c.v_dim},       {"relations", c.relations}, {"chunks", c.chunks}};
    std::vector<Operand> forward = {{"q", q},
                                    {"k", k},
                                    {"v", v},
                                    {"weight", weight},
                                    {"chunk", chunk},
                                    {"bits", bits},
                                    Operand::documents(documents),
                                    cached ? Operand("lse", lse) : Operand("lse", nullptr),
                                    {"y", y}};
    std::vector<Operand> backward = forward;
    backward.insert(backward.end(), {{"d_y", d_y}, {"d_q", d_q}, {"d_k", d_k}, {"d_v", d_v}, {"d_weight", d_weight}});
    ASSERT_EQ(call("mg_biased_attention", forward, ints, {{"scale", scale}}), 0) << mg_last_error();
    ASSERT_EQ(call("mg_biased_attention_grad", backward, ints, {{"scale", scale}}), 0) << mg_last_error();
  }
};

class BiasedAttention : public testing::TestWithParam<BiasedCase> {};

} // namespace

TEST_P(BiasedAttention, MatchesTheReference) {
  Biased b{GetParam()};
  b.run();
  BiasedResults e = computeBiased(b.c, b.scale, b.q, b.k, b.v, b.weight, b.d_y);
  EXPECT_LT(relativeError(b.y, e.y), 2e-6);
  EXPECT_LT(relativeError(b.lse, e.lse), 2e-6);
  EXPECT_LT(relativeError(b.d_v, e.d_v), 1e-5);
  if (b.c.sequence > 1) { // else gradients of scores vanish
    EXPECT_LT(relativeError(b.d_q, e.d_q), 1e-5);
    EXPECT_LT(relativeError(b.d_k, e.d_k), 1e-5);
    EXPECT_LT(relativeError(b.d_weight, e.d_weight), 1e-5);
  }
}

TEST_P(BiasedAttention, SameBitsWithoutTheCacheAndAtAnyNumberOfThreads) {
  Biased kept{GetParam()}, computed{GetParam()};
  kept.run();
  mg_cpu_set_threads(1);
  computed.run(/*cached=*/false);
  mg_cpu_set_threads(2);
  EXPECT_EQ(kept.y, computed.y);
  EXPECT_EQ(kept.d_q, computed.d_q);
  EXPECT_EQ(kept.d_k, computed.d_k);
  EXPECT_EQ(kept.d_v, computed.d_v);
  EXPECT_EQ(kept.d_weight, computed.d_weight);
}

INSTANTIATE_TEST_SUITE_P(Shapes, BiasedAttention,
                         testing::Values(BiasedCase{1, 1, 1, 1, 4, 3, 1, 1, false}, BiasedCase{2, 13, 4, 2, 6, 5, 9, 5, true},
                                         BiasedCase{1, 70, 2, 1, 16, 8, 31, 3, false}, BiasedCase{2, 300, 2, 2, 8, 12, 4, 9, true}));

TEST(BiasedAttention, WithoutWeightsItIsAttention) {
  Biased b{{2, 100, 4, 2, 8, 8, 9, 5, true}};
  std::fill(b.weight.begin(), b.weight.end(), 0.0f);
  b.run();
  Values y(b.y.size(), NAN);
  ASSERT_EQ(call("mg_attention", {{"q", b.q}, {"k", b.k}, {"v", b.v}, Operand::documents(b.documents), Operand("lse", nullptr), {"y", y}},
                 {{"batch", 2}, {"sequence", 100}, {"heads", 4}, {"kv_heads", 2}, {"qk_dim", 8}, {"v_dim", 8}, {"shared_dim", 0}},
                 {{"scale", b.scale}}),
            0);
  EXPECT_EQ(b.y, y);
}
