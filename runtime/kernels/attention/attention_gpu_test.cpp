#include "runtime/kernels/GpuTestSupport.h"

#include <gtest/gtest.h>

using namespace megacc::gpu;

namespace {

struct Shape {
  int64_t batch, sequence, heads, kv_heads, qk_dim, v_dim;
  int documents; // lengths of documents: 0 there are none, 1 thirds of a row, 2 every few tokens another
  int64_t tokens() const { return batch * sequence; }
};

/// Ids come back later in a row: only runs of equal ids belong together.
std::vector<double> makeDocuments(const Shape &s) {
  std::vector<double> ids(s.tokens());
  for (int64_t i = 0; i < s.tokens(); ++i) {
    int64_t t = i % s.sequence;
    ids[i] = s.documents == 1 ? double(t * 3 / s.sequence % 2) : double((t * 7 / 30 + i / s.sequence) % 3);
  }
  return ids;
}

struct Expected {
  Values y, lse, d_q, d_k, d_v;
};

/// Softmax attention and its gradients in float64.
Expected compute(const Shape &s, double scale, const Values &documents, const Values &q, const Values &k, const Values &v,
                 const Values &d_y) {
  Expected e = {Values(s.tokens() * s.heads * s.v_dim), Values(s.tokens() * s.heads), Values(q.size()), Values(k.size()), Values(v.size())};
  for (int64_t b = 0; b < s.batch; ++b)
    for (int64_t h = 0; h < s.heads; ++h)
      for (int64_t t = 0; t < s.sequence; ++t) {
        int64_t query = (b * s.sequence + t) * s.heads + h, kv = h / (s.heads / s.kv_heads), first = t;
        while (first > 0 && (!s.documents || documents[b * s.sequence + first - 1] == documents[b * s.sequence + t]))
          --first;
        Values p(s.sequence), d_p(s.sequence);
        double sum = 0, delta = 0;
        for (int64_t at = first; at <= t; ++at) {
          int64_t key = (b * s.sequence + at) * s.kv_heads + kv;
          double dot = 0;
          for (int64_t i = 0; i < s.qk_dim; ++i)
            dot += q[query * s.qk_dim + i] * k[key * s.qk_dim + i];
          sum += p[at] = std::exp(dot * scale);
          for (int64_t i = 0; i < s.v_dim; ++i)
            d_p[at] += d_y[query * s.v_dim + i] * v[key * s.v_dim + i];
        }
        e.lse[(b * s.heads + h) * s.sequence + t] = std::log(sum);
        for (int64_t at = first; at <= t; ++at)
          delta += (p[at] /= sum) * d_p[at];
        for (int64_t at = first; at <= t; ++at) {
          int64_t key = (b * s.sequence + at) * s.kv_heads + kv;
          double d_score = p[at] * (d_p[at] - delta) * scale;
          for (int64_t i = 0; i < s.qk_dim; ++i) {
            e.d_q[query * s.qk_dim + i] += d_score * k[key * s.qk_dim + i];
            e.d_k[key * s.qk_dim + i] += d_score * q[query * s.qk_dim + i];
          }
          for (int64_t i = 0; i < s.v_dim; ++i) {
            e.y[query * s.v_dim + i] += p[at] * v[key * s.v_dim + i];
            e.d_v[key * s.v_dim + i] += p[at] * d_y[query * s.v_dim + i];
          }
        }
      }
  return e;
}

/// Gradients of scores vanish where every query sees one key only: then an error counts beside 1.
double scoreError(const Values &actual, const Values &expected) {
  double largest = 0;
  for (double value : expected)
    largest = std::max(largest, std::abs(value));
  double error = relativeError(actual, expected);
  return largest < 1e-9 ? error * std::max(largest, 1e-30) : error;
}

class AttentionGpu : public testing::TestWithParam<Shape> {
protected:
  void give(Call &call) const {
    call.give("q", MG_BF16, q).give("k", MG_BF16, k).give("v", MG_BF16, v);
    if (s.documents)
      call.give("documents", MG_I32, documents);
    call.set("batch", s.batch).set("sequence", s.sequence).set("heads", s.heads).set("kv_heads", s.kv_heads);
    call.set("qk_dim", s.qk_dim).set("v_dim", s.v_dim).set("shared_dim", 0).setReal("scale", scale);
  }
  const Shape s = GetParam();
  const double scale = 1 / std::sqrt(double(s.qk_dim));
  const Values documents = makeDocuments(s);
  const Values q = randomValues(s.tokens() * s.heads * s.qk_dim, 1), k = randomValues(s.tokens() * s.kv_heads * s.qk_dim, 2);
  const Values v = randomValues(s.tokens() * s.kv_heads * s.v_dim, 3), d_y = randomValues(s.tokens() * s.heads * s.v_dim, 4);
};

} // namespace

TEST_P(AttentionGpu, MatchesTheReference) {
  MG_NEEDS_CARD();
  const Expected e = compute(s, scale, documents, q, k, v, d_y);
  Call forward = MG_CALL(mg_attention);
  give(forward);
  forward.poisoned("y", MG_BF16, e.y.size()).poisoned("lse", MG_F32, e.lse.size());
  ASSERT_EQ(forward.run(), "");
  Values y = forward.read("y");
  EXPECT_LT(relativeError(y, e.y), 1e-2);
  EXPECT_LT(relativeError(forward.read("lse"), e.lse), 1e-4);
  for (bool cached : {true, false}) {
    SCOPED_TRACE(cached ? "with lse" : "without lse");
    Call backward = MG_CALL(mg_attention_grad);
    give(backward);
    backward.give("d_y", MG_BF16, d_y).give("y", MG_BF16, y);
    if (cached)
      backward.give("lse", MG_F32, forward.read("lse"));
    backward.poisoned("d_q", MG_BF16, q.size()).poisoned("d_k", MG_BF16, k.size()).poisoned("d_v", MG_BF16, v.size());
    ASSERT_EQ(backward.run(), "");
    EXPECT_LT(scoreError(backward.read("d_q"), e.d_q), 2e-2);
    EXPECT_LT(scoreError(backward.read("d_k"), e.d_k), 2e-2);
    EXPECT_LT(relativeError(backward.read("d_v"), e.d_v), 2e-2);
  }
}

TEST_P(AttentionGpu, SameBitsWithoutTheCache) {
  MG_NEEDS_CARD();
  Call kept = MG_CALL(mg_attention), lost = MG_CALL(mg_attention);
  give(kept), give(lost);
  kept.poisoned("y", MG_BF16, d_y.size()).poisoned("lse", MG_F32, s.tokens() * s.heads);
  lost.poisoned("y", MG_BF16, d_y.size());
  ASSERT_EQ(kept.run(), "");
  ASSERT_EQ(lost.run(), "");
  EXPECT_EQ(kept.readBytes("y"), lost.readBytes("y"));
  Call cached = MG_CALL(mg_attention_grad), computed = MG_CALL(mg_attention_grad);
  for (Call *call : {&cached, &computed}) {
    give(*call);
    call->give("d_y", MG_BF16, d_y).give("y", MG_BF16, kept.read("y"));
    call->poisoned("d_q", MG_BF16, q.size()).poisoned("d_k", MG_BF16, k.size()).poisoned("d_v", MG_BF16, v.size());
  }
  cached.give("lse", MG_F32, kept.read("lse"));
  ASSERT_EQ(cached.run(), "");
  ASSERT_EQ(computed.run(), "");
  for (const char *name : {"d_q", "d_k", "d_v"})
    EXPECT_EQ(cached.readBytes(name), computed.readBytes(name)) << name;
}

/// Packed keys and values give the bits of dense ones.
TEST(AttentionGpuPacked, GivesTheBitsOfDenseKeys) {
  MG_NEEDS_CARD();
  struct Packed {
    int64_t batch, sequence, heads, kv_heads, own, shared, v_dim;
    bool documents;
  };
  for (const Packed &s : {Packed{2, 1, 2, 2, 64, 64, 64, false},
                          {2, 449, 4, 4, 64, 64, 64, true},
                          {1, 640, 2, 1, 64, 8, 64, false},
                          {2, 300, 2, 2, 128, 64, 128, true},
                          {1, 333, 4, 2, 64, 16, 40, false},
                          {1, 130, 2, 2, 192, 64, 200, true}}) {
    SCOPED_TRACE(testing::Message() << s.batch << " x " << s.sequence << ", " << s.own << " + " << s.shared << " / " << s.v_dim);
    const int64_t tokens = s.batch * s.sequence, qk = s.own + s.shared, stride = s.own + s.v_dim;
    Values packed = randomValues(tokens * s.kv_heads * stride, 1), shared = randomValues(tokens * s.shared, 2);
    Values q = randomValues(tokens * s.heads * qk, 3), d_y = randomValues(tokens * s.heads * s.v_dim, 4), documents(tokens);
    Values k(tokens * s.kv_heads * qk), v(tokens * s.kv_heads * s.v_dim);
    for (int64_t row = 0; row < tokens * s.kv_heads; ++row) {
      std::copy_n(&packed[row * stride], s.own, &k[row * qk]);
      std::copy_n(&shared[row / s.kv_heads * s.shared], s.shared, &k[row * qk + s.own]);
      std::copy_n(&packed[row * stride + s.own], s.v_dim, &v[row * s.v_dim]);
    }
    for (int64_t t = 0; t < tokens; ++t)
      documents[t] = double(int64_t(t % s.sequence / 100));
    auto give = [&](Call &call, bool is_packed) {
      call.give("q", MG_BF16, q).give("k", MG_BF16, is_packed ? packed : k);
      is_packed ? call.give("k_shared", MG_BF16, shared) : call.give("v", MG_BF16, v);
      if (s.documents)
        call.give("documents", MG_I32, documents);
      call.set("batch", s.batch).set("sequence", s.sequence).set("heads", s.heads).set("kv_heads", s.kv_heads).set("qk_dim", qk);
      call.set("v_dim", s.v_dim).set("shared_dim", is_packed ? s.shared : 0).setReal("scale", 1 / std::sqrt(double(qk)));
    };
    Call dense = MG_CALL(mg_attention), forward = MG_CALL(mg_attention);
    for (Call *call : {&dense, &forward}) {
      give(*call, call == &forward);
      call->poisoned("y", MG_BF16, d_y.size()).poisoned("lse", MG_F32, tokens * s.heads);
      ASSERT_EQ(call->run(), "");
    }
    EXPECT_EQ(forward.readBytes("y"), dense.readBytes("y"));
    EXPECT_EQ(forward.readBytes("lse"), dense.readBytes("lse"));
    Call dense_grad = MG_CALL(mg_attention_grad), grad = MG_CALL(mg_attention_grad);
    for (Call *call : {&dense_grad, &grad}) {
      give(*call, call == &grad);
      call->give("d_y", MG_BF16, d_y).give("y", MG_BF16, dense.read("y")).poisoned("d_q", MG_BF16, q.size());
      if (call == &grad)
        call->poisoned("d_k", MG_BF16, packed.size()).poisoned("d_k_shared", MG_BF16, tokens * s.kv_heads * s.shared);
      else
        call->give("lse", MG_F32, dense.read("lse")).poisoned("d_k", MG_BF16, k.size()).poisoned("d_v", MG_BF16, v.size());
      ASSERT_EQ(call->run(), "");
    }
    Values d_k = dense_grad.read("d_k"), d_v = dense_grad.read("d_v"), d_packed(packed.size()), d_shared(tokens * s.kv_heads * s.shared);
    for (int64_t row = 0; row < tokens * s.kv_heads; ++row) {
      std::copy_n(&d_k[row * qk], s.own, &d_packed[row * stride]);
      std::copy_n(&d_k[row * qk + s.own], s.shared, &d_shared[row * s.shared]);
      std::copy_n(&d_v[row * s.v_dim], s.v_dim, &d_packed[row * stride + s.own]);
    }
    EXPECT_EQ(grad.readBytes("d_q"), dense_grad.readBytes("d_q"));
    EXPECT_EQ(grad.read("d_k"), d_packed);
    EXPECT_EQ(grad.read("d_k_shared"), d_shared);
  }
  Call odd = MG_CALL(mg_attention);
  odd.poisoned("q", MG_BF16, 96).poisoned("k", MG_BF16, 96).poisoned("k_shared", MG_BF16, 64).poisoned("y", MG_BF16, 64);
  odd.set("batch", 1).set("sequence", 1).set("heads", 1).set("kv_heads", 1).set("qk_dim", 96).set("v_dim", 64).set("shared_dim", 64);
  EXPECT_NE(odd.setReal("scale", 1).run().find("packed keys of 32 channels"), std::string::npos);
}

// The sizes that kernels are compiled for, sizes beside them, one token, rows of all tile edges, heads that share keys.
INSTANTIATE_TEST_SUITE_P(Shapes, AttentionGpu,
                         testing::Values(Shape{1, 1, 1, 1, 3, 2, 0}, Shape{2, 1, 2, 1, 128, 64, 0}, Shape{2, 7, 4, 2, 5, 3, 0},
                                         Shape{1, 11, 3, 1, 4, 6, 1}, Shape{2, 12, 2, 2, 6, 6, 1}, Shape{1, 333, 2, 1, 8, 5, 0},
                                         Shape{1, 333, 2, 1, 8, 5, 1}, Shape{2, 100, 3, 3, 14, 14, 2}, Shape{2, 65, 2, 1, 12, 8, 1},
                                         Shape{2, 192, 2, 2, 64, 64, 0}, Shape{2, 500, 4, 2, 64, 64, 2}, Shape{2, 384, 2, 2, 128, 64, 0},
                                         Shape{2, 449, 4, 1, 128, 64, 1}, Shape{1, 640, 2, 2, 128, 64, 2}, Shape{2, 300, 2, 1, 128, 128, 1},
                                         Shape{1, 256, 2, 2, 128, 128, 0}, Shape{2, 321, 2, 2, 192, 128, 1},
                                         Shape{1, 200, 2, 1, 192, 128, 0}, Shape{2, 150, 3, 3, 96, 80, 1}, Shape{1, 260, 2, 1, 256, 256, 1},
                                         Shape{2, 130, 2, 2, 136, 200, 0}, Shape{1, 129, 2, 1, 255, 33, 2}));

TEST(AttentionGpuErrors, SaysWhichSizeIsTooLarge) {
  MG_NEEDS_CARD();
  Call call = MG_CALL(mg_attention);
  for (const char *name : {"q", "k", "v"})
    call.poisoned(name, MG_BF16, 300);
  call.poisoned("y", MG_BF16, 300).setReal("scale", 1);
  for (const char *name : {"batch", "sequence", "heads", "kv_heads"})
    call.set(name, 1);
  call.set("qk_dim", 300).set("v_dim", 300).set("shared_dim", 0);
  EXPECT_EQ(call.run(), "mg_attention: qk_dim is 300 and v_dim 300, at most 256");
}
