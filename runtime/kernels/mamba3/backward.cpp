// Gradients of the Mamba-3 scan. A task takes some heads of one group through the sequence: each window of tokens is replayed from the
// state at its start, which the forward saved or a first pass leaves, then swept chunk by chunk in reverse, carrying the adjoint of the
// state. Sums over heads, tokens and batch rows follow in a fixed order.
#include "runtime/kernels/mamba3/Scan.h"

using namespace megacc::runtime;
using namespace megacc::runtime::mamba3;

namespace {

/// Tokens whose norm gradients are summed together.
constexpr int64_t token_tile = 64;

/// What a head contributes to the gradients of its parameters; channels in the kernel's order.
struct ParameterGradients {
  float *bias[2], *psi, *zeta, *phi, *out_norm, *dt_bias, *skip;

  ParameterGradients(const Shape &s, float *first) {
    LaneScratch scratch(first);
    bias[0] = scratch.take(s.rank * s.N), bias[1] = scratch.take(s.rank * s.N);
    psi = scratch.take(s.rank * s.P), zeta = scratch.take(s.rank * s.P), phi = scratch.take(s.rank * s.P), out_norm = scratch.take(s.P);
    dt_bias = scratch.take(1), skip = dt_bias + 1;
  }
};

struct Lane {
  Head head;
  Chunk chunk;
  float *K_transposed, *U_transposed, *H_transposed, *Gamma_transposed, *S, *M, *F, *dQ, *dK;
  float *Y_state, *Y, *E, *scaled, *dU, *Gamma, *zeros, *states;
  float *row_sum, *d_angle, *pairs, *rho;
  float *d_weight, *d_gamma, *d_decay, *d_delta; // [S]: e, dgam, da of the formulas, and the angles' share of the step's gradient

  Lane(const Shape &s, LaneScratch scratch) : head(s, scratch), chunk(s, scratch) {
    for (float **values : {&dQ, &dK, &K_transposed})
      *values = scratch.take(s.L * s.N);
    for (float **values : {&U_transposed, &Y_state, &Y, &E, &scaled, &dU})
      *values = scratch.take(s.L * s.P);
    for (float **values : {&S, &M, &F})
      *values = scratch.take(s.L * s.L);
    for (float **values : {&H_transposed, &Gamma_transposed, &Gamma, &zeros})
      *values = scratch.take(s.N * s.P);
    std::fill(zeros, zeros + s.N * s.P, 0.0f);
    states = scratch.take((s.windowChunks() + 1) * s.N * s.P);
    std::fill(E, E + s.L * s.P, 0.0f); // its padding stays zero
    row_sum = scratch.take(s.L), d_angle = scratch.take(s.angles), pairs = scratch.take(s.chunk), rho = scratch.take(s.chunk);
    for (float **values : {&d_weight, &d_gamma, &d_decay, &d_delta})
      *values = scratch.take(s.sequence);
  }
};

/// One head of one batch row, and where its gradients go.
struct Place {
  int64_t b, h;
  bool first_of_task;           // the other heads of a task add to keys and angles
  const float *d_y, *states;    // [T, inner]; [windows, state, head_dim] of this head
  float *own_states;            // the same where they are to be computed first, else null
  float *d_projection, *angles; // [T, width]; [T, angles] of the task
  float *d_cut;                 // [T, heads], null without a state gate
  float *keys[2];               // B and C of the row's first token, before the norms: in d_projection or in scratch of the same order
  int64_t key_stride;
  ParameterGradients sums;
};

inline void addTo(float *__restrict sum, const float *__restrict values, int64_t count) {
  for (int64_t i = 0; i < count; ++i)
    sum[i] += values[i];
}

class HeadBackward {
public:
  HeadBackward(const Shape &s, const Tokens &tokens, Lane &lane, const Place &to)
      : s(s), tokens(tokens), lane(lane), chunk(lane.chunk), head(lane.head), to(to), sums(to.sums), b(to.b), h(to.h) {}

  void run() {
    head.compute(s, tokens, b, h);
    std::fill(sums.bias[0], sums.dt_bias + 8, 0.0f);
    std::fill(lane.Gamma, lane.Gamma + s.N * s.P, 0.0f);
    std::fill(lane.d_angle, lane.d_angle + s.angles, 0.0f);
    if (to.own_states)
      computeStates();
    for (int64_t w = s.windows - 1; w >= 0; --w) {
      int64_t begin = w * s.window, end = std::min(s.sequence, begin + s.window);
      replay(w, begin, end);
      for (int64_t last = end, first; last > begin; last = first) {
        first = s.chunkBegin(b, last);
        sweep(begin, first, last);
      }
    }
    finishTokens();
  }

private:
  /// The states entering the windows, as the forward leaves them.
  void computeStates() {
    float *H = lane.states;
    std::fill(H, H + s.N * s.P, 0.0f);
    for (int64_t begin = 0, end; begin < s.sequence; begin = end) {
      end = s.chunkEnd(b, begin);
      if (s.startsDocument(b, begin))
        std::fill(H, H + s.N * s.P, 0.0f);
      if (begin % s.window == 0)
        for (int64_t n = 0; n < s.state; ++n)
          std::memcpy(to.own_states + (begin / s.window * s.state + n) * s.head_dim, H + n * s.P, s.head_dim * sizeof(float));
      chunk.load(s, tokens, head, begin, end, /*queries=*/false);
      prefetchTokens(s, head, end, std::min(end + s.chunk, s.sequence));
      advanceState(s, chunk, lane.scaled, H);
    }
  }

  /// The state entering a chunk at t: zero where a document starts off the multiples of `chunk`.
  float *stateAt(int64_t window_begin, int64_t t) {
    return t % s.chunk ? lane.zeros : lane.states + (t - window_begin) / s.chunk * s.N * s.P;
  }
  /// The state leaving a chunk that ends at t, a multiple of `chunk`.
  float *stateLeaving(int64_t window_begin, int64_t t) const { return lane.states + (t - window_begin) / s.chunk * s.N * s.P; }

  /// The states entering the chunks that begin on multiples of `chunk`, and the one leaving the window.
  void replay(int64_t w, int64_t begin, int64_t end) {
    float *H = lane.states;
    std::fill(H, H + s.N * s.P, 0.0f);
    for (int64_t n = 0; n < s.state; ++n)
      std::memcpy(H + n * s.P, to.states + (w * s.state + n) * s.head_dim, s.head_dim * sizeof(float));
    for (int64_t t = begin, next; t < end; t = next) {
      next = s.chunkEnd(b, t);
      H = stateAt(begin, t);
      if (s.startsDocument(b, t) && H != lane.zeros)
        std::fill(H, H + s.N * s.P, 0.0f);
      if (next % s.chunk) // a document or nothing follows
        continue;
      float *leaving = stateLeaving(begin, next);
      std::memcpy(leaving, H, s.N * s.P * sizeof(float));
      chunk.load(s, tokens, head, t, next, /*queries=*/false);
      prefetchTokens(s, head, next, std::min(next + s.chunk, end));
      advanceState(s, chunk, lane.scaled, leaving);
    }
  }

  void sweep(int64_t window_begin, int64_t begin, int64_t end) {
    chunk.load(s, tokens, head, begin, end, /*queries=*/true);
    prefetchTokens(s, head, std::max(begin - s.chunk, window_begin), begin);
    int64_t rows = chunk.rows, all = padded(rows);
    const float *H = stateAt(window_begin, begin);
    tileTranspose(all, s.N, chunk.K, s.N, lane.K_transposed, s.L);
    tileTranspose(all, s.P, chunk.U, s.P, lane.U_transposed, s.L);
    tileTranspose(s.N, s.P, H, s.P, lane.H_transposed, s.N);
    tileTranspose(s.N, s.P, lane.Gamma, s.P, lane.Gamma_transposed, s.N);

    // Y as in the forward; S = Q K^T is kept for the sums below.
    tileProduct(rows, s.P, s.state, {chunk.Q, s.N, 1}, H, s.P, lane.Y_state, s.P, false);
    scaleRows(rows, s.rank, s.P, chunk.entering, lane.Y_state, lane.Y_state);
    std::memcpy(lane.Y, lane.Y_state, rows * s.P * sizeof(float));
    forPanels(s, chunk, [&](int64_t first, int64_t count, int64_t last, int64_t columns) {
      tileProduct(count, columns, s.state, {chunk.Q + first * s.N, s.N, 1}, lane.K_transposed, s.L, lane.S + first * s.L, s.L, false);
      for (int64_t i = first; i < last; ++i) {
        const float *mask = chunk.mask + i / s.rank * s.L, *from = lane.S + i * s.L;
        float *row = lane.M + i * s.L;
        for (int64_t j = 0; j < columns; ++j)
          row[j] = from[j] * mask[j];
        row[i] += s.skip[h];
      }
      tileProduct(count, s.P, last, {lane.M + first * s.L, s.L, 1}, chunk.U, s.P, lane.Y + first * s.P, s.P, true);
    });
    for (int64_t i = 0; i < chunk.tokens; ++i)
      gateToken(i);

    forPanels(s, chunk, [&](int64_t first, int64_t count, int64_t last, int64_t columns) {
      tileProduct(count, columns, s.head_dim, {lane.E + first * s.P, s.P, 1}, lane.U_transposed, s.L, lane.F + first * s.L, s.L, false);
    });
    // dU = M^T E + leaving . (K Gamma)
    tileProduct(rows, s.P, s.state, {chunk.K, s.N, 1}, lane.Gamma, s.P, lane.dU, s.P, false);
    decayGradients(window_begin);
    scaleRows(rows, s.rank, s.P, chunk.leaving, lane.dU, lane.dU);
    forPanels(s, chunk, [&](int64_t first, int64_t count, int64_t, int64_t) {
      tileProduct(count, s.P, rows - first, {lane.M + first * s.L + first, 1, s.L}, lane.E + first * s.P, s.P, lane.dU + first * s.P, s.P,
                  true);
    });
    for (int64_t i = 0; i < chunk.tokens; ++i)
      inputToken(i);

    // dK = (F * mask)^T Q + leaving . (U Gamma^T);  dQ = (F * mask) K + entering . (E H^T)
    scaleRows(rows, s.rank, s.P, chunk.leaving, chunk.U, lane.scaled);
    tileProduct(rows, s.N, s.head_dim, {lane.scaled, s.P, 1}, lane.Gamma_transposed, s.N, lane.dK, s.N, false);
    scaleRows(rows, s.rank, s.P, chunk.entering, lane.E, lane.scaled);
    tileProduct(rows, s.N, s.head_dim, {lane.scaled, s.P, 1}, lane.H_transposed, s.N, lane.dQ, s.N, false);
    forPanels(s, chunk, [&](int64_t first, int64_t count, int64_t last, int64_t) {
      tileProduct(count, s.N, last, {lane.F + first * s.L, s.L, 1}, chunk.K, s.N, lane.dQ + first * s.N, s.N, true);
      tileProduct(count, s.N, rows - first, {lane.F + first * s.L + first, 1, s.L}, chunk.Q + first * s.N, s.N, lane.dK + first * s.N, s.N,
                  true);
    });
    // The adjoint of the state entering the chunk.
    float *Gamma = lane.Gamma;
    if (s.startsDocument(b, begin)) {
      std::fill(Gamma, Gamma + s.N * s.P, 0.0f);
    } else {
      for (int64_t i = 0; i < s.state * s.P; ++i)
        Gamma[i] *= chunk.end_decay;
      tileProduct(s.state, s.P, rows, {chunk.Q, 1, s.N}, lane.scaled, s.P, Gamma, s.P, true);
    }
    for (int64_t i = chunk.tokens - 1; i >= 0; --i)
      keyToken(i);
  }

  /// Output side of one token: E = dL/dY, and the gradients of z, zeta, phi and the norm's weight.
  void gateToken(int64_t i) {
    int64_t t = b * s.sequence + chunk.begin + i;
    float *d_z = to.d_projection + t * s.width + h * s.head_dim;
    std::fill(d_z, d_z + s.head_dim, 0.0f);
    for (int64_t r = 0; r < s.rank; ++r) {
      const float *y = lane.Y + (i * s.rank + r) * s.P;
      float scale = s.norm ? 1.0f / std::sqrt(dot(y, y, s.head_dim) / float(s.head_dim) + s.eps) : 1.0f;
      gateRank(r, scale, y, s.projection + t * s.width + h * s.head_dim, to.d_y + t * s.inner + h * s.head_dim,
               lane.E + (i * s.rank + r) * s.P, d_z);
    }
  }

  void gateRank(int64_t r, float scale, const float *__restrict y, const float *__restrict z, const float *__restrict d_y,
                float *__restrict E, float *__restrict d_z) {
    const float *__restrict zeta = head.zeta + r * s.P, *__restrict phi = head.phi + r * s.P, *__restrict norm = head.out_norm;
    float *__restrict d_zeta = sums.zeta + r * s.P, *__restrict d_phi = sums.phi + r * s.P, *__restrict d_norm = sums.out_norm;
    int64_t count = s.head_dim;
    for (int64_t p = 0; p < count; ++p) {
      float w = z[p] * zeta[p], gate = sigmoid(w), silu = w * gate, unit = y[p] * scale, normed = unit * norm[p];
      float d_w = d_y[p] * phi[p] * normed * gate * (1.0f + w * (1.0f - gate));
      float e = d_y[p] * phi[p] * silu;
      d_phi[p] += d_y[p] * normed * silu;
      d_zeta[p] += d_w * z[p];
      d_z[p] += d_w * zeta[p];
      d_norm[p] += e * unit;
      E[p] = e * norm[p];
    }
    if (!s.norm)
      return;
    float shift = dot(E, y, count) * scale * scale / float(count);
    for (int64_t p = 0; p < count; ++p)
      E[p] = scale * (E[p] - y[p] * shift);
  }

  /// F becomes F * mask; d_weight, d_gamma and d_decay of the chunk. dU holds K Gamma.
  void decayGradients(int64_t window_begin) {
    int64_t rank = s.rank, P = s.P;
    float *d_weight = lane.d_weight + chunk.begin, *d_gamma = lane.d_gamma + chunk.begin, *d_decay = lane.d_decay + chunk.begin;
    for (int64_t i = 0; i < chunk.tokens; ++i)
      d_weight[i] = 0.0f, lane.rho[i] = 0.0f;
    for (int64_t i = 0; i < chunk.tokens; ++i) {
      int64_t end = std::min(chunk.rows, (i * rank / s.panel + 1) * s.panel), columns = padded(end);
      const float *__restrict mask = chunk.mask + i * s.L;
      float *__restrict sum = lane.row_sum;
      std::fill(sum, sum + columns, 0.0f);
      for (int64_t r = 0; r < rank; ++r) {
        float *__restrict F = lane.F + (i * rank + r) * s.L;
        const float *__restrict S = lane.S + (i * rank + r) * s.L;
        for (int64_t j = 0; j < columns; ++j) {
          sum[j] += F[j] * S[j];
          F[j] *= mask[j];
        }
      }
      float *block = lane.pairs, rho = 0.0f;
      for (int64_t j = 0; j <= i; ++j) {
        block[j] = 0.0f;
        for (int64_t r = 0; r < rank; ++r)
          block[j] += sum[j * rank + r];
      }
      const float *decays = chunk.pair + i * s.chunk;
      for (int64_t j = 0; j < i; ++j) {
        float share = decays[j] * block[j];
        d_weight[j] += share;
        rho += share * head.weight[chunk.begin + j];
      }
      d_gamma[i] = block[i];
      lane.rho[i] = rho + dot(lane.E + i * rank * P, lane.Y_state + i * rank * P, rank * P);
    }
    float after = chunkAnchor(window_begin);
    for (int64_t i = chunk.tokens - 1; i >= 0; --i) {
      float state_share = chunk.remaining[i] * dot(chunk.U + i * rank * P, lane.dU + i * rank * P, rank * P);
      d_weight[i] += state_share;
      d_decay[i] = after += lane.rho[i] - head.weight[chunk.begin + i] * d_weight[i];
    }
  }

  /// Inner product of the state leaving the chunk with its adjoint.
  float chunkAnchor(int64_t window_begin) const {
    int64_t end = chunk.begin + chunk.tokens;
    if (end == s.sequence || s.startsDocument(b, end))
      return 0.0f;
    return dot(stateLeaving(window_begin, end), lane.Gamma, s.N * s.P);
  }

  /// Input side of one token: the gradients of x, psi and the skip.
  void inputToken(int64_t i) {
    int64_t t = b * s.sequence + chunk.begin + i, count = s.head_dim;
    const float *__restrict x = s.projection + t * s.width + s.column_x + h * count;
    float *__restrict d_x = to.d_projection + t * s.width + s.column_x + h * count;
    std::fill(d_x, d_x + count, 0.0f);
    for (int64_t r = 0; r < s.rank; ++r) {
      const float *__restrict d_u = lane.dU + (i * s.rank + r) * s.P, *__restrict psi = head.psi + r * s.P;
      float *__restrict d_psi = sums.psi + r * s.P;
      for (int64_t p = 0; p < count; ++p) {
        d_x[p] += d_u[p] * psi[p];
        d_psi[p] += d_u[p] * x[p];
      }
    }
    *sums.skip += dot(lane.E + i * s.rank * s.P, chunk.U + i * s.rank * s.P, s.rank * s.P);
  }

  /// Key side of one token, in reverse: gradients of the angles, biases, and of B and C before their norms.
  void keyToken(int64_t i) {
    int64_t t = chunk.begin + i;
    const float *cosine = head.cosine + t * s.angles, *sine = head.sine + t * s.angles;
    for (int64_t r = 0; r < s.rank; ++r) {
      int64_t row = (i * s.rank + r) * s.N, v = r * s.groups + s.group(h);
      turnBack(cosine, sine, chunk.K + row, lane.dK + row);
      turnBack(cosine, sine, chunk.Q + row, lane.dQ + row);
      int which = 0;
      for (const float *d : {lane.dK + row, lane.dQ + row}) {
        addTo(sums.bias[which] + r * s.N, d, s.N);
        addKey(d, to.keys[which] + t * to.key_stride + v * s.state);
        ++which;
      }
    }
    const float *turn = tokens.turn + (b * s.sequence + t) * s.angles;
    float *angle = to.angles + (b * s.sequence + t) * s.angles, step = 0.0f, scale = std::numbers::pi_v<float> * head.delta[t];
    for (int64_t j = 0; j < s.angles; ++j) {
      step += std::numbers::pi_v<float> * turn[j] * lane.d_angle[j];
      angle[j] = (to.first_of_task ? 0.0f : angle[j]) + scale * lane.d_angle[j];
    }
    lane.d_delta[t] = step;
    if (s.startsDocument(b, t))
      std::fill(lane.d_angle, lane.d_angle + s.angles, 0.0f);
  }

  /// Adds the gradient of a row's angles and turns the row's gradient back by them.
  void turnBack(const float *__restrict cosine, const float *__restrict sine, const float *__restrict v, float *__restrict d) {
    float *__restrict sum = lane.d_angle;
    int64_t half = s.state / 2;
#pragma clang loop vectorize_width(8) interleave(disable)
    for (int64_t j = 0; j < s.angles; ++j) {
      float a = d[j], c = d[j + half];
      sum[j] += v[j] * c - v[j + half] * a;
      d[j] = a * cosine[j] + c * sine[j];
      d[j + half] = c * cosine[j] - a * sine[j];
    }
  }

  /// Adds the gradient of a row of B or C to the task's; the first head of a task overwrites.
  void addKey(const float *__restrict d, float *__restrict sum) {
    if (s.mimo && to.first_of_task) {
      std::memcpy(sum, d, s.state * sizeof(float));
    } else if (s.mimo) {
      addTo(sum, d, s.state);
    } else {
      for (int64_t n = 0; n < s.state; ++n)
        sum[n] = (to.first_of_task ? 0.0f : sum[n]) + d[s.inside(n)];
    }
  }

  /// Gradients of dd_dt, dd_A, trap, dt_bias and of what the state gate takes.
  void finishTokens() {
    double d_dt_bias = 0;
    for (int64_t t = 0; t < s.sequence; ++t) {
      const float *row = s.row(b, t);
      float *d_row = to.d_projection + (b * s.sequence + t) * s.width;
      float lambda = head.lambda[t], delta = head.delta[t], v = row[s.column_decay + h];
      float rate = s.heavy ? (v >= 0.0f ? 1.0f + v : 1.0f / (1.0f - v)) : softplus(v);
      float slope = s.heavy ? (v >= 0.0f ? 1.0f : rate * rate) : sigmoid(v);
      float d_current = lane.d_weight[t] + lane.d_gamma[t], d_previous = s.startsDocument(b, t) ? 0.0f : lane.d_weight[t - 1];
      float d_delta = d_current * lambda + d_previous * (1.0f - lambda) + lane.d_delta[t] - std::max(rate, 1e-4f) * lane.d_decay[t];
      float d_dt = d_delta * sigmoid(row[s.column_dt + h] + s.dt_bias[h]);
      d_dt_bias += d_dt;
      d_row[s.column_dt + h] = d_dt;
      d_row[s.column_decay + h] = rate >= 1e-4f ? -slope * delta * lane.d_decay[t] : 0.0f;
      d_row[s.column_trap + h] = delta * (d_current - d_previous) * lambda * (1.0f - lambda);
      if (to.d_cut)
        to.d_cut[(b * s.sequence + t) * s.heads + h] = -lane.d_decay[t];
    }
    *sums.dt_bias = float(d_dt_bias);
  }

  const Shape &s;
  const Tokens &tokens;
  Lane &lane;
  Chunk &chunk;
  Head &head;
  const Place &to;
  const ParameterGradients &sums;
  int64_t b, h;
};

/// Sums over tasks and the norm of B and C, token by token.
void finishKeys(const Shape &s, const Tokens &tokens, int64_t parts, const float *key_parts, const float *angle_parts, float *d_projection,
                float *partial) {
  int64_t count = s.batch * s.sequence, vectors = s.rank * s.groups, angle_tasks = s.groups * parts;
  parallelRanges(count, token_tile, [&](int64_t begin, int64_t end) {
    float *sum = partial + begin / token_tile * 2 * s.state;
    std::fill(sum, sum + 2 * s.state, 0.0f);
    for (int64_t t = begin; t < end; ++t) {
      float *d_row = d_projection + t * s.width;
      const float *row = s.projection + t * s.width;
      for (int64_t part = 1; part < parts; ++part)
        addTo(d_row + s.column_key[0], key_parts + ((part - 1) * count + t) * 2 * s.keyColumns(), 2 * s.keyColumns());
      for (int which : {0, 1})
        for (int64_t v = 0; v < vectors; ++v) {
          float *__restrict d = d_row + s.column_key[which] + v * s.state, *__restrict d_weight = sum + which * s.state;
          const float *__restrict key = row + s.column_key[which] + v * s.state, *__restrict weight = s.norm_weight[which];
          float scale = tokens.rstd[which][t * vectors + v];
          for (int64_t n = 0; n < s.state; ++n) {
            d_weight[n] += d[n] * key[n] * scale;
            d[n] *= weight[n];
          }
          float shift = dot(d, key, s.state) / float(s.state) * scale * scale;
          for (int64_t n = 0; n < s.state; ++n)
            d[n] = scale * (d[n] - key[n] * shift);
        }
      const float *turn = tokens.turn + t * s.angles;
      for (int64_t j = 0; j < s.angles; ++j) {
        float angle = 0.0f;
        for (int64_t task = 0; task < angle_tasks; ++task)
          angle += angle_parts[(task * count + t) * s.angles + j];
        d_row[s.column_angle + j] = angle * (1.0f - turn[j] * turn[j]);
      }
    }
  });
}

} // namespace

extern "C" int32_t mg_mamba3_scan_grad(const MgLaunch *launch) {
  MG_ENTER(mg_mamba3_scan_grad);
  int64_t parameters = launch->ints[number::parts];
  Shape s(launch, at::projection, at::documents, at::d_parameter + parameters);
  s.psi_v = output(launch, at::psi_v), s.reads_psi_v = s.psi_v != nullptr;
  const float *d_y = input(launch, at::d_y), *states = input(launch, at::states);
  float *d_projection = output(launch, at::d_projection);
  int64_t count = s.batch * s.sequence, parts = s.parts(), part_heads = s.heads / s.groups / parts;

  Scratch scratch(launch, at::scratch);
  Tokens tokens(s, scratch);
  float *sums = scratch.take<float>(s.batch * s.heads * s.parameterSums());
  float *key_parts = scratch.take<float>((parts - 1) * count * 2 * s.keyColumns());
  float *angle_parts = scratch.take<float>(s.groups * parts * count * s.angles);
  float *norm_partial = scratch.take<float>((count + token_tile - 1) / token_tile * 2 * s.state);
  int64_t tasks = s.batch * s.groups * parts, lanes = std::min(tasks, max_lanes), head_states = s.windows * s.state * s.head_dim;
  float *lane_scratch = scratch.take<float>(lanes * s.backwardLane());
  float *own_states = states ? nullptr : scratch.take<float>(lanes * head_states);
  if (int32_t status = scratch.check("mg_mamba3_scan_grad"))
    return status;
  tokens.compute(s);

  parallelFor(lanes, [&](int64_t index) {
    Lane lane(s, LaneScratch(lane_scratch + index * s.backwardLane()));
    float *lane_states = states ? nullptr : own_states + index * head_states;
    for (int64_t task = index; task < tasks; task += lanes) {
      int64_t part = task % parts, group = task / parts % s.groups, b = task / parts / s.groups;
      int64_t key_stride = part ? 2 * s.keyColumns() : s.width;
      float *keys = part ? key_parts + ((part - 1) * count + b * s.sequence) * key_stride
                         : d_projection + b * s.sequence * key_stride + s.column_key[0];
      for (int64_t i = 0; i < part_heads; ++i) {
        int64_t h = (group * parts + part) * part_heads + i, head = b * s.heads + h;
        Place to = {b,
                    h,
                    i == 0,
                    d_y,
                    states ? states + head * head_states : lane_states,
                    lane_states,
                    d_projection,
                    angle_parts + (group * parts + part) * count * s.angles,
                    s.cut ? output(launch, at::d_parameter + parameters - 1) : nullptr,
                    {keys, keys + s.keyColumns()},
                    key_stride,
                    ParameterGradients(s, sums + head * s.parameterSums())};
        HeadBackward(s, tokens, lane, to).run();
      }
    }
  });
  finishKeys(s, tokens, parts, key_parts, angle_parts, d_projection, norm_partial);

  auto gradient = [&](int64_t parameter) { return output(launch, at::d_parameter + parameter); }; // in the order of kernels.def
  parallelFor(s.heads, [&](int64_t h) {
    // Adds the batch rows of one gradient in order.
    auto sum = [&](auto place, int64_t vectors, int64_t size, int64_t stride, bool channels, float *result) {
      for (int64_t v = 0; v < vectors; ++v)
        for (int64_t i = 0; i < size; ++i) {
          float total = 0.0f;
          for (int64_t b = 0; b < s.batch; ++b)
            total += place(ParameterGradients(s, sums + (b * s.heads + h) * s.parameterSums()))[v * stride + (channels ? s.inside(i) : i)];
          result[(h * vectors + v) * size + i] = total;
        }
    };
    sum([](const ParameterGradients &g) { return g.dt_bias; }, 1, 1, 1, false, gradient(0));
    sum([](const ParameterGradients &g) { return g.skip; }, 1, 1, 1, false, gradient(1));
    sum([](const ParameterGradients &g) { return g.bias[0]; }, s.rank, s.state, s.N, true, gradient(2));
    sum([](const ParameterGradients &g) { return g.bias[1]; }, s.rank, s.state, s.N, true, gradient(3));
    if (s.mimo) {
      sum([](const ParameterGradients &g) { return g.psi; }, s.rank, s.head_dim, s.P, false, gradient(6));
      sum([](const ParameterGradients &g) { return g.zeta; }, s.rank, s.head_dim, s.P, false, gradient(7));
      sum([](const ParameterGradients &g) { return g.phi; }, s.rank, s.head_dim, s.P, false, gradient(8));
    }
    if (s.norm)
      sum([](const ParameterGradients &g) { return g.out_norm; }, 1, s.head_dim, s.P, false, gradient(s.mimo ? 9 : 6));
  });
  int64_t tiles = (count + token_tile - 1) / token_tile;
  for (int which : {0, 1})
    for (int64_t n = 0; n < s.state; ++n) {
      float total = 0.0f;
      for (int64_t tile = 0; tile < tiles; ++tile)
        total += norm_partial[(tile * 2 + which) * s.state + n];
      gradient(4 + which)[n] = total;
    }
  return 0;
}
