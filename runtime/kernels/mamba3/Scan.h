// What the forward and the backward of the Mamba-3 scan share: shapes, scratch, and the rows of a chunk.
//
// A chunk is at most Shape::chunk tokens of one document; row i of its matrices is token i / rank, rank i % rank. Q, K are the rotated
// output and input projections, U = x * psi. Rows are padded with zeros to multiples of 8. The rotation always pairs channels
// (j, j + state/2): without mimo parameters the even channels come first inside the kernel, which no result can see.
#pragma once
#include "runtime/core/Documents.h"
#include "runtime/core/FastMath.h"
#include "runtime/core/Launch.h"
#include "runtime/core/Scratch.h"
#include "runtime/core/ThreadPool.h"
#include "runtime/core/TileProduct.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numbers>

namespace megacc::runtime::mamba3 {

/// Rows of a chunk, at most, and rows of the causal panels in which its square matrices are computed.
constexpr int64_t chunk_rows = 32, panel_rows = 16;
/// Scratch exists for this many heads at a time.
constexpr int64_t max_lanes = 32;

/// Sum of products, in an order fixed when compiled.
inline float dot(const float *a, const float *b, int64_t count) {
#pragma clang fp reassociate(on)
  float sum = 0;
  for (int64_t i = 0; i < count; ++i)
    sum += a[i] * b[i];
  return sum;
}

inline int64_t padded(int64_t count) { return (count + 7) / 8 * 8; }

struct Shape {
  int64_t batch, sequence, heads, groups, rank, head_dim, state, angles, window;
  bool heavy, mimo, norm;
  float eps;
  const float *projection;
  const float *dt_bias, *skip, *bias[2], *norm_weight[2], *mimo_x, *mimo_z, *mimo_o, *out_norm;
  const float *cut; // [T, heads], null without a state gate
  const int32_t *documents;
  float *psi_v = nullptr;   // the cache of U, where there is one
  bool reads_psi_v = false; // in the backward

  int64_t inner, width;            // columns of y and of the projection
  int64_t column_x, column_key[2]; // z is at 0; keys: B, then C
  int64_t column_dt, column_decay, column_trap, column_angle;
  int64_t rows, chunk, panel, windows; // rows = chunk * rank
  int64_t N, P, L;                     // state, head_dim and rows, padded

  /// The parameters stand from operand `first` on. Both kernels have the same integers and reals.
  Shape(const MgLaunch *launch, int64_t projection_operand, int64_t documents_operand, int64_t first) {
    namespace number = number_mg_mamba3_scan;
    const int64_t *n = launch->ints;
    batch = n[number::batch], sequence = n[number::sequence], heads = n[number::heads], groups = n[number::groups], rank = n[number::rank];
    head_dim = n[number::head_dim], state = n[number::state], angles = n[number::angles], window = n[number::window];
    heavy = n[number::heavy], mimo = n[number::mimo], norm = n[number::out_norm];
    eps = float(launch->doubles[real_mg_mamba3_scan::eps]);
    projection = input(launch, projection_operand), documents = integers(launch, documents_operand);
    dt_bias = input(launch, first), skip = input(launch, first + 1);
    for (int which : {0, 1})
      bias[which] = input(launch, first + 2 + which), norm_weight[which] = input(launch, first + 4 + which);
    mimo_x = mimo ? input(launch, first + 6) : nullptr;
    mimo_z = mimo ? input(launch, first + 7) : nullptr;
    mimo_o = mimo ? input(launch, first + 8) : nullptr;
    int64_t next = mimo ? 9 : 6;
    out_norm = norm ? input(launch, first + next++) : nullptr;
    cut = n[number::parts] > next ? input(launch, first + next) : nullptr;

    inner = heads * head_dim;
    column_x = inner, column_key[0] = 2 * inner, column_key[1] = column_key[0] + keyColumns();
    column_dt = column_key[1] + keyColumns(), column_decay = column_dt + heads, column_trap = column_decay + heads;
    column_angle = column_trap + heads;
    width = column_angle + angles;
    for (chunk = chunk_rows; chunk > 1 && chunk * rank > chunk_rows;)
      chunk /= 2;
    rows = chunk * rank;
    panel = rank * std::max<int64_t>(1, panel_rows / rank);
    windows = (sequence + window - 1) / window;
    N = padded(state), P = padded(head_dim), L = padded(rows);
  }

  /// Row r of U of a token in the cache.
  float *cachedRow(int64_t b, int64_t t, int64_t h, int64_t r) const {
    return psi_v + (((b * sequence + t) * heads + h) * rank + r) * head_dim;
  }
  /// Columns of B, and of C.
  int64_t keyColumns() const { return rank * groups * state; }
  int64_t group(int64_t head) const { return head / (heads / groups); }
  const float *row(int64_t b, int64_t t) const { return projection + (b * sequence + t) * width; }

  bool startsDocument(int64_t b, int64_t t) const { return runtime::startsDocument(documents ? documents + b * sequence : nullptr, t); }
  /// Chunks end on multiples of `chunk` and before documents.
  int64_t chunkEnd(int64_t b, int64_t begin) const {
    int64_t limit = std::min(sequence, (begin / chunk + 1) * chunk), end = begin + 1;
    while (end < limit && !startsDocument(b, end))
      ++end;
    return end;
  }
  int64_t chunkBegin(int64_t b, int64_t end) const {
    int64_t begin = end - 1;
    while (begin % chunk && !startsDocument(b, begin))
      --begin;
    return begin;
  }

  /// Chunks of a window, without the cuts by documents.
  int64_t windowChunks() const { return (std::min(window, sequence) + chunk - 1) / chunk; }
  /// Tasks that share the heads of a group in the backward: enough for a few threads.
  int64_t parts() const {
    int64_t group_heads = heads / groups, count = 1;
    while (count < group_heads && (batch * groups * count < 16 || group_heads % count))
      ++count;
    return count;
  }

  // Floats of scratch.
  int64_t forwardLane() const { return L * (5 * N + 6 * P + 3 * L) + N * P + 8 * (L + N + P) + (5 + 2 * angles) * padded(sequence); }
  int64_t backwardLane() const {
    return L * (7 * N + 11 * P + 5 * L) + (windowChunks() + 5) * N * P + 8 * (L + N + P) + padded(angles) +
           (9 + 2 * angles) * padded(sequence);
  }
  int64_t parameterSums() const { return rank * (2 * N + 3 * P) + P + 8; }

  /// Where channel n of B or C stands inside the kernel.
  int64_t inside(int64_t n) const { return mimo ? n : n / 2 + n % 2 * (state / 2); }
};

/// Hands out the scratch of a lane, in multiples of 8 floats.
class LaneScratch {
public:
  explicit LaneScratch(float *next) : next(next) {}
  float *take(int64_t count) {
    float *taken = next;
    next += padded(count);
    return taken;
  }

private:
  float *next;
};

/// What every head reads of a token: 1/RMS of its B and C, tanh of its angles.
struct Tokens {
  float *rstd[2]; // [T, rank * groups]
  float *turn;    // [T, angles]

  Tokens(const Shape &s, Scratch &scratch) {
    int64_t count = s.batch * s.sequence;
    for (float *&values : rstd)
      values = scratch.take<float>(count * s.rank * s.groups);
    turn = scratch.take<float>(count * s.angles);
  }
  void compute(const Shape &s);
};

/// One head of one batch row, over the whole sequence.
struct Head {
  int64_t b, h;
  float *delta, *lambda, *decay, *gamma, *weight; // [S]; decay = a, weight = s of the one-term form
  float *cosine, *sine;                           // [S, angles]
  float *norm_weight[2], *bias[2];                // [N] and [rank, N], in the kernel's order of channels
  float *psi, *zeta, *phi, *out_norm;             // [rank, P] and [P]

  Head(const Shape &s, LaneScratch &scratch);
  void compute(const Shape &s, const Tokens &tokens, int64_t batch_row, int64_t head);
};

/// One chunk of a head: tokens [begin, end).
struct Chunk {
  int64_t begin, tokens, rows;
  float *K, *Q, *U;                      // [L, N], [L, N], [L, P]
  float *entering, *remaining, *leaving; // [chunk]: decay from the chunk's start up to a token, from a token to the end, and that times s
  float *pair;                           // [chunk, chunk]: decay from token u to token t > u
  float *mask;                           // [chunk, L]: what multiplies Q K^T, equal for the rows of a token
  float end_decay;

  Chunk(const Shape &s, LaneScratch &scratch);
  /// Rows of K and U and the decays; of Q and the mask too with `queries`.
  void load(const Shape &s, const Tokens &tokens, const Head &head, int64_t first, int64_t last, bool queries);
};

/// Asks the caches for what load() reads of tokens [first, last), which lies scattered over wide rows.
void prefetchTokens(const Shape &s, const Head &head, int64_t first, int64_t last);

/// state = end_decay * state + K^T (leaving . U); `scaled` is scratch like U.
void advanceState(const Shape &s, const Chunk &chunk, float *scaled, float *state);

/// to = rows of `from` times a factor of their token.
void scaleRows(int64_t rows, int64_t rank, int64_t cols, const float *factor, const float *from, float *to);

/// Causal panels of rows: body(first, rows, rows up to the end of the panel, the same padded).
template <typename Body> void forPanels(const Shape &s, const Chunk &chunk, Body &&body) {
  for (int64_t i = 0; i < chunk.rows; i += s.panel) {
    int64_t end = std::min(chunk.rows, i + s.panel);
    body(i, end - i, end, padded(end));
  }
}

} // namespace megacc::runtime::mamba3
