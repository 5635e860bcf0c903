// The Mamba-3 scan on the card against the recurrence and its reverse in float64, on inputs rounded to bf16.
#include "megacc/StepABI.h"
#include "runtime/core/Launch.h"

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <cuda_bf16.h>
#include <cuda_runtime.h>
#include <gtest/gtest.h>
#include <random>

extern "C" int32_t mg_mamba3_scan(const MgLaunch *launch);
extern "C" int32_t mg_mamba3_scan_grad(const MgLaunch *launch);
extern "C" int32_t mg_mamba3_state_norm(const MgLaunch *launch);

namespace {

using Doubles = std::vector<double>;

double rounded(double value) { return __bfloat162float(__float2bfloat16(float(value))); }

struct Case {
  int64_t batch = 1, sequence = 40, heads = 4, groups = 2, rank = 4, head_dim = 64, state = 128;
  bool full_rope = false, heavy = false, mimo = true, norm = false;
  int64_t window = 64;
  std::vector<int32_t> documents = {}; // [batch, sequence] or empty
  bool bf16_norms = true;
  bool gated = false; // the last parameter is taken from the logarithm of the decay

  int64_t angles() const { return state / (full_rope ? 2 : 4); }
  int64_t inner() const { return heads * head_dim; }
  int64_t keys() const { return rank * groups * state; }
  int64_t width() const { return 2 * inner() + 2 * keys() + 3 * heads + angles(); }
  int64_t rows() const { return batch * sequence; }
  int64_t windows() const { return (sequence + window - 1) / window; }
  int64_t stateCount() const { return batch * heads * windows() * state * head_dim; }
  std::vector<int64_t> parameterSizes() const {
    std::vector<int64_t> sizes = {heads, heads, heads * rank * state, heads * rank * state, state, state};
    if (mimo)
      sizes.insert(sizes.end(), 3, heads * rank * head_dim);
    if (norm)
      sizes.push_back(inner());
    if (gated)
      sizes.push_back(rows() * heads);
    return sizes;
  }
  bool isBf16(size_t parameter) const { return bf16_norms && (parameter == 4 || parameter == 5 || (norm && parameter == (mimo ? 9 : 6))); }
  bool starts(int64_t b, int64_t t) const {
    return t == 0 || (!documents.empty() && documents[b * sequence + t] != documents[b * sequence + t - 1]);
  }
  std::vector<int64_t> ints() const {
    return {batch, sequence, heads, groups, rank, head_dim, state, angles(), window, heavy, mimo, norm, int64_t(parameterSizes().size())};
  }

  /// Bytes of scratch, as the records of lib/Kernels promise them.
  int64_t scratch(bool backward, bool has_states = true) const {
    int64_t P = head_dim > 64 ? 128 : 64, N = state > 64 || P == 128 ? 128 : 64,
            R = rank > 4   ? 8
                : rank > 1 ? 4
                           : 1,
            A = (angles() + 7) / 8 * 8;
    int64_t chunks = (sequence * R + 63) / 64, T = rows(), size = N * P, all = batch * heads * windows(), total = 0;
    auto take = [&](int64_t bytes) { total += (bytes + 63) / 64 * 64; };
    take(4 * 2 * N), take(2 * 2 * heads * R * N);
    for (int i = 0; i < 3; ++i)
      take(4 * heads * R * P);
    take(4 * heads * P), take(2 * 2 * T * groups * R * N), take(4 * T * A);
    for (int i = 0; i < 4; ++i)
      take(4 * T * heads);
    take(4 * T * heads * A);
    bool whole = windows() > 1 && batch * heads >= 96;
    if (!whole && (!backward || !has_states))
      take(4 * all * size), take(4 * all);
    if (!backward)
      return total;
    if (!has_states)
      take(2 * stateCount());
    int64_t slices = std::max<int64_t>(1, groups * chunks / 2048), slice_heads = (groups + slices - 1) / slices * (heads / groups);
    int64_t sums = 2 * R * N + 3 * R * P + P + 8;
    take(2 * slice_heads * chunks * size), take(2 * slice_heads * chunks * size), take(4 * slice_heads * windows() * size);
    take(4 * slice_heads * windows()), take(2 * slice_heads * windows() * size), take(4 * slice_heads * chunks);
    if (norm)
      take(2 * slice_heads * chunks * 64 * P);
    take(4 * slice_heads * chunks * sums), take(4 * heads * sums);
    for (int i = 0; i < 4; ++i)
      take(4 * T * heads);
    take(4 * T * heads * A), take(4 * T * heads * A), take(4 * 2 * T * groups * R * N), take(4 * batch * heads),
        take(4 * ((T + 15) / 16) * 2 * N);
    return total;
  }
};

/// The projection, then the parameters; d_y last in `d_y`.
struct Inputs {
  std::vector<Doubles> tensors;
  Doubles d_y;

  Inputs(const Case &c, unsigned seed) {
    std::mt19937 generator(seed);
    std::normal_distribution<double> normal;
    auto fill = [&](int64_t count, bool is_bf16) {
      Doubles values(count);
      for (double &value : values)
        value = is_bf16 ? rounded(normal(generator)) : double(float(normal(generator)));
      return values;
    };
    tensors.push_back(fill(c.rows() * c.width(), true));
    for (size_t i = 0; i < c.parameterSizes().size(); ++i)
      tensors.push_back(fill(c.parameterSizes()[i], c.isBf16(i)));
    // As models begin: steps of about 0.05, norms and skips of about 1, mimo parameters of about 1 / rank.
    auto shift = [](Doubles &values, double mean, double scale) {
      for (double &value : values)
        value = rounded(mean + scale * value);
    };
    shift(tensors[1], -3, 1), shift(tensors[2], 1, 0.1), shift(tensors[5], 1, 0.1), shift(tensors[6], 1, 0.1);
    for (int which = 7; c.mimo && which < 10; ++which)
      shift(tensors[which], 0, 1.0 / c.rank);
    if (c.norm)
      shift(tensors[c.mimo ? 10 : 7], 1, 0.1);
    if (c.gated)
      for (double &cut : tensors.back())
        cut = std::abs(cut) / 4;
    d_y = fill(c.rows() * c.inner(), true);
  }
};

struct Expected {
  Doubles y;
  std::vector<Doubles> gradients; // of Inputs::tensors
  double norm = 0;                // the mean of the last states of all rows and heads
};

/// One head of one batch row of the recurrence, forward and in reverse.
class ReferenceHead {
public:
  ReferenceHead(const Case &c, const Inputs &in, int64_t b, int64_t h, Expected &out, Doubles &d_keys)
      : c(c), in(in), out(out), d_keys(d_keys), b(b), h(h), N(c.state), P(c.head_dim), R(c.rank), A(c.angles()) {}

  void run(bool backward) {
    int64_t S = c.sequence;
    steps.resize(S);
    for (int64_t t = 0; t < S; ++t)
      forward(t);
    double square = 0;
    for (double value : steps.back().state)
      square += value * value;
    out.norm += std::sqrt(square) / double(c.batch * c.heads);
    if (!backward)
      return;
    G.assign(N * P, 0), d_k_next.assign(R * N, 0), d_u_next.assign(R * P, 0), d_theta.assign(A, 0);
    for (int64_t t = S - 1; t >= 0; --t)
      reverse(t);
  }

private:
  struct Step {
    Doubles state, theta, key[2], u, y;
    double delta, lambda, rate, alpha;
  };
  static double logistic(double v) { return 1 / (1 + std::exp(-v)); }
  static double soft(double v) { return std::max(v, 0.0) + std::log1p(std::exp(-std::abs(v))); }
  int64_t at(int64_t t, int64_t column) const { return (b * c.sequence + t) * c.width() + column; }
  int64_t scalars() const { return 2 * c.inner() + 2 * c.keys(); }
  int64_t keyColumn(int which, int64_t r) const { return 2 * c.inner() + which * c.keys() + (r * c.groups + h / (c.heads / c.groups)) * N; }
  double mimo(int which, int64_t r, int64_t p) const { return c.mimo ? in.tensors[7 + which][(h * R + r) * P + p] : 1.0; }
  double norm(int64_t p) const { return c.norm ? in.tensors[c.mimo ? 10 : 7][h * P + p] : 1.0; }
  int64_t cutAt(int64_t t) const { return (b * c.sequence + t) * c.heads + h; }
  std::pair<int64_t, int64_t> pair(int64_t j) const { return c.mimo ? std::pair{j, j + N / 2} : std::pair{2 * j, 2 * j + 1}; }

  void forward(int64_t t) {
    const Doubles &projection = in.tensors[0];
    Step &now = steps[t];
    bool starts = c.starts(b, t);
    double v = projection[at(t, scalars() + c.heads + h)];
    now.delta = soft(projection[at(t, scalars() + h)] + in.tensors[1][h]),
    now.lambda = logistic(projection[at(t, scalars() + 2 * c.heads + h)]);
    now.rate = c.heavy ? (v >= 0 ? 1 + v : 1 / (1 - v)) : soft(v);
    now.alpha = starts ? 0 : std::exp(-std::max(now.rate, 1e-4) * now.delta - (c.gated ? in.tensors.back()[cutAt(t)] : 0));
    now.theta = starts ? Doubles(A) : steps[t - 1].theta;
    for (int64_t j = 0; j < A; ++j)
      now.theta[j] += M_PI * std::tanh(projection[at(t, scalars() + 3 * c.heads + j)]) * now.delta;
    for (int which : {0, 1}) {
      now.key[which].resize(R * N);
      for (int64_t r = 0; r < R; ++r) {
        double squares = 0, *to = now.key[which].data() + r * N;
        for (int64_t n = 0; n < N; ++n)
          squares += std::pow(projection[at(t, keyColumn(which, r) + n)], 2);
        for (int64_t n = 0; n < N; ++n)
          to[n] = projection[at(t, keyColumn(which, r) + n)] / std::sqrt(squares / N + 1e-5) * in.tensors[5 + which][n] +
                  in.tensors[3 + which][(h * R + r) * N + n];
        for (int64_t j = 0; j < A; ++j) {
          auto [low, high] = pair(j);
          double a = to[low], d = to[high], cosine = std::cos(now.theta[j]), sine = std::sin(now.theta[j]);
          to[low] = a * cosine - d * sine, to[high] = a * sine + d * cosine;
        }
      }
    }
    now.u.resize(R * P), now.y.assign(R * P, 0);
    for (int64_t r = 0; r < R; ++r)
      for (int64_t p = 0; p < P; ++p)
        now.u[r * P + p] = projection[at(t, c.inner() + h * P + p)] * mimo(0, r, p);
    now.state = starts ? Doubles(N * P) : steps[t - 1].state;
    double beta = (1 - now.lambda) * now.delta * now.alpha, gamma = now.lambda * now.delta;
    for (int64_t n = 0; n < N; ++n)
      for (int64_t p = 0; p < P; ++p) {
        double &value = now.state[n * P + p];
        value *= now.alpha;
        for (int64_t r = 0; r < R; ++r) {
          if (!starts)
            value += beta * steps[t - 1].key[0][r * N + n] * steps[t - 1].u[r * P + p];
          value += gamma * now.key[0][r * N + n] * now.u[r * P + p];
        }
      }
    for (int64_t r = 0; r < R; ++r) {
      double squares = 0;
      for (int64_t p = 0; p < P; ++p) {
        double &y = now.y[r * P + p];
        y = in.tensors[2][h] * now.u[r * P + p];
        for (int64_t n = 0; n < N; ++n)
          y += now.key[1][r * N + n] * now.state[n * P + p];
        squares += y * y;
      }
      double scale = c.norm ? 1 / std::sqrt(squares / P + 1e-5) : 1.0;
      for (int64_t p = 0; p < P; ++p) {
        double w = projection[at(t, h * P + p)] * mimo(1, r, p);
        out.y[((b * c.sequence + t) * c.heads + h) * P + p] += mimo(2, r, p) * now.y[r * P + p] * scale * norm(p) * w * logistic(w);
      }
    }
  }

  void reverse(int64_t t) {
    const Doubles &projection = in.tensors[0];
    std::vector<Doubles> &to = out.gradients;
    Step &now = steps[t];
    bool starts = c.starts(b, t);
    Doubles E(R * P), d_u = d_u_next, d_key[2] = {d_k_next, Doubles(R * N)};
    for (int64_t r = 0; r < R; ++r) {
      double squares = 0, products = 0;
      for (int64_t p = 0; p < P; ++p)
        squares += now.y[r * P + p] * now.y[r * P + p];
      double scale = c.norm ? 1 / std::sqrt(squares / P + 1e-5) : 1.0;
      for (int64_t p = 0; p < P; ++p) {
        double z = projection[at(t, h * P + p)], w = z * mimo(1, r, p), gate = logistic(w), unit = now.y[r * P + p] * scale;
        double d = in.d_y[((b * c.sequence + t) * c.heads + h) * P + p];
        double d_w = d * mimo(2, r, p) * unit * norm(p) * gate * (1 + w * (1 - gate)), e = d * mimo(2, r, p) * w * gate;
        to[0][at(t, h * P + p)] += d_w * mimo(1, r, p);
        if (c.mimo) {
          to[8][(h * R + r) * P + p] += d_w * z;
          to[9][(h * R + r) * P + p] += d * unit * norm(p) * w * gate;
        }
        if (c.norm)
          to[c.mimo ? 10 : 7][h * P + p] += e * unit;
        E[r * P + p] = e * norm(p), products += E[r * P + p] * now.y[r * P + p];
      }
      if (c.norm)
        for (int64_t p = 0; p < P; ++p)
          E[r * P + p] = scale * (E[r * P + p] - now.y[r * P + p] * products * scale * scale / P);
    }
    double gamma = now.lambda * now.delta, beta = (1 - now.lambda) * now.delta * now.alpha, d_alpha = 0, d_beta = 0, d_gamma = 0;
    Doubles d_k_before(R * N), d_u_before(R * P);
    for (int64_t r = 0; r < R; ++r)
      for (int64_t p = 0; p < P; ++p) {
        to[2][h] += E[r * P + p] * now.u[r * P + p], d_u[r * P + p] += in.tensors[2][h] * E[r * P + p];
        for (int64_t n = 0; n < N; ++n) {
          G[n * P + p] += now.key[1][r * N + n] * E[r * P + p];
          d_key[1][r * N + n] += now.state[n * P + p] * E[r * P + p];
        }
      }
    for (int64_t n = 0; n < N; ++n)
      for (int64_t p = 0; p < P; ++p) {
        double g = G[n * P + p];
        if (!starts)
          d_alpha += g * steps[t - 1].state[n * P + p];
        for (int64_t r = 0; r < R; ++r) {
          d_gamma += g * now.key[0][r * N + n] * now.u[r * P + p];
          d_key[0][r * N + n] += gamma * g * now.u[r * P + p], d_u[r * P + p] += gamma * g * now.key[0][r * N + n];
          if (starts)
            continue;
          d_beta += g * steps[t - 1].key[0][r * N + n] * steps[t - 1].u[r * P + p];
          d_k_before[r * N + n] += beta * g * steps[t - 1].u[r * P + p], d_u_before[r * P + p] += beta * g * steps[t - 1].key[0][r * N + n];
        }
        G[n * P + p] = now.alpha * g;
      }
    d_k_next = d_k_before, d_u_next = d_u_before;
    for (int64_t r = 0; r < R; ++r)
      for (int64_t p = 0; p < P; ++p) {
        to[0][at(t, c.inner() + h * P + p)] += d_u[r * P + p] * mimo(0, r, p);
        if (c.mimo)
          to[7][(h * R + r) * P + p] += d_u[r * P + p] * projection[at(t, c.inner() + h * P + p)];
      }
    double d_a = now.alpha * (d_alpha + (1 - now.lambda) * now.delta * d_beta);
    if (c.gated)
      to.back()[cutAt(t)] = -d_a;
    double d_delta = (1 - now.lambda) * now.alpha * d_beta + now.lambda * d_gamma - std::max(now.rate, 1e-4) * d_a;
    double d_lambda = now.delta * (d_gamma - now.alpha * d_beta);
    for (int which : {0, 1})
      for (int64_t r = 0; r < R; ++r) {
        double *d = d_key[which].data() + r * N;
        const double *key = now.key[which].data() + r * N;
        for (int64_t j = 0; j < A; ++j) {
          auto [low, high] = pair(j);
          double a = d[low], e = d[high], cosine = std::cos(now.theta[j]), sine = std::sin(now.theta[j]);
          d_theta[j] += key[low] * e - key[high] * a;
          d[low] = a * cosine + e * sine, d[high] = e * cosine - a * sine;
        }
        for (int64_t n = 0; n < N; ++n) {
          to[3 + which][(h * R + r) * N + n] += d[n];
          d_keys[at(t, keyColumn(which, r) + n)] += d[n];
        }
      }
    for (int64_t j = 0; j < A; ++j) {
      double turn = std::tanh(projection[at(t, scalars() + 3 * c.heads + j)]);
      d_delta += M_PI * turn * d_theta[j];
      to[0][at(t, scalars() + 3 * c.heads + j)] += M_PI * now.delta * (1 - turn * turn) * d_theta[j];
    }
    if (starts)
      std::fill(d_theta.begin(), d_theta.end(), 0.0);
    double v = projection[at(t, scalars() + c.heads + h)], slope = c.heavy ? (v >= 0 ? 1 : now.rate * now.rate) : logistic(v);
    double d_dt = d_delta * logistic(projection[at(t, scalars() + h)] + in.tensors[1][h]);
    to[0][at(t, scalars() + h)] = d_dt, to[1][h] += d_dt;
    to[0][at(t, scalars() + c.heads + h)] = now.rate >= 1e-4 ? -slope * now.delta * d_a : 0;
    to[0][at(t, scalars() + 2 * c.heads + h)] = d_lambda * now.lambda * (1 - now.lambda);
  }

  const Case &c;
  const Inputs &in;
  Expected &out;
  Doubles &d_keys;
  int64_t b, h, N, P, R, A;
  std::vector<Step> steps;
  Doubles G, d_k_next, d_u_next, d_theta;
};

Expected reference(const Case &c, const Inputs &in, bool backward = true) {
  Expected out;
  out.y.assign(c.rows() * c.inner(), 0);
  for (const Doubles &tensor : in.tensors)
    out.gradients.emplace_back(tensor.size());
  Doubles d_keys(in.tensors[0].size());
  for (int64_t b = 0; b < c.batch; ++b)
    for (int64_t h = 0; h < c.heads; ++h)
      ReferenceHead(c, in, b, h, out, d_keys).run(backward);
  for (int64_t t = 0; backward && t < c.rows(); ++t)
    for (int which : {0, 1})
      for (int64_t v = 0; v < c.rank * c.groups; ++v) {
        int64_t at = t * c.width() + 2 * c.inner() + which * c.keys() + v * c.state;
        double squares = 0, products = 0;
        for (int64_t n = 0; n < c.state; ++n)
          squares += std::pow(in.tensors[0][at + n], 2), products += d_keys[at + n] * in.tensors[5 + which][n] * in.tensors[0][at + n];
        double scale = 1 / std::sqrt(squares / c.state + 1e-5);
        for (int64_t n = 0; n < c.state; ++n) {
          out.gradients[5 + which][n] += d_keys[at + n] * in.tensors[0][at + n] * scale;
          out.gradients[0][at + n] =
              scale * (d_keys[at + n] * in.tensors[5 + which][n] - in.tensors[0][at + n] * products * scale * scale / c.state);
        }
      }
  return out;
}

/// A tensor on the card.
class Buffer {
public:
  explicit Buffer(int64_t bytes) : bytes(bytes) {
    EXPECT_EQ(cudaMalloc(&data, bytes + 256), cudaSuccess);
    EXPECT_EQ(cudaMemset(data, 0xff, bytes + 256), cudaSuccess);
  }
  Buffer(const Doubles &values, bool is_bf16) : Buffer(values.size() * (is_bf16 ? 2 : 4)) {
    std::vector<float> wide(values.begin(), values.end());
    std::vector<__nv_bfloat16> narrow(wide.size());
    for (size_t i = 0; i < wide.size(); ++i)
      narrow[i] = __float2bfloat16(wide[i]);
    EXPECT_EQ(cudaMemcpy(data, is_bf16 ? static_cast<void *>(narrow.data()) : wide.data(), bytes, cudaMemcpyHostToDevice), cudaSuccess);
  }
  explicit Buffer(const std::vector<int32_t> &values) : Buffer(values.size() * 4) {
    EXPECT_EQ(cudaMemcpy(data, values.data(), bytes, cudaMemcpyHostToDevice), cudaSuccess);
  }
  Buffer(const Buffer &) = delete;
  ~Buffer() { cudaFree(data); }

  Doubles read(bool is_bf16) const {
    std::vector<uint8_t> raw(bytes);
    EXPECT_EQ(cudaMemcpy(raw.data(), data, bytes, cudaMemcpyDeviceToHost), cudaSuccess);
    Doubles values(bytes / (is_bf16 ? 2 : 4));
    for (size_t i = 0; i < values.size(); ++i)
      values[i] = is_bf16 ? __bfloat162float(reinterpret_cast<__nv_bfloat16 *>(raw.data())[i]) : reinterpret_cast<float *>(raw.data())[i];
    return values;
  }

  void *data = nullptr;
  int64_t bytes;
};

struct Operands {
  std::vector<void *> data;
  std::vector<int64_t> bytes;
  std::vector<uint8_t> types;
  void add(const Buffer *buffer, int type) {
    data.push_back(buffer ? buffer->data : nullptr), bytes.push_back(buffer ? buffer->bytes : 0),
        types.push_back(buffer ? type : MG_ABSENT);
  }
  int32_t launch(MgKernel kernel, const Case &c, std::vector<double> reals = {1e-5}) {
    MgContext context = {};
    std::vector<int64_t> ints = c.ints();
    MgLaunch launch = {};
    launch.operands = data.data(), launch.bytes = bytes.data(), launch.types = types.data(), launch.operand_count = int64_t(data.size());
    launch.ints = ints.data(), launch.int_count = int64_t(ints.size());
    launch.doubles = reals.data(), launch.double_count = int64_t(reals.size()), launch.context = &context;
    return kernel(&launch);
  }
};

/// Both kernels; a backward without `keeps_states` finds the states itself.
Expected run(const Case &c, const Inputs &in, bool keeps_states = true) {
  Buffer y(2 * c.rows() * c.inner()), states(2 * c.stateCount()), d_y(in.d_y, true), d_projection(2 * c.rows() * c.width());
  Buffer forward_scratch(c.scratch(false)), backward_scratch(c.scratch(true, keeps_states)), projection(in.tensors[0], true);
  std::unique_ptr<Buffer> documents = c.documents.empty() ? nullptr : std::make_unique<Buffer>(c.documents);
  std::vector<std::unique_ptr<Buffer>> parameters, gradients;
  for (size_t i = 1; i < in.tensors.size(); ++i) {
    parameters.push_back(std::make_unique<Buffer>(in.tensors[i], c.isBf16(i - 1)));
    gradients.push_back(std::make_unique<Buffer>(4 * in.tensors[i].size()));
  }
  Operands forward, backward;
  forward.add(&y, MG_BF16), forward.add(&states, MG_BF16), forward.add(nullptr, 0), forward.add(&projection, MG_BF16);
  forward.add(documents.get(), MG_I32), forward.add(&forward_scratch, MG_RAW);
  backward.add(&d_projection, MG_BF16), backward.add(&d_y, MG_BF16), backward.add(keeps_states ? &states : nullptr, MG_BF16);
  backward.add(nullptr, 0), backward.add(&projection, MG_BF16), backward.add(documents.get(), MG_I32),
      backward.add(&backward_scratch, MG_RAW);
  for (const auto &gradient : gradients)
    backward.add(gradient.get(), MG_F32);
  for (size_t i = 0; i < parameters.size(); ++i)
    for (Operands *operands : {&forward, &backward})
      operands->add(parameters[i].get(), c.isBf16(i) ? MG_BF16 : MG_F32);
  EXPECT_EQ(forward.launch(mg_mamba3_scan, c), 0) << mg_last_error();
  EXPECT_EQ(backward.launch(mg_mamba3_scan_grad, c), 0) << mg_last_error();
  EXPECT_EQ(cudaDeviceSynchronize(), cudaSuccess) << cudaGetErrorString(cudaGetLastError());
  Expected results = {y.read(true), {d_projection.read(true)}};
  for (const auto &gradient : gradients)
    results.gradients.push_back(gradient->read(false));
  return results;
}

/// What mg_mamba3_state_norm gives.
double measureNorm(const Case &c, const Inputs &in) {
  Buffer norm(4), projection(in.tensors[0], true);
  std::unique_ptr<Buffer> documents = c.documents.empty() ? nullptr : std::make_unique<Buffer>(c.documents), scratch;
  std::vector<std::unique_ptr<Buffer>> parameters;
  for (size_t i = 1; i < in.tensors.size(); ++i)
    parameters.push_back(std::make_unique<Buffer>(in.tensors[i], c.isBf16(i - 1)));
  auto launch = [&](int64_t bytes) {
    scratch = std::make_unique<Buffer>(bytes);
    Operands operands;
    operands.add(&norm, MG_F32), operands.add(&projection, MG_BF16), operands.add(documents.get(), MG_I32),
        operands.add(scratch.get(), MG_RAW);
    for (size_t i = 0; i < parameters.size(); ++i)
      operands.add(parameters[i].get(), c.isBf16(i) ? MG_BF16 : MG_F32);
    return operands.launch(mg_mamba3_state_norm, c, {1e-5, 1.0 / double(c.batch * c.heads)});
  };
  EXPECT_NE(launch(0), 0);
  const char *needs = std::strstr(mg_last_error(), "it needs ");
  if (!needs)
    return NAN;
  EXPECT_EQ(launch(std::atoll(needs + std::strlen("it needs "))), 0) << mg_last_error();
  EXPECT_EQ(cudaDeviceSynchronize(), cudaSuccess);
  return norm.read(false)[0];
}

double largestOf(const Doubles &values) {
  double largest = 0;
  for (double value : values)
    largest = std::max(largest, std::abs(value));
  return largest;
}

/// `largest`: what the tolerance is relative to, at least; of a sum of terms with both signs the largest term.
void compare(const char *name, const Doubles &actual, const Doubles &expected, double tolerance, double largest = 0) {
  ASSERT_EQ(actual.size(), expected.size()) << name;
  double worst = 0;
  largest = std::max(largest, largestOf(expected));
  for (size_t i = 0; i < expected.size(); ++i)
    worst = std::isfinite(actual[i]) ? std::max(worst, std::abs(actual[i] - expected[i])) : INFINITY;
  EXPECT_LE(worst, tolerance * largest) << name << ": " << worst << " of " << largest;
  if (getenv("MEGACC_PRINT_ERRORS"))
    printf("  %-8s %.2e of %.2e\n", name, largest > 0 ? worst / largest : worst, largest);
}

Doubles segment(const Case &c, const Doubles &projection, int64_t first, int64_t width) {
  Doubles values;
  for (int64_t t = 0; t < c.rows(); ++t)
    values.insert(values.end(), projection.begin() + t * c.width() + first, projection.begin() + t * c.width() + first + width);
  return values;
}

void check(const Case &c, const Inputs &in) {
  Expected actual = run(c, in), expected = reference(c, in);
  compare("y", actual.y, expected.y, 1e-2);
  EXPECT_NEAR(measureNorm(c, in), expected.norm, 1e-2 * expected.norm);
  int64_t first = 0;
  for (auto [name, width] : std::vector<std::pair<const char *, int64_t>>{{"z", c.inner()},
                                                                          {"x", c.inner()},
                                                                          {"B", c.keys()},
                                                                          {"C", c.keys()},
                                                                          {"dd_dt", c.heads},
                                                                          {"dd_A", c.heads},
                                                                          {"trap", c.heads},
                                                                          {"angle", c.angles()}}) {
    compare(name, segment(c, actual.gradients[0], first, width), segment(c, expected.gradients[0], first, width), 2e-2);
    first += width;
  }
  std::vector<const char *> names = {"dt_bias", "D", "B_bias", "C_bias", "B_norm", "C_norm"};
  if (c.mimo)
    names.insert(names.end(), {"mimo_x", "mimo_z", "mimo_o"});
  if (c.norm)
    names.push_back("norm");
  if (c.gated)
    names.push_back("cut");
  double step = largestOf(segment(c, expected.gradients[0], 2 * c.inner() + 2 * c.keys(), c.heads)); // d_dt_bias sums these over tokens
  for (size_t i = 0; i < names.size(); ++i)
    compare(names[i], actual.gradients[i + 1], expected.gradients[i + 1], 2e-2, i ? 0 : step);
}

class Mamba3Gpu : public testing::Test {
protected:
  void SetUp() override {
    int count = 0;
    if (cudaGetDeviceCount(&count) != cudaSuccess || count == 0)
      GTEST_SKIP() << "no CUDA device";
  }
};

} // namespace

TEST(Mamba3Reference, MatchesFiniteDifferences) {
  for (bool mimo : {true, false}) {
    Case c = {.sequence = 7, .heads = 2, .groups = 1, .rank = mimo ? 2 : 1, .head_dim = 3, .state = 4, .mimo = mimo, .norm = mimo};
    c.documents = {0, 0, 0, 1, 1, 1, 2}, c.gated = mimo;
    Inputs in(c, 1);
    Expected expected = reference(c, in);
    auto objective = [&] {
      Doubles y = reference(c, in, /*backward=*/false).y;
      double sum = 0;
      for (size_t i = 0; i < y.size(); ++i)
        sum += y[i] * in.d_y[i];
      return sum;
    };
    for (size_t tensor = 0; tensor < in.tensors.size(); ++tensor)
      for (size_t i = 0; i < in.tensors[tensor].size(); ++i) {
        double &element = in.tensors[tensor][i], kept = element;
        element = kept + 1e-5;
        double above = objective();
        element = kept - 1e-5;
        double below = objective();
        element = kept;
        EXPECT_NEAR((above - below) / 2e-5, expected.gradients[tensor][i], 1e-6) << tensor << " " << i;
      }
  }
}

TEST_F(Mamba3Gpu, ModelShapes) {
  for (bool norm : {false, true}) {
    SCOPED_TRACE(norm);
    Case c = {.batch = 2, .sequence = 150, .heads = 4, .groups = 2, .norm = norm};
    check(c, Inputs(c, 1));
  }
}

TEST_F(Mamba3Gpu, OneToken) {
  Case c = {.sequence = 1, .heads = 2, .groups = 1};
  Inputs in(c, 2);
  Expected actual = run(c, in), expected = reference(c, in);
  compare("y", actual.y, expected.y, 1e-2);
  for (size_t i = 0; i < actual.gradients.size(); ++i)
    compare("gradient", actual.gradients[i], expected.gradients[i], 2e-2);
}

TEST_F(Mamba3Gpu, EveryRankStateAndVariant) {
  const bool full = true, heavy = true, siso = false, norm = true;
  for (const Case &c :
       {Case{1, 150, 4, 2, 1, 64, 128, false, false, siso}, Case{1, 130, 2, 1, 1, 64, 64, full, heavy, siso, norm},
        Case{1, 70, 2, 2, 1, 16, 16, false, false, siso}, Case{1, 3, 2, 1, 1, 7, 6, full, false, siso, norm},
        Case{1, 67, 2, 1, 1, 8, 16, full, heavy}, Case{2, 200, 4, 2, 1, 16, 20, full, heavy},
        Case{2, 33, 2, 1, 2, 32, 64, false, false, true, norm}, Case{1, 17, 3, 3, 4, 20, 12, full, heavy, true, norm},
        Case{1, 19, 2, 1, 5, 9, 20}, Case{1, 21, 2, 1, 8, 64, 128}, Case{1, 40, 1, 1, 8, 128, 128, full}, Case{1, 40, 2, 1, 4, 128, 64},
        Case{1, 70, 2, 1, 1, 128, 128, full, false, true, norm}, Case{1, 40, 4, 4, 4, 64, 64, full, heavy}, Case{1, 23, 2, 1, 3, 33, 14}}) {
    SCOPED_TRACE(testing::Message() << "rank " << c.rank << " head_dim " << c.head_dim << " state " << c.state);
    check(c, Inputs(c, 3));
  }
}

TEST_F(Mamba3Gpu, DocumentsRestart) {
  for (bool mimo : {true, false}) {
    Case c = {.batch = 2,
              .sequence = 150,
              .heads = 2,
              .groups = 1,
              .rank = mimo ? 4 : 1,
              .head_dim = 16,
              .state = 32,
              .mimo = mimo,
              .norm = mimo};
    c.bf16_norms = mimo;
    c.documents.assign(c.rows(), 0);
    for (int64_t t = 0; t < c.rows(); ++t) // starts inside chunks, at their edges, at a window's edge, and one-token documents
      c.documents[t] = t < c.sequence ? (t >= 5) + (t >= 16) + (t >= 17) + (t >= 30) + (t >= 64) - 2 * (t >= 71) : t / 3;
    check(c, Inputs(c, 6));
  }
}

TEST_F(Mamba3Gpu, StateGate) {
  for (bool mimo : {true, false})
    for (bool packed : {true, false}) {
      Case c = {.batch = 2, .sequence = 150, .heads = 4, .groups = 2, .rank = mimo ? 4 : 1, .mimo = mimo, .norm = mimo, .gated = true};
      if (packed)
        c.documents.assign(c.rows(), 0);
      for (int64_t t = 0; packed && t < c.rows(); ++t)
        c.documents[t] = (t >= 5) + (t >= 17) + (t >= 64);
      check(c, Inputs(c, 13));
    }
}

TEST_F(Mamba3Gpu, WholeHeadsOverWindows) {
  for (bool norm : {false, true}) {
    Case c = {.batch = 2, .sequence = 530, .heads = 48, .groups = 2, .head_dim = 16, .state = 32, .norm = norm};
    if (norm) {
      c.documents.assign(c.rows(), 0);
      for (int64_t t = 0; t < c.rows(); ++t) // also at the edge of a window, and none in the second row
        c.documents[t] = t < c.sequence ? (t >= 100) + (t >= 256) + (t >= 500) : 0;
    }
    check(c, Inputs(c, 12));
  }
}

TEST_F(Mamba3Gpu, ExtremeStepsDecaysAndAngles) {
  Case c = {.sequence = 80, .heads = 2, .groups = 1, .full_rope = true};
  Inputs in(c, 8);
  int64_t scalars = 2 * c.inner() + 2 * c.keys(), H = c.heads;
  for (int64_t t = 0; t < c.rows(); ++t)
    for (int64_t h = 0; h < H; ++h) {
      double *row = in.tensors[0].data() + t * c.width() + scalars;
      row[h] = rounded(row[h] + 3);                                  // steps of about 3: angles wrap at every token
      row[H + h] = t % 5 == 0 ? 100 : t % 5 == 1 ? -20 : row[H + h]; // decays of about -300 and of the floor
      row[2 * H + h] = t % 3 == 0 ? 20 : t % 3 == 1 ? -20 : row[2 * H + h];
    }
  check(c, in);
}

TEST_F(Mamba3Gpu, SameBitsWithAndWithoutStates) {
  for (bool norm : {false, true}) {
    for (int64_t heads : {6, 48}) { // windows apart, and whole heads
      Case c = {.batch = 2, .sequence = 300, .heads = heads, .groups = 2, .norm = norm};
      Inputs in(c, 10);
      Expected first = run(c, in), second = run(c, in), without = run(c, in, /*keeps_states=*/false);
      EXPECT_EQ(first.y, second.y);
      EXPECT_EQ(first.gradients, second.gradients);
      EXPECT_EQ(first.gradients, without.gradients);
    }
  }
}

TEST_F(Mamba3Gpu, RefusesByName) {
  Case c = {.sequence = 4, .heads = 1, .groups = 1, .rank = 9, .head_dim = 4, .state = 4};
  Operands operands;
  for (int i = 0; i < 6 + 9; ++i)
    operands.add(nullptr, 0);
  EXPECT_NE(operands.launch(mg_mamba3_scan, c), 0);
  EXPECT_NE(std::string(mg_last_error()).find("rank 9"), std::string::npos) << mg_last_error();
}
