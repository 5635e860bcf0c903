// What moves between the cards of a mesh axis, by NCCL: its sums have the same bits on every rank, and on every run on the same machine.
#include "runtime/cuda/Launching.cuh"
#include "runtime/cuda/Library.h"

using namespace megacc::runtime;
using namespace megacc::runtime::cuda;

namespace {

int32_t allReduce(const MgLaunch *launch, const char *kernel, int64_t axis, int y, int x, int64_t count, int scratch) {
  if (int32_t status = Scratch(launch, scratch).check(kernel))
    return status;
  return communicatorsOf(launch->context)
      .allReduce(kernel, axis, launch->operands[y], launch->operands[x], count, launch->types[x], streamOf(launch));
}

/// `rows` rows of `bytes`, which lie `to_pitch` and `from_pitch` apart.
int32_t copyRows(const MgLaunch *launch, const char *kernel, void *to, int64_t to_pitch, const void *from, int64_t from_pitch,
                 int64_t bytes, int64_t rows) {
  if (rows == 1)
    return check(cudaMemcpyAsync(to, from, size_t(bytes), cudaMemcpyDeviceToDevice, streamOf(launch)), kernel);
  return check(cudaMemcpy2DAsync(to, size_t(to_pitch), from, size_t(from_pitch), size_t(bytes), size_t(rows), cudaMemcpyDeviceToDevice,
                                 streamOf(launch)),
               kernel);
}

int64_t elementBytes(const MgLaunch *launch, int index) { return launch->types[index] == MG_BF16 ? 2 : 4; }

} // namespace

extern "C" {

int32_t mg_all_reduce(const MgLaunch *launch) {
  MG_ENTER(mg_all_reduce);
  return withElement(launch, "mg_all_reduce", {at::y, at::x}, [&](auto) {
    return allReduce(launch, "mg_all_reduce", launch->ints[number::axis], at::y, at::x, launch->ints[number::count], at::scratch);
  });
}

int32_t mg_all_reduce_f64(const MgLaunch *launch) {
  MG_ENTER(mg_all_reduce_f64);
  MG_TYPE("mg_all_reduce_f64", x, MG_F64);
  return allReduce(launch, "mg_all_reduce_f64", launch->ints[number::axis], at::y, at::x, launch->ints[number::count], at::scratch);
}

int32_t mg_all_reduce_state(const MgLaunch *launch) {
  MG_ENTER(mg_all_reduce_state);
  MG_TYPE("mg_all_reduce_state", x, MG_F32);
  return allReduce(launch, "mg_all_reduce_state", launch->ints[number::axis], at::x, at::x, launch->ints[number::count], at::scratch);
}

int32_t mg_reduce_scatter_state(const MgLaunch *launch) {
  MG_ENTER(mg_reduce_scatter_state);
  MG_TYPE("mg_reduce_scatter_state", x, MG_F32);
  if (int32_t status = Scratch(launch, at::scratch).check("mg_reduce_scatter_state"))
    return status;
  int64_t all = launch->ints[number::count] / launch->ints[number::parts], axis = launch->ints[number::axis];
  int64_t part = all / launch->ints[number::ranks];
  float *x = operand<float>(launch, at::x) + ownPart(launch, launch->ints[number::axes]) * all;
  return communicatorsOf(launch->context)
      .reduceScatter("mg_reduce_scatter_state", axis, x + launch->context->axes[axis].rank * part, x, part, MG_F32, streamOf(launch));
}

int32_t mg_gather_state(const MgLaunch *launch) {
  MG_ENTER(mg_gather_state);
  if (int32_t status = Scratch(launch, at::scratch).check("mg_gather_state"))
    return status;
  int64_t all = launch->ints[number::count] / launch->ints[number::parts] * elementBytes(launch, at::x), axis = launch->ints[number::axis];
  int64_t part = all / launch->ints[number::ranks];
  char *x = operand<char>(launch, at::x) + ownPart(launch, launch->ints[number::axes]) * all;
  return communicatorsOf(launch->context)
      .allGather("mg_gather_state", axis, x, x + launch->context->axes[axis].rank * part, part, streamOf(launch));
}

int32_t mg_take_part(const MgLaunch *launch) {
  MG_ENTER(mg_take_part);
  return withElement(launch, "mg_take_part", {at::y, at::x}, [&](auto) {
    int64_t bytes = launch->ints[number::inner] * elementBytes(launch, at::x), pitch = bytes * launch->ints[number::ranks];
    int64_t rank = launch->context->axes[launch->ints[number::axis]].rank;
    return copyRows(launch, "mg_take_part", launch->operands[at::y], bytes, operand<char>(launch, at::x) + rank * bytes, pitch, bytes,
                    launch->ints[number::outer]);
  });
}

int32_t mg_gather_parts(const MgLaunch *launch) {
  MG_ENTER(mg_gather_parts);
  return withElement(launch, "mg_gather_parts", {at::y, at::x}, [&](auto) {
    int64_t outer = launch->ints[number::outer], ranks = launch->ints[number::ranks], axis = launch->ints[number::axis];
    int64_t bytes = launch->ints[number::inner] * elementBytes(launch, at::x);
    char *y = operand<char>(launch, at::y), *taken = y; // whole parts already lie in their order
    Scratch scratch(launch, at::scratch);
    if (outer > 1)
      taken = scratch.take<char>(ranks * outer * bytes);
    if (int32_t status = scratch.check("mg_gather_parts"))
      return status;
    if (int32_t status = communicatorsOf(launch->context)
                             .allGather("mg_gather_parts", axis, taken, launch->operands[at::x], outer * bytes, streamOf(launch)))
      return status;
    for (int64_t rank = 0; rank < ranks && outer > 1; ++rank)
      if (int32_t status =
              copyRows(launch, "mg_gather_parts", y + rank * bytes, ranks * bytes, taken + rank * outer * bytes, bytes, bytes, outer))
        return status;
    return 0;
  });
}

int32_t mg_reduce_scatter(const MgLaunch *launch) {
  MG_ENTER(mg_reduce_scatter);
  return withElement(launch, "mg_reduce_scatter", {at::y, at::x}, [&](auto) {
    int64_t outer = launch->ints[number::outer], ranks = launch->ints[number::ranks], axis = launch->ints[number::axis];
    int64_t inner = launch->ints[number::inner], bytes = inner * elementBytes(launch, at::x);
    char *x = operand<char>(launch, at::x), *given = x; // whole parts already lie in their order
    Scratch scratch(launch, at::scratch);
    if (outer > 1)
      given = scratch.take<char>(ranks * outer * bytes);
    if (int32_t status = scratch.check("mg_reduce_scatter"))
      return status;
    for (int64_t rank = 0; rank < ranks && outer > 1; ++rank)
      if (int32_t status =
              copyRows(launch, "mg_reduce_scatter", given + rank * outer * bytes, bytes, x + rank * bytes, ranks * bytes, bytes, outer))
        return status;
    return communicatorsOf(launch->context)
        .reduceScatter("mg_reduce_scatter", axis, launch->operands[at::y], given, outer * inner, launch->types[at::x], streamOf(launch));
  });
}
}
