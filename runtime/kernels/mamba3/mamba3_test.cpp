#include "runtime/core/FastMath.h"
#include "runtime/core/TileProduct.h"
#include "runtime/kernels/TestSupport.h"

#include <chrono>
#include <cstdio>
#include <ctime>

using namespace megacc::test;

namespace {

struct Case {
  int64_t batch = 2, sequence = 24, heads = 4, groups = 2, rank = 3, head_dim = 6, state = 8;
  bool full_rope = false, heavy = false, mimo = true, norm = false;
  int64_t window = 64;
  std::vector<int32_t> documents = {}; // [batch, sequence] or empty
  bool gated = false;                  // the last part is taken from the logarithm of the decay

  int64_t angles() const { return state / (full_rope ? 2 : 4); }
  int64_t inner() const { return heads * head_dim; }
  int64_t keys() const { return rank * groups * state; }
  int64_t width() const { return 2 * inner() + 2 * keys() + 3 * heads + angles(); }
  int64_t rows() const { return batch * sequence; }
  int64_t parts() const { return 6 + (mimo ? 3 : 0) + norm + gated; }
  int64_t windows() const { return (sequence + window - 1) / window; }

  /// Sizes of the projection and the parameters.
  std::vector<size_t> sizes() const {
    std::vector<int64_t> all = {rows() * width(), heads, heads, heads * rank * state, heads * rank * state, state, state};
    if (mimo)
      all.insert(all.end(), 3, heads * rank * head_dim);
    if (norm)
      all.push_back(inner());
    if (gated)
      all.push_back(rows() * heads);
    return {all.begin(), all.end()};
  }
  Ints ints() const {
    return {{"batch", batch},       {"sequence", sequence}, {"heads", heads},     {"groups", groups}, {"rank", rank},
            {"head_dim", head_dim}, {"state", state},       {"angles", angles()}, {"window", window}, {"heavy", heavy},
            {"mimo", mimo},         {"out_norm", norm},     {"parts", parts()}};
  }
};

using Tensors = std::vector<Values>;

Tensors randomInputs(const Case &c, unsigned seed) {
  Tensors inputs;
  for (size_t size : c.sizes())
    inputs.push_back(randomValues(size, seed++, 1.0f));
  return inputs;
}

/// The recurrence token by token, in float64; `norm` becomes the mean norm of the last states of all rows and heads.
Doubles reference(const Case &c, const std::vector<Doubles> &in, double *norm = nullptr) {
  int64_t S = c.sequence, H = c.heads, R = c.rank, P = c.head_dim, N = c.state, G = c.groups, A = c.angles();
  auto soft = [](double v) { return std::max(v, 0.0) + std::log1p(std::exp(-std::abs(v))); };
  auto logistic = [](double v) { return 1 / (1 + std::exp(-v)); };
  Doubles y(c.rows() * c.inner());
  for (int64_t b = 0; b < c.batch; ++b)
    for (int64_t h = 0; h < H; ++h) {
      Doubles state(N * P), k_before(R * N), u_before(R * P), theta(A);
      for (int64_t t = 0; t < S; ++t) {
        const double *row = in[0].data() + (b * S + t) * c.width();
        bool starts = t == 0 || (!c.documents.empty() && c.documents[b * S + t] != c.documents[b * S + t - 1]);
        if (starts)
          for (Doubles *values : {&state, &k_before, &u_before, &theta})
            std::fill(values->begin(), values->end(), 0.0);
        const double *scalars = row + 2 * c.inner() + 2 * c.keys(), *angle = scalars + 3 * H;
        double delta = soft(scalars[h] + in[1][h]), v = scalars[H + h], lambda = logistic(scalars[2 * H + h]);
        double rate = c.heavy ? (v >= 0 ? 1 + v : 1 / (1 - v)) : soft(v), cut = c.gated ? in.back()[(b * S + t) * H + h] : 0.0;
        double alpha = std::exp(std::min(-rate, -1e-4) * delta - cut);
        for (int64_t j = 0; j < A; ++j)
          theta[j] += M_PI * std::tanh(angle[j]) * delta;
        Doubles key[2];
        for (int which : {0, 1}) {
          key[which].resize(R * N);
          for (int64_t r = 0; r < R; ++r) {
            const double *from = row + 2 * c.inner() + which * c.keys() + (r * G + h / (H / G)) * N;
            double squares = 0, *to = key[which].data() + r * N;
            for (int64_t n = 0; n < N; ++n)
              squares += from[n] * from[n];
            for (int64_t n = 0; n < N; ++n)
              to[n] = from[n] / std::sqrt(squares / N + 1e-5) * in[5 + which][n] + in[3 + which][(h * R + r) * N + n];
            for (int64_t j = 0; j < A; ++j) {
              double &first = to[c.mimo ? j : 2 * j], &second = to[c.mimo ? j + N / 2 : 2 * j + 1];
              double cosine = std::cos(theta[j]), sine = std::sin(theta[j]);
              double turned = first * cosine - second * sine;
              second = first * sine + second * cosine;
              first = turned;
            }
          }
        }
        auto mimo = [&](int which, int64_t r, int64_t p) { return c.mimo ? in[7 + which][(h * R + r) * P + p] : 1.0; };
        const double *x = row + c.inner() + h * P, *z = row + h * P;
        Doubles u(R * P);
        for (int64_t r = 0; r < R; ++r)
          for (int64_t p = 0; p < P; ++p)
            u[r * P + p] = x[p] * mimo(0, r, p);
        for (int64_t n = 0; n < N; ++n)
          for (int64_t p = 0; p < P; ++p) {
            double &value = state[n * P + p];
            value *= alpha;
            for (int64_t r = 0; r < R; ++r) {
              value += (1 - lambda) * delta * alpha * k_before[r * N + n] * u_before[r * P + p];
              value += lambda * delta * key[0][r * N + n] * u[r * P + p];
            }
          }
        double *out = y.data() + (b * S + t) * c.inner() + h * P;
        for (int64_t r = 0; r < R; ++r) {
          Doubles value(P);
          double squares = 0;
          for (int64_t p = 0; p < P; ++p) {
            value[p] = in[2][h] * u[r * P + p];
            for (int64_t n = 0; n < N; ++n)
              value[p] += key[1][r * N + n] * state[n * P + p];
            squares += value[p] * value[p];
          }
          for (int64_t p = 0; p < P; ++p) {
            double w = z[p] * mimo(1, r, p), scale = c.norm ? in[c.mimo ? 10 : 7][h * P + p] / std::sqrt(squares / P + 1e-5) : 1.0;
            out[p] += mimo(2, r, p) * value[p] * scale * w * logistic(w);
          }
        }
        k_before = key[0], u_before = u;
      }
      double square = 0;
      for (double value : state)
        square += value * value;
      if (norm)
        *norm += std::sqrt(square) / double(c.batch * H);
    }
  return y;
}

struct Results {
  Values y, psi_v;
  Tensors gradients;
};

/// Operands of a launch in the making.
struct Scan {
  Launch forward, backward;

  Scan(const Case &c, const Tensors &inputs, const Values &d_y, const Values &y, const Tensors &gradients, const Operand &states,
       const Operand &psi_v)
      : forward("mg_mamba3_scan", makeOperands(c, inputs, {{"y", y}, states, psi_v}), c.ints(), {{"eps", 1e-5}}),
        backward("mg_mamba3_scan_grad", makeOperands(c, inputs, makeGradients(gradients, {{"d_y", d_y}, states, psi_v})), c.ints(),
                 {{"eps", 1e-5}}) {}

  static std::vector<Operand> makeOperands(const Case &c, const Tensors &inputs, std::vector<Operand> operands) {
    operands.insert(operands.end(), {{"projection", inputs[0]}, Operand::documents(c.documents)});
    for (size_t i = 1; i < inputs.size(); ++i)
      operands.push_back({"parameter", inputs[i]});
    return operands;
  }
  static std::vector<Operand> makeGradients(const Tensors &gradients, std::vector<Operand> operands) {
    operands.push_back({"d_projection", gradients[0]});
    for (size_t i = 1; i < gradients.size(); ++i)
      operands.push_back({"d_parameter", gradients[i]});
    return operands;
  }
};

/// Both kernels; which of their caches are kept for the backward.
Results run(const Case &c, const Tensors &inputs, const Values &d_y, bool keep_states = true, bool keep_psi_v = false) {
  Results results;
  results.y.assign(c.rows() * c.inner(), NAN);
  Values states(c.batch * c.heads * c.windows() * c.state * c.head_dim, NAN);
  results.psi_v.assign(keep_psi_v ? c.rows() * c.inner() * c.rank : 0, NAN);
  for (const Values &values : inputs)
    results.gradients.emplace_back(values.size(), NAN);
  Scan scan(c, inputs, d_y, results.y, results.gradients, keep_states ? Operand("states", states) : Operand("states", nullptr),
            keep_psi_v ? Operand("psi_v", results.psi_v) : Operand("psi_v", nullptr));
  EXPECT_EQ(megacc::test::run(scan.forward), 0) << mg_last_error();
  EXPECT_EQ(megacc::test::run(scan.backward), 0) << mg_last_error();
  return results;
}

/// Compares y, and at most `samples` elements of every gradient (each segment of the projection is one) with central differences.
void check(const Case &c, const Tensors &inputs, int64_t samples = 1 << 20) {
  std::vector<Doubles> wide;
  for (const Values &values : inputs)
    wide.push_back(widen(values));
  Values d_y = randomValues(c.rows() * c.inner(), 99);
  Results results = run(c, inputs, d_y);
  double norm = 0;
  Doubles y = reference(c, wide, &norm);
  EXPECT_LT(relativeError(results.y, y), 1e-5);
  Values measured(1, NAN);
  ASSERT_EQ(call("mg_mamba3_state_norm", Scan::makeOperands(c, inputs, {{"norm", measured}}), c.ints(),
                 {{"eps", 1e-5}, {"share", 1.0 / double(c.batch * c.heads)}}),
            0);
  EXPECT_NEAR(measured[0], norm, 1e-5 * norm);

  auto objective = [&] {
    Doubles value = reference(c, wide);
    double sum = 0;
    for (size_t i = 0; i < value.size(); ++i)
      sum += d_y[i] * value[i];
    return sum;
  };
  auto compare = [&](const char *name, size_t tensor, const std::vector<size_t> &places) {
    double worst = 0, largest = 0;
    size_t step = std::max<size_t>(1, places.size() / samples);
    for (size_t i = 0; i < places.size(); i += step) {
      double &element = wide[tensor][places[i]], kept = element;
      element = kept + 1e-5;
      double above = objective();
      element = kept - 1e-5;
      double below = objective();
      element = kept;
      double expected = (above - below) / 2e-5, actual = results.gradients[tensor][places[i]];
      worst = std::isfinite(actual) ? std::max(worst, std::abs(actual - expected)) : INFINITY;
      largest = std::max(largest, std::abs(expected));
    }
    EXPECT_GT(largest, 0.0) << name;
    EXPECT_LE(worst, 1e-4 * largest) << name << ": " << worst << " of " << largest;
  };
  std::vector<std::pair<const char *, int64_t>> segments = {{"z", c.inner()},  {"x", c.inner()},     {"B", c.keys()},
                                                            {"C", c.keys()},   {"dd_dt", c.heads},   {"dd_A", c.heads},
                                                            {"trap", c.heads}, {"angle", c.angles()}};
  int64_t first = 0;
  for (auto [name, width] : segments) {
    std::vector<size_t> places;
    for (int64_t t = 0; t < c.rows(); ++t)
      for (int64_t i = 0; i < width; ++i)
        places.push_back(t * c.width() + first + i);
    compare(name, 0, places);
    first += width;
  }
  std::vector<const char *> names = {"dt_bias", "D", "B_bias", "C_bias", "B_norm", "C_norm"};
  if (c.mimo)
    names.insert(names.end(), {"mimo_x", "mimo_z", "mimo_o"});
  if (c.norm)
    names.push_back("norm");
  if (c.gated)
    names.push_back("cut");
  for (size_t i = 0; i < names.size(); ++i) {
    std::vector<size_t> places(inputs[i + 1].size());
    for (size_t j = 0; j < places.size(); ++j)
      places[j] = j;
    compare(names[i], i + 1, places);
  }
}

} // namespace

TEST(Mamba3, MatchesFiniteDifferences) { check({}, randomInputs({}, 1), 40); }

TEST(Mamba3, OneToken) {
  Case c = {.batch = 1, .sequence = 1, .heads = 2, .groups = 1, .rank = 2, .head_dim = 5};
  Tensors inputs = randomInputs(c, 2);
  Results results = run(c, inputs, Values(c.inner(), 1.0f));
  std::vector<Doubles> wide;
  for (const Values &values : inputs)
    wide.push_back(widen(values));
  EXPECT_LT(relativeError(results.y, reference(c, wide)), 1e-5);
  for (const Values &gradient : results.gradients)
    for (float value : gradient)
      EXPECT_TRUE(std::isfinite(value));
}

TEST(Mamba3, EveryRankStateAndVariant) {
  const bool full = true, heavy = true, siso = false, norm = true;
  for (const Case &c : {Case{1, 70, 2, 2, 1, 16, 16, false, false, siso}, Case{1, 3, 2, 1, 1, 7, 6, full, false, siso, norm},
                        Case{1, 67, 2, 1, 1, 8, 16, full, heavy}, Case{2, 33, 2, 1, 2, 32, 64, false, false, true, norm},
                        Case{1, 17, 3, 3, 4, 20, 12, full, heavy, true, norm}, Case{1, 19, 2, 1, 5, 9, 20},
                        Case{1, 9, 1, 1, 8, 128, 128, full}, Case{1, 5, 1, 1, 40, 4, 4, false, heavy}}) {
    SCOPED_TRACE(c.rank);
    check(c, randomInputs(c, 3), 12);
  }
}

TEST(Mamba3, SeveralWindowsAndTasksOfAGroup) {
  Case c = {.batch = 1, .sequence = 150, .heads = 4, .groups = 1, .rank = 2, .head_dim = 4, .state = 8, .norm = true, .window = 64};
  check(c, randomInputs(c, 4), 12);
  c = {.batch = 8, .sequence = 9, .heads = 4, .groups = 2, .rank = 2, .head_dim = 4, .state = 4};
  check(c, randomInputs(c, 5), 12);
}

TEST(Mamba3, DocumentsRestart) {
  Case c = {.batch = 2, .sequence = 75, .heads = 2, .groups = 1, .rank = 4, .head_dim = 4, .state = 8, .window = 64};
  c.documents.assign(c.rows(), 0);
  for (int64_t t = 0; t < c.rows(); ++t) // starts inside chunks, at their edges, at a window's edge, and one-token documents
    c.documents[t] = t < c.sequence ? (t >= 5) + (t >= 16) + (t >= 17) + (t >= 30) + (t >= 64) - 2 * (t >= 71) : t / 3;
  check(c, randomInputs(c, 6), 16);
  c.mimo = false, c.rank = 1;
  check(c, randomInputs(c, 7), 8);
}

/// Cuts of a state gate: half a decay on average, with every variant, over windows and documents.
TEST(Mamba3, StateGate) {
  Case plain = {.batch = 2, .sequence = 20, .gated = true}, long_one = {.batch = 1, .sequence = 75, .heads = 2, .groups = 1, .norm = true};
  Case siso = {.batch = 1, .sequence = 40, .heads = 2, .groups = 2, .rank = 1, .mimo = false, .gated = true};
  long_one.gated = true, long_one.documents.assign(75, 0);
  for (int64_t t = 0; t < 75; ++t)
    long_one.documents[t] = (t >= 5) + (t >= 16) + (t >= 17) + (t >= 64);
  for (const Case &c : {plain, long_one, siso, Case{.batch = 1, .sequence = 2, .heads = 2, .groups = 1, .gated = true}}) {
    Tensors inputs = randomInputs(c, 14);
    for (float &cut : inputs.back())
      cut = std::abs(cut);
    check(c, inputs, 16);
  }
}

/// Nothing cut is no gate; everything is a document that starts, but for the angles, which a cut does not show.
TEST(Mamba3, StateGateOpenAndShut) {
  Case gated = {.batch = 1, .sequence = 50, .heads = 2, .groups = 1, .gated = true}, plain = gated;
  plain.gated = false;
  Tensors inputs = randomInputs(gated, 15), without(inputs.begin(), inputs.end() - 1);
  Values d_y = randomValues(gated.rows() * gated.inner(), 16);
  std::fill(inputs.back().begin(), inputs.back().end(), 0.0f);
  Results open = run(gated, inputs, d_y), none = run(plain, without, d_y);
  EXPECT_EQ(open.y, none.y);
  EXPECT_TRUE(std::equal(none.gradients.begin(), none.gradients.end(), open.gradients.begin()));
  std::fill(inputs.back().begin(), inputs.back().end(), 800.0f);
  plain.documents.resize(plain.rows());
  for (int64_t t = 0; t < plain.rows(); ++t)
    plain.documents[t] = int32_t(t);
  EXPECT_LT(relativeError(run(gated, inputs, d_y).y, widen(run(plain, without, d_y).y)), 1e-5);
}

TEST(Mamba3, ExtremeStepsDecaysAndAngles) {
  Case c = {.batch = 1, .sequence = 40, .heads = 2, .groups = 1, .rank = 2, .head_dim = 8, .state = 8, .full_rope = true};
  Tensors inputs = randomInputs(c, 8);
  int64_t scalars = 2 * c.inner() + 2 * c.keys(), H = c.heads;
  for (int64_t t = 0; t < c.rows(); ++t)
    for (int64_t h = 0; h < H; ++h) {
      float *row = inputs[0].data() + t * c.width() + scalars;
      row[h] += 3.0f;                                                      // steps of about 3: angles wrap at every token
      row[H + h] = t % 5 == 0 ? 100.0f : t % 5 == 1 ? -20.0f : row[H + h]; // decays of about -300 and of the floor
      row[2 * H + h] = t % 3 == 0 ? 20.0f : t % 3 == 1 ? -20.0f : row[2 * H + h];
    }
  check(c, inputs, 60);
  for (int64_t t = 0; t < c.rows(); ++t)
    for (int64_t h = 0; h < H; ++h) {
      float *row = inputs[0].data() + t * c.width() + scalars;
      row[h] = -8.0f - inputs[1][h], row[H + h] = -30.0f + float(t % 7); // decays of about -1e-7
    }
  Values d_y = randomValues(c.rows() * c.inner(), 9);
  for (const Values &gradient : run(c, inputs, d_y).gradients)
    for (float value : gradient)
      EXPECT_TRUE(std::isfinite(value));
}

TEST(Mamba3, SameBitsAtAnyNumberOfThreadsAndWindow) {
  Case c = {.batch = 2, .sequence = 200, .heads = 6, .groups = 2, .rank = 4, .head_dim = 16, .state = 16, .norm = true};
  Tensors inputs = randomInputs(c, 10);
  Values d_y = randomValues(c.rows() * c.inner(), 11);
  mg_cpu_set_threads(1);
  Results one = run(c, inputs, d_y);
  for (int threads : {2, 3}) {
    mg_cpu_set_threads(threads);
    Results more = run(c, inputs, d_y);
    EXPECT_EQ(one.y, more.y);
    EXPECT_EQ(one.gradients, more.gradients);
  }
  c.window = 256;
  EXPECT_EQ(run(c, inputs, d_y).gradients, one.gradients);
}

TEST(Mamba3, SameBitsWithEveryChoiceOfCaches) {
  Case packed = {.batch = 2, .sequence = 150, .heads = 4, .groups = 2, .rank = 3, .head_dim = 10, .state = 16, .norm = true};
  packed.documents.assign(packed.rows(), 0);
  for (int64_t t = 0; t < packed.rows(); ++t) // starts inside chunks, at a window's edge, and off both
    packed.documents[t] = (t >= 5) + (t >= 16) + (t >= 17) + (t >= 64) + (t >= 100);
  Case siso = {.batch = 1, .sequence = 75, .heads = 2, .groups = 1, .rank = 1, .head_dim = 8, .state = 8, .mimo = false};
  for (const Case &c : {packed, siso, Case{1, 5, 2, 1, 2, 4, 4}}) {
    Tensors inputs = randomInputs(c, 12);
    Values d_y = randomValues(c.rows() * c.inner(), 13);
    Results plain = run(c, inputs, d_y);
    for (auto [states, psi_v] : {std::pair{false, false}, {true, true}, {false, true}}) {
      Results other = run(c, inputs, d_y, states, psi_v && c.mimo);
      EXPECT_EQ(plain.y, other.y);
      EXPECT_EQ(plain.gradients, other.gradients);
    }
  }
}

TEST(Mamba3, PsiVIsTheProductOfItsFactors) {
  Case c = {.batch = 2, .sequence = 75, .heads = 4, .groups = 2, .rank = 3, .head_dim = 10, .state = 16};
  Tensors inputs = randomInputs(c, 12);
  Results cached = run(c, inputs, randomValues(c.rows() * c.inner(), 13), /*keep_states=*/true, /*keep_psi_v=*/true);
  const Values &projection = inputs[0], &mimo_x = inputs[7];
  int64_t width = int64_t(projection.size()) / c.rows();
  for (int64_t t = 0; t < c.rows(); ++t)
    for (int64_t h = 0; h < c.heads; ++h)
      for (int64_t r = 0; r < c.rank; ++r)
        for (int64_t p = 0; p < c.head_dim; ++p)
          ASSERT_EQ(cached.psi_v[((t * c.heads + h) * c.rank + r) * c.head_dim + p],
                    projection[t * width + c.inner() + h * c.head_dim + p] * mimo_x[(h * c.rank + r) * c.head_dim + p]);
}

TEST(FastMath, SoftplusSineAndCosineAreAccurate) {
  double softplus_error = 0, sine_error = 0;
  for (int i = -400000; i <= 400000; ++i) {
    float x = float(i) * 1e-4f, angle = float(i) * 2e-3f, sine, cosine;
    double soft = std::max(double(x), 0.0) + std::log1p(std::exp(-std::abs(double(x))));
    softplus_error = std::max(softplus_error, std::abs(megacc::runtime::softplus(x) / soft - 1));
    megacc::runtime::sinCos(angle, sine, cosine);
    sine_error = std::max({sine_error, std::abs(sine - std::sin(double(angle))), std::abs(cosine - std::cos(double(angle)))});
  }
  EXPECT_LT(softplus_error, 4e-7);
  EXPECT_LT(sine_error, 1.5e-7);
  EXPECT_EQ(megacc::runtime::softplus(200.0f), 200.0f);
  EXPECT_TRUE(std::isnan(megacc::runtime::softplus(NAN)));
}

TEST(TileProduct, MatchesAPlainLoopForEveryNumberOfRows) {
  for (int64_t m = 1; m <= 13; ++m)
    for (int64_t n : {8, 16, 40})
      for (bool transposed : {false, true}) {
        int64_t k = 7, stride = 48;
        Values a = randomValues(m * k, 1), b = randomValues(k * stride, 2), c(m * stride, 1.0f), transpose(stride * 16);
        Doubles expected(m * n);
        for (int64_t i = 0; i < m; ++i)
          for (int64_t j = 0; j < n; ++j) {
            expected[i * n + j] = 1.0;
            for (int64_t l = 0; l < k; ++l)
              expected[i * n + j] += double(a[transposed ? l * m + i : i * k + l]) * b[l * stride + j];
          }
        megacc::runtime::Factor factor = {a.data(), transposed ? 1 : k, transposed ? m : 1};
        megacc::runtime::tileProduct(m, n, k, factor, b.data(), stride, c.data(), stride, true);
        Values rows;
        for (int64_t i = 0; i < m; ++i)
          rows.insert(rows.end(), c.begin() + i * stride, c.begin() + i * stride + n);
        EXPECT_LT(relativeError(rows, expected), 1e-6);
      }
  Values from = randomValues(16 * 24, 3), to(24 * 16);
  megacc::runtime::tileTranspose(16, 24, from.data(), 24, to.data(), 16);
  for (int64_t i = 0; i < 16; ++i)
    for (int64_t j = 0; j < 24; ++j)
      EXPECT_EQ(to[j * 16 + i], from[i * 24 + j]);
}

// The scan of one M block of nam56r-tiny: --gtest_also_run_disabled_tests --gtest_filter=Mamba3.DISABLED_Speed
TEST(Mamba3, DISABLED_Speed) {
  const bool siso = false;
  for (Case c : {Case{8, 256, 8, 4, 4, 32, 32}, Case{8, 256, 8, 4, 1, 32, 32, false, false, siso}, Case{1, 1024, 16, 1, 4, 64, 128}}) {
    c.window = 256;
    Tensors inputs = randomInputs(c, 1);
    Values d_y = randomValues(c.rows() * c.inner(), 2), y(d_y.size()), states(c.batch * c.heads * c.windows() * c.state * c.head_dim);
    const Tensors &gradients = inputs;
    Scan scan(c, inputs, d_y, y, gradients, {"states", states}, {"psi_v", nullptr});
    // Declared products, conventions 17, with chunks of 64 rows.
    double flops = double(c.rows()) * c.heads * (2.0 * c.rank * 64 * (c.state + c.head_dim) + 4.0 * c.rank * c.state * c.head_dim);
    for (bool gradient : {false, true}) {
      double wall = 1e9, busy = 1e9; // busy: processor time of all threads
      for (int i = 0; i < 20; ++i) {
        auto begin = std::chrono::steady_clock::now();
        std::clock_t clock = std::clock();
        megacc::test::run(gradient ? scan.backward : scan.forward);
        busy = std::min(busy, double(std::clock() - clock) / CLOCKS_PER_SEC);
        wall = std::min(wall, std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
      }
      std::printf("rank %d state %d: %s %.1f ms, %.1f ms busy, %.1f GFLOP/s a core\n", int(c.rank), int(c.state),
                  gradient ? "backward" : "forward", wall * 1e3, busy * 1e3, (gradient ? 2 : 1) * flops / busy * 1e-9);
    }
  }
}
