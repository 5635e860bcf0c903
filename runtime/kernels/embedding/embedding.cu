// Token embedding: rows of a table, and the sum of gradients over equal tokens in token order.
#include "runtime/cuda/Units.cuh"

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

/// Tokens that a block of the ranking compares with.
constexpr int rank_threads = 256, rank_tile = 2048;

/// rank[t] += tokens of a tile that come before t when sorted by token, then position. Integer sums: the order does not matter.
__global__ void rankKernel(int32_t *rank, const int32_t *tokens, int32_t rows) {
  __shared__ int32_t others[rank_tile];
  int32_t t = blockIdx.x * rank_threads + threadIdx.x, first = blockIdx.y * rank_tile, count = min(rank_tile, rows - first);
  for (int32_t i = threadIdx.x; i < count; i += rank_threads)
    others[i] = tokens[first + i];
  __syncthreads();
  if (t >= rows)
    return;
  // Equal tokens count where they are earlier: up to position t of the tile the bound is one higher.
  int32_t token = tokens[t], earlier = max(0, min(t - first, count)), before = 0;
#pragma unroll 8
  for (int32_t i = 0; i < earlier; ++i)
    before += others[i] <= token;
#pragma unroll 8
  for (int32_t i = earlier; i < count; ++i)
    before += others[i] < token;
  atomicAdd(rank + t, before);
}

__global__ void orderKernel(int32_t *order, int32_t *sorted, const int32_t *rank, const int32_t *tokens, int32_t rows) {
  int32_t t = blockIdx.x * rank_threads + threadIdx.x;
  if (t < rows) {
    order[rank[t]] = t;
    sorted[rank[t]] = tokens[t];
  }
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
  int32_t *rank = scratch.take<int32_t>(rows), *order = scratch.take<int32_t>(rows), *sorted = scratch.take<int32_t>(rows);
  if (int32_t status = scratch.check("mg_embedding_grad"))
    return status;
  if (int32_t status = check(cudaMemsetAsync(rank, 0, size_t(rows) * sizeof(int32_t), stream), "mg_embedding_grad"))
    return status;
  if (!add)
    if (int32_t status = check(cudaMemsetAsync(d_table, 0, size_t(part.rows * cols) * sizeof(float), stream), "mg_embedding_grad"))
      return status;
  unsigned blocks = unsigned(blocksOf(rows, rank_threads));
  rankKernel<<<dim3(blocks, unsigned(blocksOf(rows, rank_tile))), rank_threads, 0, stream>>>(rank, tokens, int32_t(rows));
  orderKernel<<<blocks, rank_threads, 0, stream>>>(order, sorted, rank, tokens, int32_t(rows));
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
