// Mean norm of the states of a Mamba-3 scan at the end of their rows, for people who look at a run (megacc --log-blocks).
#include "runtime/kernels/mamba3/Scan.h"

using namespace megacc::runtime;
using namespace megacc::runtime::mamba3;

namespace {

struct Lane {
  Head head;
  Chunk chunk;
  float *scaled, *state;

  Lane(const Shape &s, LaneScratch scratch) : head(s, scratch), chunk(s, scratch) {
    scaled = scratch.take(s.L * s.P), state = scratch.take(s.N * s.P);
  }
};

/// Of one row and head; the padding of a state stays zero.
double stateNorm(const Shape &s, const Tokens &tokens, Lane &lane, int64_t b, int64_t h) {
  lane.head.compute(s, tokens, b, h);
  float *H = lane.state;
  std::fill(H, H + s.N * s.P, 0.0f);
  for (int64_t begin = 0, end; begin < s.sequence; begin = end) {
    end = s.chunkEnd(b, begin);
    if (s.startsDocument(b, begin))
      std::fill(H, H + s.N * s.P, 0.0f);
    lane.chunk.load(s, tokens, lane.head, begin, end, /*queries=*/false);
    advanceState(s, lane.chunk, lane.scaled, H);
  }
  double square = 0;
  for (int64_t i = 0; i < s.N * s.P; ++i)
    square += double(H[i]) * H[i];
  return std::sqrt(square);
}

} // namespace

extern "C" int32_t mg_mamba3_state_norm(const MgLaunch *launch) {
  MG_ENTER(mg_mamba3_state_norm);
  Shape s(launch, at::projection, at::documents, at::parameter);
  Scratch scratch(launch, at::scratch);
  Tokens tokens(s, scratch);
  int64_t tasks = s.batch * s.heads, lanes = std::min(tasks, max_lanes);
  float *lane_scratch = scratch.take<float>(lanes * s.forwardLane());
  double *norms = scratch.take<double>(tasks), sum = 0;
  if (int32_t status = scratch.check("mg_mamba3_state_norm"))
    return status;
  tokens.compute(s);
  parallelFor(lanes, [&](int64_t index) {
    Lane lane(s, LaneScratch(lane_scratch + index * s.forwardLane()));
    for (int64_t task = index; task < tasks; task += lanes)
      norms[task] = stateNorm(s, tokens, lane, task / s.heads, task % s.heads);
  });
  for (int64_t task = 0; task < tasks; ++task)
    sum += norms[task];
  *output(launch, at::norm) = float(launch->doubles[real::share] * sum);
  return 0;
}
