#include "runtime/kernels/GpuTestSupport.h"

#include <gtest/gtest.h>

using namespace megacc::gpu;

namespace {

struct Shape {
  int64_t batch, sequence, heads, groups, key, value, chunk;
  bool documents = false;
  bool neg_eigval = false;
  MgType type = MG_BF16;
};

/// A problem and its solution in float64, token by token (conventions section 19).
struct Problem {
  Shape shape;
  Values q, k, v, b, a, a_log, dt_bias, documents, d_y;
  Values y, d_q, d_k, d_v, d_b, d_a, d_a_log, d_dt_bias;

  explicit Problem(const Shape &shape) : shape(shape) {
    int64_t rows = shape.batch * shape.sequence, keys = rows * shape.groups * shape.key, values = rows * shape.heads * shape.value;
    q = randomValues(keys, 1, 1, shape.type), k = randomValues(keys, 2, 1, shape.type), v = randomValues(values, 3, 1, shape.type);
    b = randomValues(rows * shape.heads, 4, 1, shape.type), a = randomValues(rows * shape.heads, 5, 1, shape.type);
    a_log = randomValues(shape.heads, 6, 1, MG_F32), dt_bias = randomValues(shape.heads, 7, 1, MG_F32);
    for (double &bias : dt_bias)
      bias = rounded(bias - 3, MG_F32);
    d_y = randomValues(values, 8, 1, shape.type);
    if (shape.documents)
      for (int64_t row = 0; row < rows; ++row)
        documents.push_back(double((row * row / 37 + row / 5) / 3 % 7));
    solve();
  }

  /// 1 / length of the key of a token and a group.
  double unit(const Values &x, int64_t at) const {
    double square = 1e-6;
    for (int64_t n = 0; n < shape.key; ++n)
      square += x[at + n] * x[at + n];
    return 1 / std::sqrt(square);
  }

  void solve() {
    auto [batch, sequence, heads, groups, K, V, chunk, has_documents, neg_eigval, type] = shape;
    y.assign(v.size(), 0), d_q.assign(q.size(), 0), d_k.assign(k.size(), 0), d_v.assign(v.size(), 0), d_b.assign(b.size(), 0);
    d_a.assign(a.size(), 0), d_a_log.assign(heads, 0), d_dt_bias.assign(heads, 0);
    double scale = neg_eigval ? 2 : 1, query_scale = 1 / std::sqrt(double(K));
    for (int64_t row = 0; row < batch; ++row)
      for (int64_t h = 0; h < heads; ++h) {
        Values S((sequence + 1) * V * K), U(sequence * V), alpha(sequence), beta(sequence), exponent(sequence);
        auto keyAt = [&](int64_t t) { return ((row * sequence + t) * groups + h / (heads / groups)) * K; };
        auto headAt = [&](int64_t t) { return (row * sequence + t) * heads + h; };
        auto resets = [&](int64_t t) {
          return t == 0 || (has_documents && documents[row * sequence + t] != documents[row * sequence + t - 1]);
        };
        auto before = [&](int64_t t, int64_t e) { return resets(t) ? 0.0 : S[t * V * K + e]; };
        double rate = std::exp(a_log[h]);
        for (int64_t t = 0; t < sequence; ++t) {
          double x = a[headAt(t)] + dt_bias[h], unit_q = unit(q, keyAt(t)) * query_scale, unit_k = unit(k, keyAt(t));
          exponent[t] = rate * (std::max(x, 0.0) + std::log1p(std::exp(-std::abs(x))));
          alpha[t] = std::exp(-exponent[t]), beta[t] = scale * sigmoid(b[headAt(t)]);
          for (int64_t p = 0; p < V; ++p) {
            double known = 0;
            for (int64_t n = 0; n < K; ++n)
              known += alpha[t] * before(t, p * K + n) * k[keyAt(t) + n] * unit_k;
            U[t * V + p] = beta[t] * (v[headAt(t) * V + p] - known);
            for (int64_t n = 0; n < K; ++n) {
              double &state = S[(t + 1) * V * K + p * K + n];
              state = alpha[t] * before(t, p * K + n) + U[t * V + p] * k[keyAt(t) + n] * unit_k;
              y[headAt(t) * V + p] += state * q[keyAt(t) + n] * unit_q;
            }
          }
        }
        Values dS(V * K);
        for (int64_t t = sequence - 1; t >= 0; --t) {
          double unit_q = unit(q, keyAt(t)), unit_k = unit(k, keyAt(t)), d_alpha = 0, d_beta = 0;
          Values dq(K), dk(K);
          for (int64_t p = 0; p < V; ++p) {
            double e = d_y[headAt(t) * V + p], du = 0, known = 0;
            for (int64_t n = 0; n < K; ++n) {
              double kn = k[keyAt(t) + n] * unit_k;
              dS[p * K + n] += e * q[keyAt(t) + n] * unit_q * query_scale;
              dq[n] += e * S[(t + 1) * V * K + p * K + n] * query_scale;
              du += dS[p * K + n] * kn;
              known += before(t, p * K + n) * kn;
              dk[n] += dS[p * K + n] * U[t * V + p];
            }
            d_beta += du * (v[headAt(t) * V + p] - alpha[t] * known);
            d_v[headAt(t) * V + p] = beta[t] * du;
            for (int64_t n = 0; n < K; ++n) {
              double kn = k[keyAt(t) + n] * unit_k;
              d_alpha += (dS[p * K + n] - beta[t] * du * kn) * before(t, p * K + n);
              dk[n] -= beta[t] * alpha[t] * du * before(t, p * K + n);
              dS[p * K + n] = resets(t) ? 0 : alpha[t] * (dS[p * K + n] - beta[t] * du * kn);
            }
          }
          double x = a[headAt(t)] + dt_bias[h], d_exponent = -d_alpha * alpha[t];
          d_a[headAt(t)] = d_exponent * rate * sigmoid(x);
          d_dt_bias[h] += d_a[headAt(t)], d_a_log[h] += d_exponent * exponent[t];
          d_b[headAt(t)] = d_beta * beta[t] * (1 - beta[t] / scale);
          for (auto [from, unit, d, to] : {std::tuple(&q, unit_q, &dq, &d_q), std::tuple(&k, unit_k, &dk, &d_k)}) {
            double along = 0;
            for (int64_t n = 0; n < K; ++n)
              along += (*from)[keyAt(t) + n] * unit * (*d)[n];
            for (int64_t n = 0; n < K; ++n)
              (*to)[keyAt(t) + n] += unit * ((*d)[n] - (*from)[keyAt(t) + n] * unit * along);
          }
        }
      }
  }

  Call &setup(Call &call) const {
    MgType type = shape.type;
    call.give("q", type, q).give("k", type, k).give("v", type, v).give("b", type, b).give("a", type, a);
    call.give("a_log", MG_F32, a_log).give("dt_bias", MG_F32, dt_bias);
    if (shape.documents)
      call.give("documents", MG_I32, documents);
    call.set("batch", shape.batch).set("sequence", shape.sequence).set("heads", shape.heads).set("key_heads", shape.groups);
    return call.set("key", shape.key).set("value", shape.value).set("chunk", shape.chunk).set("neg_eigval", shape.neg_eigval);
  }
  int64_t stateCount() const {
    return shape.batch * shape.heads * ((shape.sequence + shape.chunk - 1) / shape.chunk) * shape.key * shape.value;
  }
};

void check(const Shape &shape) {
  Problem problem(shape);
  MgType type = shape.type;
  Call forward = MG_CALL(mg_gated_delta);
  problem.setup(forward).poisoned("y", type, problem.y.size()).poisoned("states", type, problem.stateCount());
  ASSERT_EQ(forward.run(), "");
  double error = relativeError(forward.read("y"), problem.y);
  EXPECT_LT(error, forwardLimit(type));
  std::printf("  y %.1e", error);
  Call without = MG_CALL(mg_gated_delta);
  problem.setup(without).poisoned("y", type, problem.y.size());
  ASSERT_EQ(without.run(), "");
  EXPECT_EQ(without.readBytes("y"), forward.readBytes("y"));

  std::pair<const char *, const Values *> results[] = {
      {"d_q", &problem.d_q}, {"d_k", &problem.d_k}, {"d_v", &problem.d_v}, {"d_b", &problem.d_b}, {"d_a", &problem.d_a}};
  std::pair<const char *, const Values *> sums[] = {{"d_a_log", &problem.d_a_log}, {"d_dt_bias", &problem.d_dt_bias}};
  std::vector<std::vector<char>> bits;
  for (bool has_states : {true, false}) {
    Call backward = MG_CALL(mg_gated_delta_grad);
    problem.setup(backward).give("d_y", type, problem.d_y);
    if (has_states)
      backward.give("states", type, forward.read("states"));
    for (auto [name, expected] : results)
      backward.poisoned(name, type, expected->size());
    for (auto [name, expected] : sums)
      backward.poisoned(name, MG_F32, expected->size());
    ASSERT_EQ(backward.run(), "");
    size_t place = 0;
    for (auto *list : {&results[0], &results[1], &results[2], &results[3], &results[4], &sums[0], &sums[1]}) {
      auto [name, expected] = *list;
      if (!has_states) {
        EXPECT_EQ(backward.readBytes(name), bits[place++]) << name << " without stored states";
        continue;
      }
      bits.push_back(backward.readBytes(name));
      if (shape.sequence == 1 && (name == std::string("d_a") || list == &sums[0] || list == &sums[1])) {
        EXPECT_LT(relativeError(backward.read(name), Values(expected->size())) * 1e-30, 1e-6) << name << ": nothing decays";
        continue;
      }
      error = relativeError(backward.read(name), *expected);
      EXPECT_LT(error, gradientLimit(type)) << name;
      std::printf("  %s %.1e", name, error);
    }
  }
  std::printf("\n");
}

} // namespace

TEST(GatedDeltaGpu, Sizes) {
  MG_NEEDS_CARD();
  check({2, 96, 2, 2, 64, 64, 64});
  check({1, 1, 2, 1, 32, 32, 16});
  check({2, 5, 3, 3, 8, 12, 64});
  check({1, 150, 2, 2, 128, 128, 64});
  check({1, 61, 2, 1, 17, 9, 16});
}

TEST(GatedDeltaGpu, SharedKeys) {
  MG_NEEDS_CARD();
  check({2, 40, 6, 2, 24, 16, 32});
}

TEST(GatedDeltaGpu, Documents) {
  MG_NEEDS_CARD();
  check({2, 96, 2, 2, 32, 48, 32, true});
  check({1, 75, 4, 2, 16, 16, 16, true, true});
}

TEST(GatedDeltaGpu, EveryChunk) {
  MG_NEEDS_CARD();
  for (int64_t chunk : {16, 32, 64, 128})
    check({1, 140, 2, 2, 32, 32, chunk, true, true});
}

TEST(GatedDeltaGpu, Long) {
  MG_NEEDS_CARD();
  check({1, 2048, 2, 2, 64, 64, 64});
}

TEST(GatedDeltaGpu, SinglePrecision) {
  MG_NEEDS_CARD();
  check({2, 50, 4, 2, 12, 20, 16, true, true, MG_F32});
  check({1, 100, 2, 2, 64, 64, 64, false, false, MG_F32});
}

TEST(GatedDeltaGpu, RefusesALongChunk) {
  MG_NEEDS_CARD();
  Problem problem({1, 2, 1, 1, 8, 8, 256});
  Call forward = MG_CALL(mg_gated_delta);
  problem.setup(forward).poisoned("y", MG_BF16, problem.y.size());
  EXPECT_NE(forward.run().find("chunk is 256, at most 128"), std::string::npos);
}
