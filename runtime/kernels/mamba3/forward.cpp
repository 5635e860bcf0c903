// Mamba-3 scan, chunked: one task computes a few heads, chunk after chunk, carrying the state [state, head_dim].
#include "runtime/kernels/mamba3/Scan.h"

using namespace megacc::runtime;
using namespace megacc::runtime::mamba3;

namespace {

struct Lane {
  Head head;
  Chunk chunk;
  float *K_transposed, *M, *Y, *scaled, *state;

  Lane(const Shape &s, LaneScratch scratch) : head(s, scratch), chunk(s, scratch) {
    K_transposed = scratch.take(s.N * s.L), M = scratch.take(s.L * s.L), Y = scratch.take(s.L * s.P), scaled = scratch.take(s.L * s.P);
    state = scratch.take(s.N * s.P);
  }
};

/// M = Q K^T * mask + skip on the diagonal, causal panels only.
void maskedScores(const Shape &s, const Chunk &chunk, float skip, const float *K_transposed, float *M) {
  forPanels(s, chunk, [&](int64_t first, int64_t rows, int64_t end, int64_t end_padded) {
    tileProduct(rows, end_padded, s.state, {chunk.Q + first * s.N, s.N, 1}, K_transposed, s.L, M + first * s.L, s.L, false);
    for (int64_t i = first; i < end; ++i) {
      const float *mask = chunk.mask + i / s.rank * s.L;
      float *row = M + i * s.L;
      for (int64_t j = 0; j < end_padded; ++j)
        row[j] *= mask[j];
      row[i] += skip;
    }
  });
}

/// y of one token: the sum over ranks of phi * N(Y) * silu(z * zeta).
void gateToken(const Shape &s, const Head &head, const float *rows, const float *__restrict z, float *__restrict sum) {
  int64_t count = s.head_dim;
  std::fill(sum, sum + count, 0.0f);
  for (int64_t r = 0; r < s.rank; ++r) {
    const float *__restrict y = rows + r * s.P, *__restrict zeta = head.zeta + r * s.P, *__restrict phi = head.phi + r * s.P;
    float scale = s.norm ? 1.0f / std::sqrt(dot(y, y, count) / float(count) + s.eps) : 1.0f;
    for (int64_t p = 0; p < count; ++p) {
      float w = z[p] * zeta[p];
      sum[p] += phi[p] * y[p] * scale * head.out_norm[p] * w * sigmoid(w);
    }
  }
}

/// `states`: of this head, null where nobody wants them.
void runHead(const Shape &s, const Tokens &tokens, Lane &lane, int64_t b, int64_t h, float *y, float *states) {
  lane.head.compute(s, tokens, b, h);
  Chunk &chunk = lane.chunk;
  float *H = lane.state;
  std::fill(H, H + s.N * s.P, 0.0f);
  for (int64_t begin = 0, end; begin < s.sequence; begin = end) {
    end = s.chunkEnd(b, begin);
    if (s.startsDocument(b, begin))
      std::fill(H, H + s.N * s.P, 0.0f);
    if (states && begin % s.window == 0)
      for (int64_t n = 0; n < s.state; ++n)
        std::memcpy(states + (begin / s.window * s.state + n) * s.head_dim, H + n * s.P, s.head_dim * sizeof(float));
    chunk.load(s, tokens, lane.head, begin, end, /*queries=*/true);
    prefetchTokens(s, lane.head, end, std::min(end + s.chunk, s.sequence));
    tileTranspose(padded(chunk.rows), s.N, chunk.K, s.N, lane.K_transposed, s.L);
    maskedScores(s, chunk, s.skip[h], lane.K_transposed, lane.M);
    tileProduct(chunk.rows, s.P, s.state, {chunk.Q, s.N, 1}, H, s.P, lane.Y, s.P, false);
    scaleRows(chunk.rows, s.rank, s.P, chunk.entering, lane.Y, lane.Y);
    forPanels(s, chunk, [&](int64_t first, int64_t rows, int64_t last, int64_t) {
      tileProduct(rows, s.P, last, {lane.M + first * s.L, s.L, 1}, chunk.U, s.P, lane.Y + first * s.P, s.P, true);
    });
    for (int64_t i = 0; i < chunk.tokens; ++i)
      gateToken(s, lane.head, lane.Y + i * s.rank * s.P, s.row(b, begin + i) + h * s.head_dim,
                y + (b * s.sequence + begin + i) * s.inner + h * s.head_dim);
    advanceState(s, chunk, lane.scaled, H);
  }
}

} // namespace

extern "C" int32_t mg_mamba3_scan(const MgLaunch *launch) {
  MG_ENTER(mg_mamba3_scan);
  Shape s(launch, at::projection, at::documents, at::parameter);
  s.psi_v = output(launch, at::psi_v);
  float *y = output(launch, at::y), *states = output(launch, at::states);
  Scratch scratch(launch, at::scratch);
  Tokens tokens(s, scratch);
  int64_t tasks = s.batch * s.heads, lanes = std::min(tasks, max_lanes);
  float *lane_scratch = scratch.take<float>(lanes * s.forwardLane());
  if (int32_t status = scratch.check("mg_mamba3_scan"))
    return status;
  tokens.compute(s);
  parallelFor(lanes, [&](int64_t index) {
    Lane lane(s, LaneScratch(lane_scratch + index * s.forwardLane()));
    for (int64_t task = index; task < tasks; task += lanes)
      runHead(s, tokens, lane, task / s.heads, task % s.heads, y, states ? states + task * s.windows * s.state * s.head_dim : nullptr);
  });
  return 0;
}
