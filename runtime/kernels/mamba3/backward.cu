// Gradients of the Mamba-3 scan on Hopper. A slice is some groups of one batch row: its chunks' states are replayed from those entering the
// windows, their adjoints walk back likewise, then all chunks are independent. One slice's states exist at a time.
#include "runtime/kernels/mamba3/CudaFinish.cuh"

#include <algorithm>

using namespace megacc::runtime;
using namespace megacc::cuda;
using namespace megacc::cuda::mamba3;

namespace {

/// Blocks that fill the card several times over.
constexpr int slice_blocks = 2048;

struct Backward {
  Shape s = {};
  bf16 *exact_states = nullptr, *chunk_states, *adjoints, *window_adjoints, *E = nullptr;
  float *all_totals = nullptr, *all_decays = nullptr, *totals, *decays, *chunk_decays, *partial, *sums, *d_keys, *d_dt_bias, *norm_partial;
  TokenGradients tokens;
  int slice_groups;

  void take(Scratch &scratch, bool has_states) {
    takeTables(s, scratch);
    int64_t count = int64_t(s.batch) * s.sequence, size = int64_t(s.N) * s.P;
    if (!has_states) {
      int64_t windows = int64_t(s.batch) * s.heads * s.windows, apart = s.span() == 1 ? windows : 0;
      all_totals = scratch.take<float>(apart * size), all_decays = scratch.take<float>(apart);
      exact_states = scratch.take<bf16>(windows * s.state * s.head_dim);
    }
    int slices = std::max(1, int(int64_t(s.groups) * s.chunks / slice_blocks));
    slice_groups = (s.groups + slices - 1) / slices;
    int64_t heads = int64_t(slice_groups) * s.group_heads;
    chunk_states = scratch.take<bf16>(heads * s.chunks * size), adjoints = scratch.take<bf16>(heads * s.chunks * size);
    totals = scratch.take<float>(heads * s.windows * size), decays = scratch.take<float>(heads * s.windows);
    window_adjoints = scratch.take<bf16>(heads * s.windows * size), chunk_decays = scratch.take<float>(heads * s.chunks);
    if (s.norm)
      E = scratch.take<bf16>(heads * s.chunks * rows * s.P);
    partial = scratch.take<float>(heads * s.chunks * parameterFloats(s)), sums = scratch.take<float>(int64_t(s.heads) * parameterFloats(s));
    for (float **values : {&tokens.d_weight, &tokens.d_gamma, &tokens.d_decay, &tokens.d_delta})
      *values = scratch.take<float>(count * s.heads);
    tokens.d_turn = scratch.take<float>(count * s.heads * s.A);
    tokens.d_summed = scratch.take<float>(count * s.heads * s.A);
    d_keys = scratch.take<float>(2 * count * s.groups * s.R * s.N);
    d_dt_bias = scratch.take<float>(int64_t(s.batch) * s.heads);
    norm_partial = scratch.take<float>((count + token_tile - 1) / token_tile * 2 * s.N);
  }

  int32_t findStates(cudaStream_t stream) {
    StatePass all = {.batches = s.batch, .heads = s.heads};
    if (s.span() > 1) { // as the forward, to the same bits
      all.span = s.span(), all.exact_windows = exact_states;
      return runStates(s, all, stream);
    }
    all.totals = all_totals, all.decays = all_decays;
    if (int32_t status = runStates(s, all, stream))
      return status;
    return scanWindows(s, all, exact_states, nullptr, stream);
  }

  int32_t runSlice(int b, int first_group, const bf16 *states, const bf16 *d_y, bf16 *d_projection, cudaStream_t stream) {
    int groups = std::min(slice_groups, s.groups - first_group), first_head = first_group * s.group_heads, heads = groups * s.group_heads;
    StatePass replay = {.first_batch = b, .first_head = first_head, .heads = heads, .exact_start = states, .chunk_states = chunk_states};
    if (int32_t status = runStates(s, replay, stream))
      return status;
    if (s.norm) {
      StatePass gates = {.first_batch = b, .first_head = first_head, .heads = heads, .exact_start = states, .d_y = d_y};
      if (int32_t status = runOutputs(s, gates, nullptr, E, stream))
        return status;
    }
    StatePass back = {.reverse = true,
                      .first_batch = b,
                      .first_head = first_head,
                      .heads = heads,
                      .chunk_states = adjoints,
                      .totals = totals,
                      .decays = decays,
                      .chunk_decays = chunk_decays,
                      .d_y = d_y,
                      .E = E};
    if (int32_t status = runStates(s, back, stream))
      return status;
    if (int32_t status = scanWindows(s, back, nullptr, window_adjoints, stream))
      return status;
    GradientPass pass = {b,
                         first_group,
                         groups,
                         d_y,
                         chunk_states,
                         adjoints,
                         window_adjoints,
                         chunk_decays,
                         d_projection,
                         partial,
                         tokens.d_weight,
                         tokens.d_gamma,
                         tokens.d_decay,
                         tokens.d_turn,
                         d_keys};
    if (int32_t status = runGradients(s, pass, stream))
      return status;
    return sumPartials(s, partial, first_head, heads, b > 0, sums, stream);
  }
};

} // namespace

extern "C" int32_t mg_mamba3_scan_grad(const MgLaunch *launch) {
  MG_ENTER(mg_mamba3_scan_grad);
  int parts = int(launch->ints[number::parts]), next = at::d_parameter;
  Backward backward;
  Shape &s = backward.s;
  s.projection = static_cast<const bf16 *>(launch->operands[at::projection]);
  s.documents = integers(launch, at::documents);
  if (int32_t status = readShape(launch, "mg_mamba3_scan_grad", launch->types, at::d_parameter + parts, s))
    return status;
  const bf16 *states = static_cast<const bf16 *>(launch->operands[at::states]);
  Scratch scratch(launch, at::scratch);
  backward.take(scratch, states != nullptr);
  if (int32_t status = scratch.check("mg_mamba3_scan_grad"))
    return status;

  cudaStream_t stream = static_cast<cudaStream_t>(launch->context->streams[launch->stream]);
  const bf16 *d_y = static_cast<const bf16 *>(launch->operands[at::d_y]);
  bf16 *d_projection = static_cast<bf16 *>(launch->operands[at::d_projection]);
  int32_t status = prepare(s, stream);
  if (!status && !states)
    status = backward.findStates(stream);
  for (int b = 0; !status && b < s.batch; ++b)
    for (int group = 0; !status && group < s.groups; group += backward.slice_groups)
      status = backward.runSlice(b, group, states ? states : backward.exact_states, d_y, d_projection, stream);
  if (status)
    return status;

  Finish last = {backward.tokens, backward.d_keys, backward.sums, backward.d_dt_bias, backward.norm_partial, d_projection, {}};
  ParameterGradients &to = last.parameters;
  to.dt_bias = output(launch, next++), to.skip = output(launch, next++);
  for (float **pair : {to.bias, to.norm_weight})
    for (int which : {0, 1})
      pair[which] = output(launch, next++);
  for (int which = 0; s.mimo && which < 3; ++which)
    to.mimo[which] = output(launch, next++);
  to.out_norm = s.norm ? output(launch, next++) : nullptr;
  to.cut = s.cut ? output(launch, next++) : nullptr;
  return finish(s, last, stream);
}
