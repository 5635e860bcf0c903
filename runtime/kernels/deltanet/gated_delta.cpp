// The gated delta rule in chunks, conventions 19: the state of a head enters a chunk as S (here its transpose [key, value]), and products
// over the rows of the chunk give what its tokens read and what they write. Rows of a chunk are padded with zeros to multiples of 8, and
// columns too; rows of zeros change nothing. c is the sum of the logarithms g of the decay up to a row, from the chunk's start; across a
// document every factor exp(c_i - c_j) is 0 instead.
#include "runtime/core/Documents.h"
#include "runtime/core/Dot.h"
#include "runtime/core/FastMath.h"
#include "runtime/core/Launch.h"
#include "runtime/core/Scratch.h"
#include "runtime/core/ThreadPool.h"
#include "runtime/core/TileProduct.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

using namespace megacc::runtime;

namespace {

/// Scratch exists for this many tasks at a time; rows of a panel, beyond which a causal matrix is not computed.
constexpr int64_t most_lanes = 32, panel = 16;
/// Of the length of q and k.
constexpr float length_eps = 1e-6f;

int64_t padded(int64_t count) { return (count + 7) / 8 * 8; }

struct Sizes {
  /// Both kernels have the same parameters.
  explicit Sizes(const MgLaunch *launch) {
    namespace number = number_mg_gated_delta;
    const int64_t *n = launch->ints;
    batch = n[number::batch], sequence = n[number::sequence], heads = n[number::heads], groups = n[number::key_heads];
    key = n[number::key], value = n[number::value], L = n[number::chunk], scale = n[number::neg_eigval] ? 2.0f : 1.0f;
    chunks = (sequence + L - 1) / L, N = padded(key), P = padded(value);
  }
  int64_t forwardLane() const { return L * (4 * N + 2 * P + 4 * L + 9) + N * P; }
  int64_t backwardLane() const { return L * (7 * N + 6 * P + 6 * L + 13) + 4 * N * P; }

  int64_t batch, sequence, heads, groups, key, value;
  int64_t L;   // rows of a chunk
  float scale; // of beta
  int64_t chunks, N, P;
};

/// The operands that forward and backward share.
struct Inputs {
  /// They follow one another in the same order, from q on.
  Inputs(const MgLaunch *launch, int64_t first) {
    namespace at = at_mg_gated_delta;
    auto find = [&](int64_t operand) { return input(launch, first + operand - at::q); };
    q = find(at::q), k = find(at::k), v = find(at::v), b = find(at::b), a = find(at::a), a_log = find(at::a_log);
    dt_bias = find(at::dt_bias), documents = integers(launch, first + at::documents - at::q);
  }
  const float *q, *k, *v, *b, *a, *a_log, *dt_bias;
  const int32_t *documents;
};

/// Hands out the scratch of a lane.
class Lane {
public:
  explicit Lane(float *next) : next(next) {}
  float *take(int64_t floats) { return std::exchange(next, next + floats); }

private:
  float *next;
};

/// One chunk of one head.
struct Chunk {
  Chunk(const Sizes &s, Lane &lane) {
    c = reinterpret_cast<double *>(lane.take(2 * s.L));
    run = reinterpret_cast<int32_t *>(lane.take(s.L));
    for (float **row : {&g, &beta, &enter, &leave, &unit_q, &unit_k})
      *row = lane.take(s.L);
    for (float **keys : {&Q, &K, &KT, &scaled})
      *keys = lane.take(s.L * s.N);
    for (float **values : {&X, &U})
      *values = lane.take(s.L * s.P);
    for (float **square : {&D, &KK, &A, &QK})
      *square = lane.take(s.L * s.L);
  }

  int64_t first, tokens, rows; // the first row of the tensors, tokens of the chunk, the same padded
  double *c;
  int32_t *run; // which run of equal ids of the chunk a row is in; 0: that of the last token before it
  float *g, *beta;
  float *enter, *leave;   // decay from before the chunk up to a row, and from it to the chunk's end
  float *unit_q, *unit_k; // 1 / length
  float *Q, *K, *KT;      // of unit length, Q over sqrt(key); K transposed
  float *scaled;          // rows of Q or K times something
  float *X, *U;           // what the state before does not know of V; what is written: (I - A) U = beta X
  float *D, *KK, *A, *QK; // decay from column to row; K K^T; -beta K K^T D under the diagonal; Q K^T D up to it
  float last;             // enter of the last row
};

/// Rows of q or k of one group, of unit length times `factor`.
void loadKeys(const Sizes &s, const float *from, int64_t tokens, int64_t rows, float factor, float *unit, float *to) {
  for (int64_t i = 0; i < tokens; ++i, from += s.groups * s.key, to += s.N) {
    unit[i] = 1.0f / std::sqrt(dot(from, from, s.key) + length_eps);
    for (int64_t n = 0; n < s.key; ++n)
      to[n] = from[n] * unit[i] * factor;
    std::fill(to + s.key, to + s.N, 0.0f);
  }
  std::fill(to, to + (rows - tokens) * s.N, 0.0f);
}

/// Rows of `cols` values, `stride` apart, to rows of `padded_cols`; the rest is zero.
void loadPadded(const float *from, int64_t stride, int64_t count, int64_t rows, int64_t cols, int64_t padded_cols, float *to) {
  for (int64_t i = 0; i < count; ++i, to += padded_cols) {
    std::memcpy(to, from + i * stride, cols * sizeof(float));
    std::fill(to + cols, to + padded_cols, 0.0f);
  }
  std::fill(to, to + (rows - count) * padded_cols, 0.0f);
}

/// to = rows of `from` times a factor each.
void scaleRows(int64_t rows, int64_t cols, const float *factor, float sign, const float *from, float *to) {
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t j = 0; j < cols; ++j)
      to[i * cols + j] = sign * factor[i] * from[i * cols + j];
}

/// to[rows, rows] = left[rows, depth] right[depth, rows] in the panels up to the diagonal.
void causalProduct(const Sizes &s, const Chunk &c, const float *left, int64_t depth, const float *right, float *to) {
  for (int64_t i = 0; i < c.rows; i += panel) {
    int64_t count = std::min(panel, c.rows - i);
    tileProduct(count, i + count, depth, {left + i * depth, depth, 1}, right, s.L, to + i * s.L, s.L, /*add=*/false);
  }
}

/// to = sign * factor_i * from * D up to column i (exclusive with `strict`), zero behind; `factor` may be null.
void maskCausal(const Sizes &s, const Chunk &c, const float *from, const float *factor, float sign, bool strict, float *to) {
  for (int64_t i = 0; i < c.rows; ++i) {
    float scale = factor ? sign * factor[i] : sign;
    int64_t end = strict ? i : i + 1, at = i * s.L;
    for (int64_t j = 0; j < end; ++j)
      to[at + j] = scale * from[at + j] * c.D[at + j];
    std::fill(to + at + end, to + at + c.rows, 0.0f);
  }
}

/// All that does not need the state: rows of the chunk, decays, and the products of q and k (of q with `queries`).
void load(const Sizes &s, const Inputs &in, Chunk &c, int64_t b, int64_t h, int64_t chunk, bool queries) {
  int64_t begin = chunk * s.L, group = h / (s.heads / s.groups);
  c.first = b * s.sequence + begin, c.tokens = std::min(s.L, s.sequence - begin), c.rows = padded(c.tokens);
  const int32_t *documents = in.documents ? in.documents + b * s.sequence : nullptr;
  float rate = std::exp(in.a_log[h]);
  double sum = 0;
  int32_t run = 0;
  for (int64_t i = 0; i < c.rows; ++i) {
    bool is_token = i < c.tokens;
    int64_t at = (c.first + i) * s.heads + h;
    run += is_token && startsDocument(documents, begin + i);
    c.g[i] = is_token ? -rate * softplus(in.a[at] + in.dt_bias[h]) : 0.0f;
    c.beta[i] = is_token ? s.scale * sigmoid(in.b[at]) : 0.0f;
    c.c[i] = sum += c.g[i], c.run[i] = run;
  }
  for (int64_t i = 0; i < c.rows; ++i) {
    c.enter[i] = c.run[i] == 0 ? fastExp(float(c.c[i])) : 0.0f;
    c.leave[i] = c.run[i] == run ? fastExp(float(sum - c.c[i])) : 0.0f;
    for (int64_t j = 0; j <= i; ++j) {
      float decay = fastExp(float(c.c[i] - c.c[j]));
      c.D[i * s.L + j] = c.run[i] == c.run[j] ? decay : 0.0f;
    }
  }
  c.last = c.enter[c.rows - 1];

  loadKeys(s, in.k + (c.first * s.groups + group) * s.key, c.tokens, c.rows, 1.0f, c.unit_k, c.K);
  tileTranspose(c.rows, s.N, c.K, s.N, c.KT, s.L);
  causalProduct(s, c, c.K, s.N, c.KT, c.KK);
  maskCausal(s, c, c.KK, c.beta, -1.0f, /*strict=*/true, c.A);
  if (!queries)
    return;
  loadKeys(s, in.q + (c.first * s.groups + group) * s.key, c.tokens, c.rows, 1.0f / std::sqrt(float(s.key)), c.unit_q, c.Q);
  causalProduct(s, c, c.Q, s.N, c.KT, c.QK);
  maskCausal(s, c, c.QK, nullptr, 1.0f, /*strict=*/false, c.QK);
}

/// X = V - enter K S^T and U = (I - A)^-1 beta X, by forward substitution: products between panels, row by row inside them.
void write(const Sizes &s, const Inputs &in, Chunk &c, int64_t h, const float *state) {
  tileProduct(c.rows, s.P, s.N, {c.K, s.N, 1}, state, s.P, c.X, s.P, /*add=*/false);
  for (int64_t i = 0; i < c.rows; ++i) {
    const float *v = in.v + ((c.first + i) * s.heads + h) * s.value;
    float *x = c.X + i * s.P;
    for (int64_t j = 0; j < s.P; ++j)
      x[j] = -c.enter[i] * x[j];
    if (i < c.tokens)
      for (int64_t j = 0; j < s.value; ++j)
        x[j] += v[j];
  }
  scaleRows(c.rows, s.P, c.beta, 1.0f, c.X, c.U);
  for (int64_t begin = 0; begin < c.rows; begin += panel) {
    int64_t end = std::min(begin + panel, c.rows);
    tileProduct(end - begin, s.P, begin, {c.A + begin * s.L, s.L, 1}, c.U, s.P, c.U + begin * s.P, s.P, /*add=*/true);
    for (int64_t i = begin; i < end; ++i)
      for (int64_t l = begin; l < i; ++l)
        for (int64_t j = 0; j < s.P; ++j)
          c.U[i * s.P + j] += c.A[i * s.L + l] * c.U[l * s.P + j];
  }
}

/// x = (I - A)^-T x, from the last panel to the first.
void substituteBack(const Sizes &s, const Chunk &c, float *x) {
  for (int64_t begin = (c.rows - 1) / panel * panel; begin >= 0; begin -= panel) {
    int64_t end = std::min(begin + panel, c.rows);
    tileProduct(end - begin, s.P, c.rows - end, {c.A + end * s.L + begin, 1, s.L}, x + end * s.P, s.P, x + begin * s.P, s.P, /*add=*/true);
    for (int64_t i = end - 1; i >= begin; --i)
      for (int64_t l = i + 1; l < end; ++l)
        for (int64_t j = 0; j < s.P; ++j)
          x[i * s.P + j] += c.A[l * s.L + i] * x[l * s.P + j];
  }
}

/// state = last state + (leave K)^T U
void advance(const Sizes &s, Chunk &c, float *state) {
  for (int64_t e = 0; e < s.N * s.P; ++e)
    state[e] *= c.last;
  scaleRows(c.rows, s.N, c.leave, 1.0f, c.K, c.scaled);
  tileProduct(s.N, s.P, c.rows, {c.scaled, 1, s.N}, c.U, s.P, state, s.P, /*add=*/true);
}

/// One head of one row over the whole sequence: y where there is a y, and the state before every chunk where there are states. Not inlined:
/// forward and backward must get the same bits.
[[gnu::noinline]] void walk(const Sizes &s, const Inputs &in, float *scratch, int64_t b, int64_t h, float *y, float *states) {
  Lane lane(scratch);
  Chunk c(s, lane);
  float *state = lane.take(s.N * s.P);
  std::fill(state, state + s.N * s.P, 0.0f);
  for (int64_t chunk = 0; chunk < s.chunks; ++chunk) {
    load(s, in, c, b, h, chunk, y);
    for (int64_t n = 0; states && n < s.key; ++n)
      std::memcpy(states + (chunk * s.key + n) * s.value, state + n * s.P, s.value * sizeof(float));
    write(s, in, c, h, state);
    if (y) {
      scaleRows(c.rows, s.N, c.enter, 1.0f, c.Q, c.scaled);
      tileProduct(c.rows, s.P, s.N, {c.scaled, s.N, 1}, state, s.P, c.X, s.P, /*add=*/false);
      for (int64_t i = 0; i < c.rows; i += panel) {
        int64_t count = std::min(panel, c.rows - i);
        tileProduct(count, s.P, i + count, {c.QK + i * s.L, s.L, 1}, c.U, s.P, c.X + i * s.P, s.P, /*add=*/true);
      }
      for (int64_t i = 0; i < c.tokens; ++i)
        std::memcpy(y + ((c.first + i) * s.heads + h) * s.value, c.X + i * s.P, s.value * sizeof(float));
    }
    advance(s, c, state);
  }
}

/// Gradients that one head gives; d_q and d_k are those of its group, to which it adds unless it is the first.
struct Outputs {
  float *d_q, *d_k, *d_v, *d_b, *d_a;
};

/// Through the length: with y = unit x (times factor), to (+)= unit (d - y (y . d)) factor, where d is the gradient of factor y.
void storeKey(const Sizes &s, const float *d, const float *y, float unit, float factor, bool add, float *to) {
  float along = dot(y, d, s.key) / factor;
  for (int64_t n = 0; n < s.key; ++n) {
    float gradient = unit * (factor * d[n] - along * y[n]);
    to[n] = add ? to[n] + gradient : gradient;
  }
}

/// One head of one row back over its chunks; sums = its d_a_log and d_dt_bias. E = d_y; dS [key, value] is the gradient of the state behind
/// the chunk.
void walkBack(const Sizes &s, const Inputs &in, float *scratch, int64_t b, int64_t h, const float *d_y, const float *states,
              const Outputs &out, double *sums) {
  Lane lane(scratch);
  Chunk c(s, lane);
  float *state = lane.take(s.N * s.P), *E = lane.take(s.L * s.P), *dR = lane.take(s.L * s.P), *dX = lane.take(s.L * s.P);
  float *UT = lane.take(s.P * s.L), *dA = lane.take(s.L * s.L), *dQK = lane.take(s.L * s.L);
  float *dQ = lane.take(s.L * s.N), *reads = lane.take(s.L * s.N), *writes = lane.take(s.L * s.N);
  float *state_turned = lane.take(s.P * s.N), *dS = lane.take(s.N * s.P), *dS_turned = lane.take(s.P * s.N);
  float *d_beta = lane.take(s.L), *d_g = lane.take(s.L), *through_enter = lane.take(s.L), *through_leave = lane.take(s.L);
  int64_t group = h / (s.heads / s.groups), count = s.N * s.P;
  bool add = h % (s.heads / s.groups) != 0;
  float rate = std::exp(in.a_log[h]), query_scale = 1.0f / std::sqrt(float(s.key));
  std::fill(dS, dS + count, 0.0f);
  sums[0] = sums[1] = 0;
  for (int64_t chunk = s.chunks - 1; chunk >= 0; --chunk) {
    load(s, in, c, b, h, chunk, /*queries=*/true);
    loadPadded(states + chunk * s.key * s.value, s.value, s.key, s.N, s.value, s.P, state);
    write(s, in, c, h, state);
    int64_t rows = c.rows;
    loadPadded(d_y + (c.first * s.heads + h) * s.value, s.heads * s.value, c.tokens, rows, s.value, s.P, E);

    // dU, then dR = (I - A)^-T dU and dX = beta dR.
    tileProduct(rows, s.P, rows, {c.QK, 1, s.L}, E, s.P, dR, s.P, /*add=*/false);
    scaleRows(rows, s.N, c.leave, 1.0f, c.K, c.scaled);
    tileProduct(rows, s.P, s.N, {c.scaled, s.N, 1}, dS, s.P, dR, s.P, /*add=*/true);
    substituteBack(s, c, dR);
    scaleRows(rows, s.P, c.beta, 1.0f, dR, dX);

    // dA and d(Q K^T), first without the decay. What crosses from before token i to it or behind it is d_g[i]: of the products inside the
    // chunk, all pairs of a row from i on and a column before i. Such sums keep their digits where a decay is nearly 0.
    tileTranspose(rows, s.P, c.U, s.P, UT, s.L);
    causalProduct(s, c, dR, s.P, UT, dA);
    causalProduct(s, c, E, s.P, UT, dQK);
    std::fill(d_g, d_g + rows, 0.0f);
    for (int64_t i = 0; i < rows; ++i) {
      float crossing = 0;
      for (int64_t j = 0, at = i * s.L; j < i; ++j, ++at)
        d_g[j + 1] += crossing += dA[at] * c.A[at] + dQK[at] * c.QK[at];
    }
    maskCausal(s, c, dA, nullptr, -1.0f, /*strict=*/true, dA);
    maskCausal(s, c, dQK, nullptr, 1.0f, /*strict=*/false, dQK);
    for (int64_t i = 0; i < rows; ++i) // A becomes beta dA
      for (int64_t j = 0; j < rows; ++j)
        c.A[i * s.L + j] = c.beta[i] * dA[i * s.L + j];

    tileTranspose(s.N, s.P, state, s.P, state_turned, s.N);
    tileTranspose(s.N, s.P, dS, s.P, dS_turned, s.N);
    tileProduct(rows, s.N, s.P, {E, s.P, 1}, state_turned, s.N, dQ, s.N, /*add=*/false);
    scaleRows(rows, s.N, c.enter, 1.0f, dQ, dQ);
    tileProduct(rows, s.N, s.P, {dX, s.P, 1}, state_turned, s.N, reads, s.N, /*add=*/false);
    scaleRows(rows, s.N, c.enter, -1.0f, reads, reads);
    tileProduct(rows, s.N, s.P, {c.U, s.P, 1}, dS_turned, s.N, writes, s.N, /*add=*/false);
    scaleRows(rows, s.N, c.leave, 1.0f, writes, writes);
    for (int64_t i = 0, at = 0; i < c.tokens; ++i, at += s.N) {
      d_beta[i] = dot(dR + i * s.P, c.X + i * s.P, s.P) + dot(dA + i * s.L, c.KK + i * s.L, i);
      through_enter[i] = dot(c.Q + at, dQ + at, s.N) + dot(c.K + at, reads + at, s.N);
      through_leave[i] = dot(c.K + at, writes + at, s.N);
    }
    tileProduct(rows, s.N, rows, {dQK, s.L, 1}, c.K, s.N, dQ, s.N, /*add=*/true);
    tileProduct(rows, s.N, rows, {c.A, s.L, 1}, c.K, s.N, reads, s.N, /*add=*/true);
    tileProduct(rows, s.N, rows, {c.A, 1, s.L}, c.K, s.N, writes, s.N, /*add=*/true);
    tileProduct(rows, s.N, rows, {dQK, 1, s.L}, c.Q, s.N, writes, s.N, /*add=*/true);

    // Of what the state before carries in, what rows from i on read; of what the state behind carries out, what rows before i wrote; and
    // what passes from the one to the other.
    float before = c.last * dot(dS, state, count), behind = 0;
    for (int64_t i = 0; i < c.tokens; ++i) {
      d_g[i] += before;
      before += through_leave[i];
    }
    for (int64_t i = c.tokens - 1; i >= 0; --i) {
      int64_t row = c.first + i, at = row * s.heads + h;
      behind += through_enter[i];
      d_g[i] += behind;
      out.d_a[at] = -d_g[i] * rate * sigmoid(in.a[at] + in.dt_bias[h]);
      out.d_b[at] = d_beta[i] * c.beta[i] * (1.0f - c.beta[i] / s.scale);
      sums[0] += double(d_g[i]) * c.g[i], sums[1] += out.d_a[at];
      std::memcpy(out.d_v + at * s.value, dX + i * s.P, s.value * sizeof(float));
      for (int64_t n = 0; n < s.key; ++n)
        reads[i * s.N + n] += writes[i * s.N + n];
      int64_t key = (row * s.groups + group) * s.key;
      storeKey(s, dQ + i * s.N, c.Q + i * s.N, c.unit_q[i], query_scale, add, out.d_q + key);
      storeKey(s, reads + i * s.N, c.K + i * s.N, c.unit_k[i], 1.0f, add, out.d_k + key);
    }

    // The gradient of the state before the chunk.
    for (int64_t e = 0; e < count; ++e)
      dS[e] *= c.last;
    scaleRows(rows, s.N, c.enter, 1.0f, c.Q, c.scaled);
    tileProduct(s.N, s.P, rows, {c.scaled, 1, s.N}, E, s.P, dS, s.P, /*add=*/true);
    scaleRows(rows, s.N, c.enter, -1.0f, c.K, c.scaled);
    tileProduct(s.N, s.P, rows, {c.scaled, 1, s.N}, dX, s.P, dS, s.P, /*add=*/true);
  }
}

} // namespace

extern "C" {

int32_t mg_gated_delta(const MgLaunch *launch) {
  MG_ENTER(mg_gated_delta);
  Sizes s(launch);
  Inputs in(launch, at::q);
  int64_t tiles = s.batch * s.heads, lanes = std::min(tiles, most_lanes);
  Scratch scratch(launch, at::scratch);
  float *room = scratch.take<float>(lanes * s.forwardLane());
  if (int32_t status = scratch.check("mg_gated_delta"))
    return status;
  float *y = output(launch, at::y), *states = output(launch, at::states);
  parallelFor(lanes, [&](int64_t lane) {
    for (int64_t tile = lane; tile < tiles; tile += lanes)
      walk(s, in, room + lane * s.forwardLane(), tile / s.heads, tile % s.heads, y,
           states ? states + tile * s.chunks * s.key * s.value : nullptr);
  });
  return 0;
}

// A task is a group of heads of one row, since they share q and k.
int32_t mg_gated_delta_grad(const MgLaunch *launch) {
  MG_ENTER(mg_gated_delta_grad);
  static_assert(at::documents - at::q == at_mg_gated_delta::documents - at_mg_gated_delta::q);
  Sizes s(launch);
  Inputs in(launch, at::q);
  int64_t tasks = s.batch * s.groups, lanes = std::min(tasks, most_lanes), members = s.heads / s.groups;
  int64_t head_states = s.chunks * s.key * s.value;
  const float *d_y = input(launch, at::d_y), *states = input(launch, at::states);
  Scratch scratch(launch, at::scratch);
  float *room = scratch.take<float>(lanes * s.backwardLane());
  double *sums = scratch.take<double>(2 * s.batch * s.heads);
  float *own_states = states ? nullptr : scratch.take<float>(lanes * head_states);
  if (int32_t status = scratch.check("mg_gated_delta_grad"))
    return status;
  Outputs out = {output(launch, at::d_q), output(launch, at::d_k), output(launch, at::d_v), output(launch, at::d_b),
                 output(launch, at::d_a)};
  parallelFor(lanes, [&](int64_t lane) {
    float *lane_room = room + lane * s.backwardLane();
    for (int64_t task = lane; task < tasks; task += lanes)
      for (int64_t member = 0; member < members; ++member) {
        int64_t b = task / s.groups, h = task % s.groups * members + member, tile = b * s.heads + h;
        const float *entering = states ? states + tile * head_states : own_states + lane * head_states;
        if (!states)
          walk(s, in, lane_room, b, h, /*y=*/nullptr, own_states + lane * head_states);
        walkBack(s, in, lane_room, b, h, d_y, entering, out, sums + 2 * tile);
      }
  });
  float *d_a_log = output(launch, at::d_a_log), *d_dt_bias = output(launch, at::d_dt_bias);
  for (int64_t h = 0; h < s.heads; ++h) {
    double total[2] = {};
    for (int64_t b = 0; b < s.batch; ++b)
      for (int i : {0, 1})
        total[i] += sums[2 * (b * s.heads + h) + i];
    d_a_log[h] = float(total[0]), d_dt_bias[h] = float(total[1]);
  }
  return 0;
}
}
