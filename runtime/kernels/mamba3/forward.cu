// Mamba-3 scan on Hopper. With many heads a block walks a head from its first token to its last. With few: what each window adds to the
// state, the states entering the windows, then y window by window.
#include "runtime/kernels/mamba3/CudaScan.cuh"

using namespace megacc::runtime;
using namespace megacc::cuda;
using namespace megacc::cuda::mamba3;

extern "C" int32_t mg_mamba3_scan(const MgLaunch *launch) {
  MG_ENTER(mg_mamba3_scan);
  Shape s = {};
  s.projection = static_cast<const bf16 *>(launch->operands[at::projection]);
  s.documents = integers(launch, at::documents);
  if (int32_t status = readShape(launch, "mg_mamba3_scan", launch->types, at::parameter, s))
    return status;
  if (launch->operands[at::psi_v])
    return mg_fail("mg_mamba3_scan: it has no cache psi_v; fix: psiv_cache = off");
  Scratch scratch(launch, at::scratch);
  takeTables(s, scratch);
  int64_t windows = s.span() == 1 ? int64_t(s.batch) * s.heads * s.windows : 0;
  float *totals = scratch.take<float>(windows * s.N * s.P), *decays = scratch.take<float>(windows);
  if (int32_t status = scratch.check("mg_mamba3_scan"))
    return status;

  cudaStream_t stream = static_cast<cudaStream_t>(launch->context->streams[launch->stream]);
  bf16 *states = static_cast<bf16 *>(launch->operands[at::states]), *y = static_cast<bf16 *>(launch->operands[at::y]);
  StatePass all = {.batches = s.batch, .heads = s.heads};
  int32_t status = prepare(s, stream);
  if (s.span() > 1) {
    all.span = s.span(), all.exact_windows = states;
  } else {
    all.totals = totals, all.decays = decays;
    if (!status)
      status = runStates(s, all, stream);
    if (!status)
      status = scanWindows(s, all, states, nullptr, stream);
    all.start = totals;
  }
  return status ? status : runOutputs(s, all, y, nullptr, stream);
}
