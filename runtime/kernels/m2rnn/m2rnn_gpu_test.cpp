#include "runtime/kernels/GpuTestSupport.h"

#include <gtest/gtest.h>

using namespace megacc::gpu;

namespace {

struct Shape {
  int64_t batch, sequence, heads, key, value;
  bool documents = false;
  MgType type = MG_BF16;
  double weight_scale = 0.25;
};

/// A problem and its solution in float64, by the definition (conventions section 9).
struct Problem {
  Shape shape;
  Values q, k, v, f, a_log, dt_bias, weight, documents, d_y;
  Values y, d_q, d_k, d_v, d_f, d_a_log, d_dt_bias, d_weight;
  double norm = 0; // the mean of the last states of all rows and heads

  explicit Problem(const Shape &shape) : shape(shape) {
    auto [batch, sequence, heads, key, value, has_documents, type, scale] = shape;
    int64_t rows = batch * sequence;
    q = randomValues(rows * key, 1, 0.5, type), k = randomValues(rows * key, 2, 0.5, type),
    v = randomValues(rows * heads * value, 3, 1, type);
    f = randomValues(rows * heads, 4, 1, type), d_y = randomValues(rows * heads * value, 5, 1, type);
    a_log = randomValues(heads, 6, 1, MG_F32), dt_bias = randomValues(heads, 7, 1, MG_F32);
    for (double &bias : dt_bias)
      bias = rounded(bias - 3, MG_F32);
    weight = randomValues(heads * value * value, 8, scale / std::sqrt(double(value)), type);
    for (int64_t head = 0; head < heads; ++head)
      for (int64_t j = 0; j < value; ++j)
        weight[(head * value + j) * value + j] = rounded(weight[(head * value + j) * value + j] + 1, type);
    if (has_documents)
      for (int64_t row = 0; row < rows; ++row)
        documents.push_back(double((row * row / 37 + row / 5) / 3 % 7));
    solve();
  }

  void solve() {
    auto [batch, sequence, heads, key, value, has_documents, type, scale] = shape;
    y.assign(d_y.size(), 0), d_q.assign(q.size(), 0), d_k.assign(k.size(), 0), d_v.assign(v.size(), 0), d_f.assign(f.size(), 0);
    d_a_log.assign(heads, 0), d_dt_bias.assign(heads, 0), d_weight.assign(weight.size(), 0);
    int64_t state = key * value;
    for (int64_t b = 0; b < batch; ++b)
      for (int64_t head = 0; head < heads; ++head) {
        const double *w = &weight[head * value * value];
        Values h((sequence + 1) * state), z(sequence * state), keep(sequence), exponent(sequence), slope(sequence);
        auto resets = [&](int64_t t) {
          return t == 0 || (has_documents && documents[b * sequence + t] != documents[b * sequence + t - 1]);
        };
        auto before = [&](int64_t t, int64_t e) { return resets(t) ? 0.0 : h[t * state + e]; };
        for (int64_t t = 0; t < sequence; ++t) {
          int64_t row = b * sequence + t;
          double x = f[row * heads + head] + dt_bias[head], rate = std::exp(a_log[head]);
          exponent[t] = rate * (std::max(x, 0.0) + std::log1p(std::exp(-std::abs(x))));
          keep[t] = std::exp(-exponent[t]);
          slope[t] = rate * sigmoid(x);
          for (int64_t i = 0; i < key; ++i)
            for (int64_t j = 0; j < value; ++j) {
              double sum = k[row * key + i] * v[(row * heads + head) * value + j];
              for (int64_t l = 0; l < value; ++l)
                sum += before(t, i * value + l) * w[l * value + j];
              int64_t e = i * value + j;
              z[t * state + e] = std::tanh(sum);
              h[(t + 1) * state + e] = keep[t] * before(t, e) - std::expm1(-exponent[t]) * z[t * state + e];
              y[(row * heads + head) * value + j] += q[row * key + i] * h[(t + 1) * state + e];
            }
        }
        double square = 0;
        for (int64_t e = sequence * state; e < (sequence + 1) * state; ++e)
          square += h[e] * h[e];
        norm += std::sqrt(square) / double(batch * heads);
        Values a(state), x(state);
        for (int64_t t = sequence - 1; t >= 0; --t) {
          int64_t row = b * sequence + t;
          double take = -std::expm1(-exponent[t]), d_keep = 0;
          for (int64_t i = 0; i < key; ++i)
            for (int64_t j = 0; j < value; ++j) {
              int64_t e = i * value + j, column = (row * heads + head) * value + j;
              a[e] += q[row * key + i] * d_y[column];
              d_q[row * key + i] += h[(t + 1) * state + e] * d_y[column];
              d_keep += a[e] * (before(t, e) - z[t * state + e]);
              x[e] = take * a[e] * (1 - z[t * state + e] * z[t * state + e]);
              d_k[row * key + i] += x[e] * v[column];
              d_v[column] += x[e] * k[row * key + i];
            }
          double d_exponent = -d_keep * keep[t];
          d_f[row * heads + head] = d_exponent * slope[t];
          d_dt_bias[head] += d_exponent * slope[t];
          d_a_log[head] += d_exponent * exponent[t];
          for (int64_t i = 0; i < key; ++i)
            for (int64_t l = 0; l < value; ++l) {
              double sum = keep[t] * a[i * value + l];
              for (int64_t j = 0; j < value; ++j) {
                d_weight[(head * value + l) * value + j] += before(t, i * value + l) * x[i * value + j];
                sum += x[i * value + j] * w[l * value + j];
              }
              a[i * value + l] = resets(t) ? 0 : sum;
            }
        }
      }
  }

  Call &setup(Call &call) const {
    call.give("q", shape.type, q).give("k", shape.type, k).give("v", shape.type, v).give("f", shape.type, f);
    call.give("a_log", MG_F32, a_log).give("dt_bias", MG_F32, dt_bias).give("state_weight", shape.type, weight);
    if (shape.documents)
      call.give("documents", MG_I32, documents);
    call.set("batch", shape.batch).set("sequence", shape.sequence).set("heads", shape.heads);
    return call.set("key", shape.key).set("value", shape.value).set("interval", 16);
  }
  int64_t stateCount() const { return shape.batch * shape.heads * ((shape.sequence + 15) / 16) * shape.key * shape.value; }
};

void check(const Shape &shape) {
  Problem problem(shape);
  MgType type = shape.type;
  Call forward = MG_CALL(mg_m2rnn_scan);
  problem.setup(forward).poisoned("y", type, problem.y.size()).poisoned("states", type, problem.stateCount());
  ASSERT_EQ(forward.run(), "");
  double error = relativeError(forward.read("y"), problem.y);
  EXPECT_LT(error, forwardLimit(type));
  std::printf("  y %.1e", error);
  Call without = MG_CALL(mg_m2rnn_scan);
  problem.setup(without).poisoned("y", type, problem.y.size());
  ASSERT_EQ(without.run(), "");
  EXPECT_EQ(without.readBytes("y"), forward.readBytes("y"));
  Call measure = MG_CALL(mg_m2rnn_state_norm);
  problem.setup(measure).poisoned("norm", MG_F32, 1).setReal("share", 1.0 / double(shape.batch * shape.heads));
  ASSERT_EQ(measure.run(), "");
  EXPECT_NEAR(measure.read("norm")[0], problem.norm, 1e-4 * problem.norm);

  std::vector<std::vector<char>> bits;
  for (bool has_states : {true, false}) {
    Call backward = MG_CALL(mg_m2rnn_scan_grad);
    problem.setup(backward).give("d_y", type, problem.d_y);
    if (has_states)
      backward.give("states", type, forward.read("states"));
    Values before(problem.d_weight.size(), 0.5);
    backward.poisoned("d_q", type, problem.q.size()).poisoned("d_k", type, problem.k.size()).poisoned("d_v", type, problem.v.size());
    backward.poisoned("d_f", type, problem.f.size()).poisoned("d_a_log", MG_F32, shape.heads).poisoned("d_dt_bias", MG_F32, shape.heads);
    backward.give("d_state_weight", MG_F32, before).set("accumulate", 2);
    ASSERT_EQ(backward.run(), "");
    Values d_weight = backward.read("d_state_weight");
    for (double &value : d_weight)
      value -= 0.5;
    std::pair<const char *, const Values *> results[] = {{"d_q", &problem.d_q},         {"d_k", &problem.d_k},
                                                         {"d_v", &problem.d_v},         {"d_f", &problem.d_f},
                                                         {"d_a_log", &problem.d_a_log}, {"d_dt_bias", &problem.d_dt_bias}};
    for (auto [name, expected] : results) {
      error = relativeError(backward.read(name), *expected);
      EXPECT_LT(error, gradientLimit(type)) << name;
      if (has_states)
        std::printf("  %s %.1e", name, error);
    }
    error = relativeError(d_weight, problem.d_weight);
    EXPECT_LT(error, gradientLimit(type)) << "d_state_weight";
    if (has_states)
      std::printf("  d_state_weight %.1e\n", error);
    size_t place = 0;
    for (const char *name : {"d_q", "d_k", "d_v", "d_f", "d_a_log", "d_dt_bias", "d_state_weight"})
      if (has_states)
        bits.push_back(backward.readBytes(name));
      else
        EXPECT_EQ(backward.readBytes(name), bits[place++]) << name << " without stored states";
  }
}

} // namespace

TEST(M2rnnGpu, FastSizes) {
  MG_NEEDS_CARD();
  check({2, 96, 3, 64, 16});
  check({1, 1, 1, 64, 16});
  check({2, 16, 2, 64, 16});
  check({1, 17, 5, 64, 16});
  check({3, 61, 2, 64, 16});
}

TEST(M2rnnGpu, FastDocuments) {
  MG_NEEDS_CARD();
  check({2, 96, 3, 64, 16, true});
  check({1, 45, 2, 64, 16, true});
}

TEST(M2rnnGpu, FastLong) {
  MG_NEEDS_CARD();
  check({1, 4096, 2, 64, 16});
  check({1, 2048, 2, 64, 16, true, MG_BF16, 0.5});
}

TEST(M2rnnGpu, OtherSizes) {
  MG_NEEDS_CARD();
  check({2, 37, 3, 9, 5});
  check({2, 40, 2, 64, 64, true});
  check({1, 1, 1, 1, 1});
  check({2, 50, 2, 8, 4, true, MG_F32});
  check({1, 33, 2, 64, 16, true, MG_F32});
}

TEST(M2rnnGpu, RefusesLargeStates) {
  MG_NEEDS_CARD();
  Problem problem({1, 2, 1, 65, 2});
  Call forward = MG_CALL(mg_m2rnn_scan);
  problem.setup(forward).poisoned("y", MG_BF16, problem.y.size());
  EXPECT_NE(forward.run().find("key is 65 and value 2, at most 64"), std::string::npos);
}
