// What moves between the ranks of a mesh axis. Sums are made by gathering and adding in the order of the ranks, so that every rank has the
// same bits, on every run.
#include "megacc/MeshABI.h"
#include "runtime/core/Launch.h"
#include "runtime/core/Scratch.h"
#include "runtime/core/ThreadPool.h"

#include <algorithm>
#include <cstring>

using namespace megacc::runtime;

namespace {

/// Elements that are summed at a time, those of all ranks together: lib/Kernels/Collectives.cpp plans scratch for them.
constexpr int64_t reduce_elements = 1 << 18;

/// The ranks of the axis; null after recording an error.
MgCommunicator *findRanks(const MgLaunch *launch, int64_t axis, const char *kernel) {
  if (axis < 0 || axis >= MG_AXIS_COUNT || !launch->context->axes[axis].communicator) {
    mg_fail("%s: axis %lld has no other ranks; fix: run the step with as many ranks as its mesh has", kernel, (long long)axis);
    return nullptr;
  }
  return static_cast<MgCommunicator *>(launch->context->axes[axis].communicator);
}

/// y = sum of x over the ranks, in pieces of which every rank sums an equal part.
template <typename T>
int32_t reduce(const MgLaunch *launch, MgCommunicator *ranks, T *y, const T *x, int64_t count, int scratch_operand, const char *kernel) {
  int64_t size = ranks->size, part = std::min((count + size - 1) / size, (reduce_elements + size - 1) / size), piece = part * size;
  Scratch scratch(launch, scratch_operand);
  T *given = scratch.take<T>(piece), *taken = scratch.take<T>(piece);
  if (int32_t status = scratch.check(kernel))
    return status;
  for (int64_t first = 0; first < count; first += piece) {
    int64_t here = std::min(piece, count - first);
    std::copy_n(x + first, here, given);
    std::fill(given + here, given + piece, T(0));
    if (ranks->exchange(ranks, given, taken, part * int64_t(sizeof(T))))
      return mg_fail("%s: %s", kernel, ranks->last_error());
    parallelRanges(part, 4096, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        T sum = taken[i];
        for (int64_t rank = 1; rank < size; ++rank)
          sum += taken[rank * part + i];
        given[i] = sum;
      }
    });
    if (ranks->gather(ranks, given, taken, part * int64_t(sizeof(T))))
      return mg_fail("%s: %s", kernel, ranks->last_error());
    std::copy_n(taken, here, y + first);
  }
  return 0;
}

} // namespace

extern "C" {

int32_t mg_all_reduce(const MgLaunch *launch) {
  MG_ENTER(mg_all_reduce);
  MgCommunicator *ranks = findRanks(launch, launch->ints[number::axis], "mg_all_reduce");
  if (!ranks)
    return 1;
  return reduce(launch, ranks, output(launch, at::y), input(launch, at::x), launch->ints[number::count], at::scratch, "mg_all_reduce");
}

int32_t mg_all_reduce_f64(const MgLaunch *launch) {
  MG_ENTER(mg_all_reduce_f64);
  MgCommunicator *ranks = findRanks(launch, launch->ints[number::axis], "mg_all_reduce_f64");
  if (!ranks)
    return 1;
  return reduce(launch, ranks, static_cast<double *>(launch->operands[at::y]), static_cast<const double *>(launch->operands[at::x]),
                launch->ints[number::count], at::scratch, "mg_all_reduce_f64");
}

int32_t mg_all_reduce_state(const MgLaunch *launch) {
  MG_ENTER(mg_all_reduce_state);
  MgCommunicator *ranks = findRanks(launch, launch->ints[number::axis], "mg_all_reduce_state");
  if (!ranks)
    return 1;
  float *x = output(launch, at::x);
  return reduce(launch, ranks, x, x, launch->ints[number::count], at::scratch, "mg_all_reduce_state");
}

int32_t mg_take_part(const MgLaunch *launch) {
  MG_ENTER(mg_take_part);
  int64_t outer = launch->ints[number::outer], inner = launch->ints[number::inner], ranks = launch->ints[number::ranks];
  int64_t rank = launch->context->axes[launch->ints[number::axis]].rank;
  for (int64_t index = 0; index < outer; ++index)
    std::copy_n(input(launch, at::x) + (index * ranks + rank) * inner, inner, output(launch, at::y) + index * inner);
  return 0;
}

int32_t mg_gather_parts(const MgLaunch *launch) {
  MG_ENTER(mg_gather_parts);
  int64_t outer = launch->ints[number::outer], inner = launch->ints[number::inner], size = launch->ints[number::ranks];
  MgCommunicator *ranks = findRanks(launch, launch->ints[number::axis], "mg_gather_parts");
  if (!ranks)
    return 1;
  Scratch scratch(launch, at::scratch);
  float *taken = scratch.take<float>(outer * inner * size), *y = output(launch, at::y);
  if (int32_t status = scratch.check("mg_gather_parts"))
    return status;
  if (ranks->gather(ranks, input(launch, at::x), taken, outer * inner * int64_t(sizeof(float))))
    return mg_fail("mg_gather_parts: %s", ranks->last_error());
  for (int64_t index = 0; index < outer; ++index)
    for (int64_t rank = 0; rank < size; ++rank)
      std::copy_n(taken + (rank * outer + index) * inner, inner, y + (index * size + rank) * inner);
  return 0;
}

int32_t mg_square_sum_shared(const MgLaunch *launch) {
  MG_ENTER(mg_square_sum_shared);
  constexpr int64_t tile = 4096;
  int64_t count = launch->ints[number::count], ranges = launch->ints[number::ranges], tiles = (count + tile - 1) / tile;
  const int64_t *shared = static_cast<const int64_t *>(launch->operands[at::shared]);
  const float *x = input(launch, at::x);
  Scratch scratch(launch, at::scratch);
  double *partial = scratch.take<double>(tiles);
  if (int32_t status = scratch.check("mg_square_sum_shared"))
    return status;
  bool first = launch->context->axes[launch->ints[number::axis]].rank == 0;
  parallelRanges(count, tile, [&](int64_t begin, int64_t end) {
    double sum = 0;
    // Ranges are ascending: those of the tile are passed once.
    const int64_t *range = std::upper_bound(shared, shared + 2 * ranges, begin);
    range -= (range - shared) % 2;
    for (int64_t i = begin; i < end; ++i) {
      while (range < shared + 2 * ranges && i >= range[1])
        range += 2;
      bool is_shared = range < shared + 2 * ranges && i >= range[0];
      if (first || !is_shared)
        sum += double(x[i]) * x[i];
    }
    partial[begin / tile] = sum;
  });
  double sum = 0;
  for (int64_t i = 0; i < tiles; ++i)
    sum += partial[i];
  *static_cast<double *>(launch->operands[at::sum]) = sum;
  return 0;
}
}
