#include "runtime/kernels/mamba3/Scan.h"

namespace megacc::runtime::mamba3 {

void Tokens::compute(const Shape &s) {
  int64_t vectors = s.rank * s.groups;
  parallelRanges(s.batch * s.sequence, 64, [&](int64_t first, int64_t last) {
    for (int64_t t = first; t < last; ++t) {
      const float *row = s.projection + t * s.width;
      for (int which : {0, 1})
        for (int64_t v = 0; v < vectors; ++v) {
          const float *key = row + s.column_key[which] + v * s.state;
          rstd[which][t * vectors + v] = 1.0f / std::sqrt(dot(key, key, s.state) / float(s.state) + s.eps);
        }
      for (int64_t j = 0; j < s.angles; ++j)
        turn[t * s.angles + j] = fastTanh(row[s.column_angle + j]);
    }
  });
}

Head::Head(const Shape &s, LaneScratch &scratch) {
  for (float **values : {&delta, &lambda, &decay, &gamma, &weight})
    *values = scratch.take(s.sequence);
  cosine = scratch.take(s.sequence * s.angles), sine = scratch.take(s.sequence * s.angles);
  for (int which : {0, 1})
    norm_weight[which] = scratch.take(s.N), bias[which] = scratch.take(s.rank * s.N);
  for (float **values : {&psi, &zeta, &phi})
    *values = scratch.take(s.rank * s.P);
  out_norm = scratch.take(s.P);
}

void Head::compute(const Shape &s, const Tokens &tokens, int64_t batch_row, int64_t head) {
  b = batch_row, h = head;
  int64_t S = s.sequence;
  for (int64_t t = 0; t < S; ++t) {
    const float *row = s.row(b, t);
    delta[t] = row[s.column_dt + h] + s.dt_bias[h];
    decay[t] = row[s.column_decay + h];
    lambda[t] = row[s.column_trap + h];
  }
  for (int64_t t = 0; t < S; ++t) {
    float v = decay[t], rate = s.heavy ? (v >= 0.0f ? 1.0f + v : 1.0f / (1.0f - v)) : softplus(v);
    delta[t] = softplus(delta[t]);
    decay[t] = std::min(-rate, -1e-4f) * delta[t];
    lambda[t] = sigmoid(lambda[t]);
    gamma[t] = lambda[t] * delta[t];
  }
  for (int64_t t = 0; s.cut && t < S; ++t)
    decay[t] -= s.cut[(b * S + t) * s.heads + h];
  for (int64_t t = 0; t < S; ++t) {
    bool last = t + 1 == S || s.startsDocument(b, t + 1);
    weight[t] = gamma[t] + (last ? 0.0f : (1.0f - lambda[t + 1]) * delta[t + 1]);
  }
  // Angles are summed in double and wrapped; cosine holds them until all are there.
  for (int64_t first = 0; first < s.angles; first += 8) {
    int64_t count = std::min<int64_t>(8, s.angles - first);
    double theta[8] = {};
    for (int64_t t = 0; t < S; ++t) {
      if (s.startsDocument(b, t))
        std::fill(theta, theta + 8, 0.0);
      const float *turn = tokens.turn + (b * S + t) * s.angles + first;
      float *wrapped = cosine + t * s.angles + first;
      for (int64_t j = 0; j < count; ++j) {
        theta[j] += std::numbers::pi * turn[j] * delta[t];
        theta[j] -= 2 * std::numbers::pi * std::rint(theta[j] / (2 * std::numbers::pi));
        wrapped[j] = float(theta[j]);
      }
    }
  }
  for (int64_t i = 0; i < S * s.angles; ++i) {
    float angle = cosine[i];
    sinCos(angle, sine[i], cosine[i]);
  }
  for (int which : {0, 1}) {
    std::fill(norm_weight[which], norm_weight[which] + s.N, 0.0f);
    std::fill(bias[which], bias[which] + s.rank * s.N, 0.0f);
    for (int64_t n = 0; n < s.state; ++n) {
      norm_weight[which][s.inside(n)] = s.norm_weight[which][n];
      for (int64_t r = 0; r < s.rank; ++r)
        bias[which][r * s.N + s.inside(n)] = s.bias[which][(h * s.rank + r) * s.state + n];
    }
  }
  auto copy = [&](const float *from, int64_t vectors, float *to) {
    std::fill(to, to + vectors * s.P, 0.0f);
    for (int64_t v = 0; v < vectors; ++v)
      for (int64_t p = 0; p < s.head_dim; ++p)
        to[v * s.P + p] = from ? from[(h * vectors + v) * s.head_dim + p] : 1.0f;
  };
  copy(s.mimo_x, s.rank, psi), copy(s.mimo_z, s.rank, zeta), copy(s.mimo_o, s.rank, phi), copy(s.out_norm, 1, out_norm);
}

Chunk::Chunk(const Shape &s, LaneScratch &scratch) {
  K = scratch.take(s.L * s.N), Q = scratch.take(s.L * s.N), U = scratch.take(s.L * s.P);
  for (float **values : {&entering, &remaining, &leaving})
    *values = scratch.take(s.chunk);
  pair = scratch.take(s.chunk * s.chunk), mask = scratch.take(s.chunk * s.L);
}

/// One row of K or Q: normalised, biased, rotated.
static inline void loadKey(const Shape &s, const float *__restrict from, float scale, const float *__restrict norm_weight,
                           const float *__restrict bias, const float *__restrict cosine, const float *__restrict sine,
                           float *__restrict to) {
  int64_t half = s.state / 2;
  if (s.mimo) {
    for (int64_t n = 0; n < s.state; ++n)
      to[n] = from[n] * scale * norm_weight[n] + bias[n];
  } else {
    for (int64_t n = 0; n < half; ++n) {
      to[n] = from[2 * n] * scale * norm_weight[n] + bias[n];
      to[n + half] = from[2 * n + 1] * scale * norm_weight[n + half] + bias[n + half];
    }
  }
#pragma clang loop vectorize_width(8) interleave(disable)
  for (int64_t j = 0; j < s.angles; ++j) {
    float a = to[j], b = to[j + half];
    to[j] = a * cosine[j] - b * sine[j];
    to[j + half] = a * sine[j] + b * cosine[j];
  }
  for (int64_t n = s.state; n < s.N; ++n)
    to[n] = 0.0f;
}

void Chunk::load(const Shape &s, const Tokens &all, const Head &head, int64_t first, int64_t last, bool queries) {
  begin = first, tokens = last - first, rows = tokens * s.rank;
  int64_t vectors = s.rank * s.groups, group = s.group(head.h);
  for (int64_t i = 0; i < tokens; ++i) {
    int64_t t = begin + i;
    const float *row = s.row(head.b, t), *cosine = head.cosine + t * s.angles, *sine = head.sine + t * s.angles;
    const float *x = row + s.column_x + head.h * s.head_dim;
    for (int64_t r = 0; r < s.rank; ++r) {
      int64_t v = r * s.groups + group, index = (head.b * s.sequence + t) * vectors + v, to = i * s.rank + r;
      loadKey(s, row + s.column_key[0] + v * s.state, all.rstd[0][index], head.norm_weight[0], head.bias[0] + r * s.N, cosine, sine,
              K + to * s.N);
      if (queries)
        loadKey(s, row + s.column_key[1] + v * s.state, all.rstd[1][index], head.norm_weight[1], head.bias[1] + r * s.N, cosine, sine,
                Q + to * s.N);
      float *u = U + to * s.P;
      const float *psi = head.psi + r * s.P;
      if (s.reads_psi_v) {
        std::memcpy(u, s.cachedRow(head.b, t, head.h, r), s.head_dim * sizeof(float));
      } else {
        for (int64_t p = 0; p < s.head_dim; ++p)
          u[p] = x[p] * psi[p];
        if (s.psi_v)
          std::memcpy(s.cachedRow(head.b, t, head.h, r), u, s.head_dim * sizeof(float));
      }
      for (int64_t p = s.head_dim; p < s.P; ++p)
        u[p] = 0.0f;
    }
  }
  // Transposes and products read rows up to the padding.
  std::fill(K + rows * s.N, K + padded(rows) * s.N, 0.0f);
  std::fill(U + rows * s.P, U + padded(rows) * s.P, 0.0f);

  // Decays over spans of tokens: each span is summed by itself, as differences of long sums would lose digits.
  const float *a = head.decay + begin;
  float sum = 0;
  for (int64_t i = 0; i < tokens; ++i)
    entering[i] = sum += a[i];
  end_decay = fastExp(sum);
  sum = 0;
  for (int64_t i = tokens - 1; i >= 0; sum += a[i--])
    remaining[i] = sum;
  for (int64_t i = 0; i < tokens; ++i) {
    entering[i] = fastExp(entering[i]);
    remaining[i] = fastExp(remaining[i]);
    leaving[i] = remaining[i] * head.weight[begin + i];
  }
  if (!queries)
    return;
  for (int64_t i = 1; i < tokens; ++i) {
    float *span = pair + i * s.chunk;
    for (int64_t j = 0; j + 1 < i; ++j)
      span[j] = span[j - s.chunk] + a[i];
    span[i - 1] = a[i];
  }
  for (int64_t i = 0; i < tokens; ++i) {
    float *decays = pair + i * s.chunk, *row = mask + i * s.L;
#pragma clang loop vectorize_width(8) interleave(disable)
    for (int64_t j = 0; j < i; ++j)
      decays[j] = fastExp(decays[j]);
    for (int64_t j = 0; j < i; ++j)
      for (int64_t r = 0; r < s.rank; ++r)
        row[j * s.rank + r] = decays[j] * head.weight[begin + j];
    std::fill(row + i * s.rank, row + (i + 1) * s.rank, head.gamma[begin + i]);
    std::fill(row + (i + 1) * s.rank, row + s.L, 0.0f);
  }
}

void prefetchTokens(const Shape &s, const Head &head, int64_t first, int64_t last) {
  int64_t group = s.group(head.h);
  auto fetch = [](const float *from, int64_t count) {
    for (int64_t i = 0; i < count; i += 16)
      __builtin_prefetch(from + i);
  };
  for (int64_t t = first; t < last; ++t) {
    const float *row = s.row(head.b, t);
    fetch(row + head.h * s.head_dim, s.head_dim);
    fetch(row + s.column_x + head.h * s.head_dim, s.head_dim);
    for (int64_t v = group; v < s.rank * s.groups; v += s.groups)
      for (int which : {0, 1})
        fetch(row + s.column_key[which] + v * s.state, s.state);
  }
}

void scaleRows(int64_t rows, int64_t rank, int64_t cols, const float *factor, const float *from, float *to) {
  for (int64_t i = 0; i < rows; ++i) {
    float scale = factor[i / rank];
    for (int64_t j = 0; j < cols; ++j)
      to[i * cols + j] = from[i * cols + j] * scale;
  }
}

void advanceState(const Shape &s, const Chunk &chunk, float *scaled, float *state) {
  scaleRows(chunk.rows, s.rank, s.P, chunk.leaving, chunk.U, scaled);
  for (int64_t i = 0; i < s.state * s.P; ++i)
    state[i] *= chunk.end_decay;
  tileProduct(s.state, s.P, chunk.rows, {chunk.K, 1, s.N}, scaled, s.P, state, s.P, true);
}

} // namespace megacc::runtime::mamba3
