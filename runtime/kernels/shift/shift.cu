// Rows and targets of tokens further ahead or back, within the row and the document (conventions 12.3, 12.4, 13.2).
#include "runtime/cuda/Documents.cuh"
#include "runtime/cuda/Units.cuh"

using namespace megacc::runtime;
using namespace megacc::runtime::cuda;

namespace {

constexpr int threads = 128;

/// Whether row + distance is in the same row of the batch and the same run of equal ids.
__device__ bool reaches(const int32_t *documents, int64_t sequence, int64_t row, int64_t distance) {
  int64_t t = row % sequence, wanted = (distance < 0 ? -distance : distance) + 1;
  return countReach(documents ? documents + row - t : nullptr, sequence, t, distance < 0 ? -1 : 1, wanted) == wanted;
}

template <typename Unit>
__global__ void shiftKernel(Unit *y, const Unit *x, const int32_t *documents, int64_t sequence, int64_t width, int64_t distance) {
  int64_t row = blockIdx.x;
  bool is_there = reaches(documents, sequence, row, distance);
  for (int64_t i = threadIdx.x; i < width; i += threads)
    y[row * width + i] = is_there ? x[(row + distance) * width + i] : Unit();
}

__global__ void shiftTargetsKernel(int32_t *shifted, const int32_t *targets, const int32_t *documents, int64_t rows, int64_t sequence,
                                   int64_t distance) {
  int64_t row = int64_t(blockIdx.x) * threads + threadIdx.x;
  if (row < rows)
    shifted[row] = reaches(documents, sequence, row, distance) ? targets[row + distance] : -1;
}

} // namespace

extern "C" {

int32_t mg_shift(const MgLaunch *launch) {
  MG_ENTER(mg_shift);
  int64_t rows = launch->ints[number::batch] * launch->ints[number::sequence];
  int64_t length = launch->ints[number::cols] * elementBytes(launch->types[at::x]);
  const void *addresses[] = {launch->operands[at::y], launch->operands[at::x]};
  return withUnit({&length, 1}, addresses, [&](auto unit) {
    using Unit = decltype(unit);
    shiftKernel<<<unsigned(rows), threads, 0, streamOf(launch)>>>(operand<Unit>(launch, at::y), operand<const Unit>(launch, at::x),
                                                                  operand<int32_t>(launch, at::documents), launch->ints[number::sequence],
                                                                  length / int64_t(sizeof(Unit)), launch->ints[number::distance]);
    return launched("mg_shift");
  });
}

int32_t mg_shift_targets(const MgLaunch *launch) {
  MG_ENTER(mg_shift_targets);
  int64_t rows = launch->ints[number::batch] * launch->ints[number::sequence];
  shiftTargetsKernel<<<unsigned(blocksOf(rows, threads)), threads, 0, streamOf(launch)>>>(
      operand<int32_t>(launch, at::shifted), operand<int32_t>(launch, at::targets), operand<int32_t>(launch, at::documents), rows,
      launch->ints[number::sequence], launch->ints[number::distance]);
  return launched("mg_shift_targets");
}
}
