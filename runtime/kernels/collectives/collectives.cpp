// What moves between the ranks of a mesh axis. Sums are made by gathering and adding in the order of the ranks, so that every rank has the
// same bits, on every run.
#include "megacc/MeshABI.h"
#include "runtime/core/ClearTail.h"
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

/// y[count] = the sums of what `size` ranks gave, in their order; it lies `pitch` apart.
template <typename T> void sumRanks(T *y, const T *taken, int64_t count, int64_t pitch, int64_t size) {
  parallelRanges(count, 4096, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      T sum = taken[i];
      for (int64_t rank = 1; rank < size; ++rank)
        sum += taken[rank * pitch + i];
      y[i] = sum;
    }
  });
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
    sumRanks(given, taken, part, part, size);
    if (ranks->gather(ranks, given, taken, part * int64_t(sizeof(T))))
      return mg_fail("%s: %s", kernel, ranks->last_error());
    std::copy_n(taken, here, y + first);
  }
  return 0;
}

/// y[outer, inner] = this rank's part of the sum of x[outer, ranks * inner] over the ranks, in pieces of the part.
int32_t reduceScatter(const MgLaunch *launch, MgCommunicator *ranks, float *y, const float *x, int64_t outer, int64_t inner,
                      int scratch_operand) {
  int64_t size = ranks->size, part = outer * inner, piece = std::min(part, (reduce_elements + size - 1) / size);
  Scratch scratch(launch, scratch_operand);
  float *given = scratch.take<float>(size * piece), *taken = scratch.take<float>(size * piece);
  if (int32_t status = scratch.check("mg_reduce_scatter"))
    return status;
  for (int64_t first = 0; first < part; first += piece) {
    int64_t here = std::min(piece, part - first);
    for (int64_t rank = 0; rank < size; ++rank)
      for (int64_t i = 0, count; i < here; i += count) { // rows of the rank's part
        int64_t row = (first + i) / inner, col = (first + i) % inner;
        count = std::min(inner - col, here - i);
        std::copy_n(x + (row * size + rank) * inner + col, count, given + rank * here + i);
      }
    if (ranks->exchange(ranks, given, taken, here * int64_t(sizeof(float))))
      return mg_fail("mg_reduce_scatter: %s", ranks->last_error());
    sumRanks(y + first, taken, here, here, size);
  }
  return 0;
}

/// Elements of rows that are moved at a time, those of all ranks together: lib/Kernels/Collectives.cpp plans scratch for them.
constexpr int64_t exchange_elements = 1 << 20;

/// Rows sorted by group on every rank, and where they are on the ranks that have the groups: by group, then by rank. Scratch: where all
/// ranks' groups begin, where the rows of each rank go in this one's groups, and a piece to give and one to take.
class RowExchange {
public:
  RowExchange(const MgLaunch *launch, int scratch_operand, MgCommunicator *ranks, int64_t given, int64_t cols, int64_t groups)
      : own(groups / ranks->size), ranks(ranks), cols(cols), groups(groups), scratch(launch, scratch_operand),
        piece(std::clamp<int64_t>(exchange_elements / (ranks->size * cols), 1, given)),
        offsets(scratch.take<int32_t>(ranks->size * (groups + 1))), places(scratch.take<int32_t>(groups)),
        give(scratch.take<float>(ranks->size * piece * cols)), take(scratch.take<float>(ranks->size * piece * cols)) {}

  /// All ranks learn where the groups of the others begin. 0, or not after recording an error.
  int32_t start(const int32_t *mine, const char *kernel) {
    if (int32_t status = scratch.check(kernel))
      return status;
    if (int32_t status = ranks->gather(ranks, mine, offsets, (groups + 1) * int64_t(sizeof(int32_t))))
      return status;
    for (int64_t group = 0; group < own; ++group)
      for (int64_t from = 0; from < ranks->size; ++from) {
        places[from * own + group] = int32_t(received);
        received += countRows(from, ranks->rank, group);
      }
    for (int64_t from = 0; from < ranks->size; ++from)
      for (int64_t to = 0; to < ranks->size; ++to)
        most = std::max(most, firstRow(from, to, own) - firstRow(from, to, 0));
    return 0;
  }

  /// First row of a group of rank `to` on rank `from`.
  int64_t firstRow(int64_t from, int64_t to, int64_t group) const { return offsets[from * (groups + 1) + to * own + group]; }
  int64_t countRows(int64_t from, int64_t to, int64_t group) const { return firstRow(from, to, group + 1) - firstRow(from, to, group); }
  /// Rows of this rank's groups before one of them; of `own`: all.
  int64_t placeOf(int64_t group) const { return group < own ? places[group] : received; }

  /// From the rows of this rank's tokens to the rows of its groups, or back.
  int32_t move(float *mine, float *rows, bool forth) {
    for (int64_t first = 0; first < most; first += piece) {
      int64_t here = std::min(piece, most - first);
      for (int64_t other = 0; other < ranks->size; ++other)
        forth ? copyRows(other, first, here, rows, give, true) : copyPlaces(other, first, here, mine, give, true);
      if (int32_t status = ranks->exchange(ranks, give, take, here * cols * int64_t(sizeof(float))))
        return status;
      for (int64_t other = 0; other < ranks->size; ++other)
        forth ? copyPlaces(other, first, here, mine, take, false) : copyRows(other, first, here, rows, take, false);
    }
    return 0;
  }

  int64_t own, received = 0;

private:
  void copy(float *data, float *buffer, int64_t count, bool out) const {
    std::memcpy(out ? buffer : data, out ? data : buffer, size_t(count * cols) * sizeof(float));
  }

  /// Rows [first, first + here) of those that this rank has for another: they follow one another.
  void copyRows(int64_t other, int64_t first, int64_t here, float *rows, float *buffer, bool out) const {
    int64_t begin = firstRow(ranks->rank, other, 0) + first, end = std::min(begin + here, firstRow(ranks->rank, other, own));
    if (begin < end)
      copy(rows + begin * cols, buffer + other * here * cols, end - begin, out);
  }

  /// Rows [first, first + here) of those that another has for this rank, each group's to its place.
  void copyPlaces(int64_t other, int64_t first, int64_t here, float *mine, float *buffer, bool out) const {
    for (int64_t group = 0; group < own; ++group) {
      int64_t before = firstRow(other, ranks->rank, group) - firstRow(other, ranks->rank, 0);
      int64_t begin = std::max(before, first), end = std::min(before + countRows(other, ranks->rank, group), first + here);
      if (begin < end)
        copy(mine + (places[other * own + group] + begin - before) * cols, buffer + (other * here + begin - first) * cols, end - begin,
             out);
    }
  }

  MgCommunicator *ranks;
  int64_t cols, groups;
  Scratch scratch;
  int64_t piece, most = 0;
  int32_t *offsets, *places;
  float *give, *take;
};

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

int32_t mg_reduce_scatter_state(const MgLaunch *launch) {
  MG_ENTER(mg_reduce_scatter_state);
  MgCommunicator *ranks = findRanks(launch, launch->ints[number::axis], "mg_reduce_scatter_state");
  if (!ranks)
    return 1;
  int64_t size = ranks->size, all = launch->ints[number::count] / launch->ints[number::parts], part = all / size;
  int64_t piece = std::min(part, (reduce_elements + size - 1) / size);
  Scratch scratch(launch, at::scratch);
  float *given = scratch.take<float>(piece * size), *taken = scratch.take<float>(piece * size);
  if (int32_t status = scratch.check("mg_reduce_scatter_state"))
    return status;
  float *x = output(launch, at::x) + ownPart(launch, launch->ints[number::axes]) * all;
  for (int64_t first = 0; first < part; first += piece) {
    int64_t here = std::min(piece, part - first);
    for (int64_t rank = 0; rank < size; ++rank)
      std::copy_n(x + rank * part + first, here, given + rank * here);
    if (ranks->exchange(ranks, given, taken, here * int64_t(sizeof(float))))
      return mg_fail("mg_reduce_scatter_state: %s", ranks->last_error());
    sumRanks(x + ranks->rank * part + first, taken, here, here, size);
  }
  return 0;
}

int32_t mg_gather_state(const MgLaunch *launch) {
  MG_ENTER(mg_gather_state);
  MgCommunicator *ranks = findRanks(launch, launch->ints[number::axis], "mg_gather_state");
  if (!ranks)
    return 1;
  int64_t size = ranks->size, all = launch->ints[number::count] / launch->ints[number::parts], part = all / size;
  int64_t piece = std::min(part, (reduce_elements + size - 1) / size);
  Scratch scratch(launch, at::scratch);
  float *taken = scratch.take<float>(piece * size);
  if (int32_t status = scratch.check("mg_gather_state"))
    return status;
  float *x = output(launch, at::x) + ownPart(launch, launch->ints[number::axes]) * all;
  for (int64_t first = 0; first < part; first += piece) {
    int64_t here = std::min(piece, part - first);
    if (ranks->gather(ranks, x + ranks->rank * part + first, taken, here * int64_t(sizeof(float))))
      return mg_fail("mg_gather_state: %s", ranks->last_error());
    for (int64_t rank = 0; rank < size; ++rank)
      std::copy_n(taken + rank * here, here, x + rank * part + first);
  }
  return 0;
}

int32_t mg_reduce_scatter(const MgLaunch *launch) {
  MG_ENTER(mg_reduce_scatter);
  MgCommunicator *ranks = findRanks(launch, launch->ints[number::axis], "mg_reduce_scatter");
  if (!ranks)
    return 1;
  return reduceScatter(launch, ranks, output(launch, at::y), input(launch, at::x), launch->ints[number::outer], launch->ints[number::inner],
                       at::scratch);
}

int32_t mg_exchange_rows(const MgLaunch *launch) {
  MG_ENTER(mg_exchange_rows);
  MgCommunicator *ranks = findRanks(launch, launch->ints[number::axis], "mg_exchange_rows");
  if (!ranks)
    return 1;
  int64_t cols = launch->ints[number::cols];
  RowExchange exchange(launch, at::scratch, ranks, launch->ints[number::given], cols, launch->ints[number::groups]);
  if (int32_t status = exchange.start(integers(launch, at::offsets), "mg_exchange_rows"))
    return status;
  if (int32_t status = exchange.move(output(launch, at::mine), output(launch, at::rows), /*forth=*/true))
    return status;
  int32_t *own_offsets = static_cast<int32_t *>(launch->operands[at::own_offsets]);
  for (int64_t group = 0; group <= exchange.own; ++group)
    own_offsets[group] = int32_t(exchange.placeOf(group));
  clearTail(output(launch, at::mine), exchange.received, launch->ints[number::received], cols);
  return 0;
}

int32_t mg_return_rows(const MgLaunch *launch) {
  MG_ENTER(mg_return_rows);
  MgCommunicator *ranks = findRanks(launch, launch->ints[number::axis], "mg_return_rows");
  if (!ranks)
    return 1;
  int64_t cols = launch->ints[number::cols], groups = launch->ints[number::groups], given = launch->ints[number::given];
  RowExchange exchange(launch, at::scratch, ranks, given, cols, groups);
  if (int32_t status = exchange.start(integers(launch, at::offsets), "mg_return_rows"))
    return status;
  if (int32_t status = exchange.move(output(launch, at::mine), output(launch, at::rows), /*forth=*/false))
    return status;
  clearTail(output(launch, at::rows), integers(launch, at::offsets)[groups], given, cols);
  return 0;
}

int32_t mg_square_sum_shared(const MgLaunch *launch) {
  MG_ENTER(mg_square_sum_shared);
  constexpr int64_t tile = 4096;
  int64_t count = launch->ints[number::count] / launch->ints[number::ranks], ranges = launch->ints[number::ranges];
  int64_t tiles = (count + tile - 1) / tile, first = ownPart(launch, launch->ints[number::axes]) * count;
  const int64_t *shared = static_cast<const int64_t *>(launch->operands[at::shared]);
  const float *x = input(launch, at::x);
  Scratch scratch(launch, at::scratch);
  double *partial = scratch.take<double>(tiles);
  if (int32_t status = scratch.check("mg_square_sum_shared"))
    return status;
  int64_t others = 0; // axes on which another rank counts what all have
  for (int64_t axis = 0; axis < MG_AXIS_COUNT; ++axis)
    others |= int64_t(launch->context->axes[axis].rank > 0) << axis;
  parallelRanges(count, tile, [&](int64_t own, int64_t own_end) {
    int64_t begin = first + own, end = first + own_end;
    double sum = 0;
    // Ranges are ascending: those of the tile are passed once.
    int64_t range = 0;
    for (int64_t right = ranges; range < right;)
      if (int64_t middle = (range + right) / 2; shared[3 * middle + 1] <= begin)
        range = middle + 1;
      else
        right = middle;
    for (int64_t i = begin; i < end; ++i) {
      while (range < ranges && i >= shared[3 * range + 1])
        ++range;
      bool is_shared = range < ranges && i >= shared[3 * range];
      if (!is_shared || !(shared[3 * range + 2] & others))
        sum += double(x[i]) * x[i];
    }
    partial[own / tile] = sum;
  });
  double sum = 0;
  for (int64_t i = 0; i < tiles; ++i)
    sum += partial[i];
  *static_cast<double *>(launch->operands[at::sum]) = sum;
  return 0;
}
}
