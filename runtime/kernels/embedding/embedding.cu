// Token embedding: rows of a table, and the sum of gradients over equal tokens in token order.
#include "runtime/cuda/Units.cuh"
#include "runtime/kernels/embedding/StableSort.cuh"

using namespace megacc::runtime;
using namespace megacc::runtime::cuda;

namespace {

constexpr int threads = 128;

/// This rank's rows of the table, and rows in all.
struct Part {
  Part(const MgLaunch *launch, int64_t axis, int64_t rows)
      : begin(partBegin(launch, axis, rows)), rows(rows), vocab(partCount(launch, axis) * rows) {}
  int64_t begin, rows, vocab;
};

template <typename Unit>
__global__ void embeddingKernel(Unit *y, float *invalid, const Unit *table, const int32_t *tokens, int64_t width, Part part) {
  int64_t t = blockIdx.x, token = tokens[t], row = token - part.begin;
  bool is_here = row >= 0 && row < part.rows;
  if (invalid && threadIdx.x == 0 && (token < 0 || token >= part.vocab))
    *invalid = 1.0f;
  for (int64_t i = threadIdx.x; i < width; i += threads)
    y[t * width + i] = is_here ? table[row * width + i] : Unit();
}

/// The end of the run of equal tokens that begins at `place`: doubling steps, then halving ones.
__device__ int64_t endOfRun(const int32_t *sorted, int64_t rows, int64_t place) {
  int64_t inside = place, step = 1;
  while (inside + step < rows && sorted[inside + step] == sorted[place]) {
    inside += step;
    step *= 2;
  }
  for (; step > 0; step /= 2)
    if (inside + step < rows && sorted[inside + step] == sorted[place])
      inside += step;
  return inside + 1;
}

/// A block per place in the order and tile of columns, the tiles of a place side by side; the first place of a token's run sums the run.
template <typename T, bool wide>
__global__ void sumRunsKernel(float *d_table, const T *d_y, const int32_t *sorted, const int32_t *order, int64_t rows, int64_t cols,
                              Part part, uint32_t tiles, bool add) {
  constexpr int size = Pack<T>::size;
  int64_t place = blockIdx.x / tiles, col = (int64_t(blockIdx.x % tiles) * threads + threadIdx.x) * size, left = cols - col;
  int32_t token = sorted[place];
  int64_t row = token - part.begin;
  if (left <= 0 || row < 0 || row >= part.rows || (place && sorted[place - 1] == token))
    return;
  int64_t end = endOfRun(sorted, rows, place);
  float *to = d_table + row * cols + col;
  Pack<T> sum = {};
  if (add)
#pragma unroll
    for (int i = 0; i < size; ++i)
      sum[i] = i < left ? to[i] : 0.0f;
  // Rows are added one after the other, but read several at a time.
  constexpr int batch = 16;
  for (; place < end; place += batch) {
    uint4 raw[batch];
#pragma unroll
    for (int r = 0; r < batch; ++r)
      if (place + r < end)
        raw[r] = loadRaw(d_y + order[place + r] * cols + col, wide ? size : left, wide);
#pragma unroll
    for (int r = 0; r < batch; ++r)
      if (place + r < end) {
        Pack<T> pack = unpack(raw[r], T());
#pragma unroll
        for (int i = 0; i < size; ++i)
          sum[i] += pack[i];
      }
  }
#pragma unroll
  for (int i = 0; i < size; i += 4)
    storePack(to + i, Pack<float>{{sum[i], sum[i + 1], sum[i + 2], sum[i + 3]}}, left - i, wide);
}

} // namespace

extern "C" {

int32_t mg_embedding(const MgLaunch *launch) {
  MG_ENTER(mg_embedding);
  int64_t rows = launch->ints[number::rows];
  Part part(launch, launch->ints[number::vocab_axis], launch->ints[number::vocab]);
  float *invalid = operand<float>(launch, at::invalid);
  if (launch->types[at::y] != launch->types[at::table])
    return mg_fail("mg_embedding: y has type %d and the table type %d; fix: give both the same type", int(launch->types[at::y]),
                   int(launch->types[at::table]));
  if (int32_t status = clearFlag(launch, invalid, "mg_embedding"))
    return status;
  int64_t length = launch->ints[number::cols] * elementBytes(launch->types[at::y]);
  const void *addresses[] = {launch->operands[at::y], launch->operands[at::table]};
  return withUnit({&length, 1}, addresses, [&](auto unit) {
    using Unit = decltype(unit);
    embeddingKernel<<<unsigned(rows), threads, 0, streamOf(launch)>>>(
        operand<Unit>(launch, at::y), invalid, operand<const Unit>(launch, at::table), operand<int32_t>(launch, at::tokens),
        length / int64_t(sizeof(Unit)), part);
    return launched("mg_embedding");
  });
}

int32_t mg_embedding_grad(const MgLaunch *launch) {
  MG_ENTER(mg_embedding_grad);
  int64_t rows = launch->ints[number::rows], cols = launch->ints[number::cols];
  Part part(launch, launch->ints[number::vocab_axis], launch->ints[number::vocab]);
  bool add = addsToOutput(launch, launch->ints[number::accumulate]);
  float *d_table = operand<float>(launch, at::d_table);
  const int32_t *tokens = operand<int32_t>(launch, at::tokens);
  cudaStream_t stream = streamOf(launch);
  Scratch scratch(launch, at::scratch);
  int32_t *keys[2], *values[2], *counts = scratch.take<int32_t>(blocksOf(rows, sort_tile) * sort_digits);
  for (int i : {0, 1})
    keys[i] = scratch.take<int32_t>(rows), values[i] = scratch.take<int32_t>(rows);
  if (int32_t status = scratch.check("mg_embedding_grad"))
    return status;
  if (!add)
    if (int32_t status = check(cudaMemsetAsync(d_table, 0, size_t(part.rows * cols) * sizeof(float), stream), "mg_embedding_grad"))
      return status;
  int passes = sortTokens(tokens, rows, part.vocab, keys, values, counts, stream);
  const int32_t *sorted = keys[passes % 2], *order = values[passes % 2];
  if (int32_t status = launched("mg_embedding_grad"))
    return status;
  return withElement(launch, "mg_embedding_grad", {at::d_y}, [&](auto element) {
    using T = decltype(element);
    T *d_y = operand<T>(launch, at::d_y);
    uint32_t tiles = uint32_t(blocksOf(cols, threads * Pack<T>::size));
    return withFlag(areAligned({d_table, d_y}) && cols % Pack<T>::size == 0, [&](auto wide) {
      sumRunsKernel<T, wide()><<<unsigned(rows) * tiles, threads, 0, stream>>>(d_table, d_y, sorted, order, rows, cols, part, tiles, add);
      return launched("mg_embedding_grad");
    });
  });
}
}
