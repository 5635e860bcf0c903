// Packed projections: parts side by side within each group of columns, and one group repeated for many.
#include "runtime/cuda/Units.cuh"

#include <algorithm>

using namespace megacc::runtime;
using namespace megacc::runtime::cuda;

namespace {

constexpr int threads = 256, most_parts = 4;

/// Where the pieces of a group lie: part p has columns [begins[p], begins[p + 1]) of a group of `stride`, in units.
struct Pieces {
  char *parts[most_parts];
  uint32_t begins[most_parts + 1];
  int count;
};

/// Moves units between the packed tensor and its parts.
template <typename Unit, bool split> __global__ void pieceKernel(Unit *packed, Pieces pieces, uint64_t units) {
  uint64_t index = uint64_t(blockIdx.x) * threads + threadIdx.x;
  if (index >= units)
    return;
  uint32_t stride = pieces.begins[most_parts];
  uint64_t group = units <= 0xffffffffu ? uint32_t(index) / stride : index / stride;
  uint32_t offset = uint32_t(index - group * stride), begin = 0, end = pieces.begins[1];
  char *part = pieces.parts[0];
#pragma unroll
  for (int p = 1; p < most_parts; ++p)
    if (offset >= pieces.begins[p]) {
      part = pieces.parts[p];
      begin = pieces.begins[p];
      end = pieces.begins[p + 1];
    }
  Unit *there = reinterpret_cast<Unit *>(part) + group * (end - begin) + (offset - begin);
  if constexpr (split)
    *there = packed[index];
  else
    packed[index] = *there;
}

/// The body of mg_split and mg_concat, whose integers have the same order.
template <bool split> int32_t movePieces(const MgLaunch *launch, const char *kernel, int packed, int first_part) {
  namespace number = number_mg_split;
  int64_t parts = launch->ints[number::parts], groups = launch->ints[number::rows] * launch->ints[number::groups];
  if (parts < 2 || parts > most_parts)
    return mg_fail("%s: parts is %lld; fix: 2 to %d", kernel, (long long)parts, most_parts);
  int64_t bytes = elementBytes(launch->types[packed]), lengths[most_parts] = {};
  const void *addresses[most_parts + 1] = {launch->operands[packed]};
  for (int64_t p = 0; p < parts; ++p) {
    lengths[p] = launch->ints[number::width0 + p] * bytes;
    addresses[p + 1] = launch->operands[first_part + p];
    if (launch->types[first_part + p] != launch->types[packed])
      return mg_fail("%s: part %lld has type %d and the packed tensor type %d; fix: give both the same type", kernel, (long long)p,
                     int(launch->types[first_part + p]), int(launch->types[packed]));
  }
  return withUnit(lengths, addresses, [&](auto unit) {
    using Unit = decltype(unit);
    Pieces pieces = {{}, {}, int(parts)};
    for (int p = 0; p < most_parts; ++p) {
      pieces.parts[p] = p < parts ? operand<char>(launch, first_part + p) : nullptr;
      pieces.begins[p + 1] = pieces.begins[p] + uint32_t(lengths[p] / int64_t(sizeof(Unit)));
    }
    uint64_t units = uint64_t(groups) * pieces.begins[most_parts];
    if (units == 0)
      return 0;
    pieceKernel<Unit, split>
        <<<unsigned(blocksOf(int64_t(units), threads)), threads, 0, streamOf(launch)>>>(operand<Unit>(launch, packed), pieces, units);
    return launched(kernel);
  });
}

template <typename T, bool wide>
__global__ void repeatKernel(T *y, const T *x, const T *addend, int64_t rows, int64_t groups, int64_t width, float scale) {
  uint32_t packs = uint32_t((width + Pack<T>::size - 1) / Pack<T>::size), index = blockIdx.x * threads + threadIdx.x;
  int64_t row = index / packs, col = int64_t(index % packs) * Pack<T>::size, left = wide ? Pack<T>::size : width - col;
  if (row >= rows)
    return;
  Pack<T> pack = loadPack(x + row * width + col, left, wide);
  for (int64_t group = 0; group < groups; ++group) {
    int64_t at = (row * groups + group) * width + col;
    Pack<T> sum = {};
    if (addend)
      sum = loadPack(addend + at, left, wide);
#pragma unroll
    for (int i = 0; i < Pack<T>::size; ++i)
      sum[i] += pack[i] * scale;
    storePack(y + at, sum, left, wide);
  }
}

template <typename T, bool wide>
__global__ void sumGroupsKernel(T *y, const T *x, int64_t rows, int64_t groups, int64_t width, float scale) {
  uint32_t packs = uint32_t((width + Pack<T>::size - 1) / Pack<T>::size), index = blockIdx.x * threads + threadIdx.x;
  int64_t row = index / packs, col = int64_t(index % packs) * Pack<T>::size, left = width - col;
  if (row >= rows)
    return;
  Pack<T> sum = {};
#pragma unroll 8
  for (int64_t group = 0; group < groups; ++group) {
    Pack<T> pack = loadPack(x + (row * groups + group) * width + col, wide ? Pack<T>::size : left, wide);
#pragma unroll
    for (int i = 0; i < Pack<T>::size; ++i)
      sum[i] += pack[i];
  }
#pragma unroll
  for (int i = 0; i < Pack<T>::size; ++i)
    sum[i] *= scale;
  storePack(y + row * width + col, sum, left, wide);
}

} // namespace

extern "C" {

int32_t mg_split(const MgLaunch *launch) {
  MG_ENTER(mg_split);
  return movePieces<true>(launch, "mg_split", at::x, at::part);
}

int32_t mg_concat(const MgLaunch *launch) {
  MG_ENTER(mg_concat);
  return movePieces<false>(launch, "mg_concat", at::y, at::part);
}

int32_t mg_repeat_groups(const MgLaunch *launch) {
  MG_ENTER(mg_repeat_groups);
  int64_t rows = launch->ints[number::rows], groups = launch->ints[number::groups], width = launch->ints[number::width];
  return withElement(launch, "mg_repeat_groups", {at::y, at::x, at::addend}, [&](auto element) {
    using T = decltype(element);
    T *y = operand<T>(launch, at::y), *x = operand<T>(launch, at::x), *addend = operand<T>(launch, at::addend);
    unsigned blocks = unsigned(blocksOf(rows * blocksOf(width, Pack<T>::size), threads));
    return withFlag(areAligned({y, x, addend}) && width % Pack<T>::size == 0, [&](auto wide) {
      repeatKernel<T, wide()>
          <<<blocks, threads, 0, streamOf(launch)>>>(y, x, addend, rows, groups, width, float(launch->doubles[real::scale]));
      return launched("mg_repeat_groups");
    });
  });
}

int32_t mg_sum_groups(const MgLaunch *launch) {
  MG_ENTER(mg_sum_groups);
  int64_t rows = launch->ints[number::rows], groups = launch->ints[number::groups], width = launch->ints[number::width];
  return withElement(launch, "mg_sum_groups", {at::y, at::x}, [&](auto element) {
    using T = decltype(element);
    T *y = operand<T>(launch, at::y), *x = operand<T>(launch, at::x);
    unsigned blocks = unsigned(blocksOf(rows * blocksOf(width, Pack<T>::size), threads));
    return withFlag(areAligned({y, x}) && width % Pack<T>::size == 0, [&](auto wide) {
      sumGroupsKernel<T, wide()><<<blocks, threads, 0, streamOf(launch)>>>(y, x, rows, groups, width, float(launch->doubles[real::scale]));
      return launched("mg_sum_groups");
    });
  });
}
}
