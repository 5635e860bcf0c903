// Rows of hashed n-gram tables, conventions 11.4.
#include "runtime/cuda/Device.cuh"
#include "runtime/cuda/Documents.cuh"

using namespace megacc::runtime;
using namespace megacc::runtime::cuda;

static constexpr int threads = 256;

static __global__ void ngramRowsKernel(int32_t *ids, const int32_t *tokens, const int32_t *documents, const int64_t *tables, int64_t rows,
                                       int64_t sequence, int64_t count, int64_t longest) {
  int64_t index = int64_t(blockIdx.x) * threads + threadIdx.x, row = index / count, table = index % count, t = row % sequence;
  if (row >= rows)
    return;
  const int64_t *about = tables + table * (3 + longest); // order, size, bias, multipliers
  int64_t known = countReach(documents ? documents + row - t : nullptr, sequence, t, -1, about[0]);
  uint64_t hash = uint64_t(about[2]), offset = 0;
  for (int64_t i = 0; i < known; ++i)
    hash ^= uint64_t(about[3 + i]) * uint64_t(int64_t(tokens[row - i]));
  for (int64_t before = 0; before < table; ++before)
    offset += uint64_t(tables[before * (3 + longest) + 1]);
  ids[index] = int32_t(hash % uint64_t(about[1]) + offset);
}

extern "C" int32_t mg_ngram_rows(const MgLaunch *launch) {
  MG_ENTER(mg_ngram_rows);
  int64_t sequence = launch->ints[number::sequence], rows = launch->ints[number::batch] * sequence, count = launch->ints[number::count];
  ngramRowsKernel<<<unsigned(blocksOf(rows * count, threads)), threads, 0, streamOf(launch)>>>(
      operand<int32_t>(launch, at::ids), operand<int32_t>(launch, at::tokens), operand<int32_t>(launch, at::documents),
      operand<int64_t>(launch, at::table), rows, sequence, count, launch->ints[number::longest]);
  return launched("mg_ngram_rows");
}
