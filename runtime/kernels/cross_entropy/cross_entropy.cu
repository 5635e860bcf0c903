// The head and its cross-entropy together, conventions 12.2: logits exist for `logit_rows` rows at a time, as bf16 in scratch, and become
// their gradient in place.
#include "runtime/cuda/CublasLt.h"
#include "runtime/cuda/Device.cuh"

#include <algorithm>
#include <cfloat>

using namespace megacc::runtime;
using namespace megacc::runtime::cuda;

namespace {

constexpr int threads = 512, warps = threads / 32, pack_size = Pack<bf16>::size;
/// Packs that a thread has on their way at a time.
constexpr int batch = 4;
/// As much of a row is kept in shared memory between its two passes as lets two blocks share a multiprocessor, one reading while the other
/// writes; the rest is read again.
constexpr int most_kept_packs = 112 * 1024 / sizeof(uint4);
constexpr float log2e = 1.4426950408889634f;

/// 2^x, 0 for -infinity.
__device__ float powerOfTwo(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

/// Logits [8 * pack, 8 * pack + 8) of a row; those beyond its end are -infinity.
__device__ uint4 loadLogits(const bf16 *row, int pack, int vocab, bool wide) {
  if (wide && pack * pack_size < vocab)
    return reinterpret_cast<const uint4 *>(row)[pack];
  Pack<bf16> logits;
#pragma unroll
  for (int i = 0; i < pack_size; ++i)
    logits[i] = pack * pack_size + i < vocab ? toFloat(row[pack * pack_size + i]) : -INFINITY;
  return repack(logits);
}

/// The largest logit of a part of a row, and the sum of exp(logit - top).
struct SoftmaxSum {
  float top = -FLT_MAX, sum = 0;

  __device__ float scaledTo(float other_top) const { return sum * powerOfTwo((top - other_top) * log2e); }

  __device__ void add(const uint4 (&packs)[batch]) {
    float new_top = top;
#pragma unroll
    for (int i = 0; i < batch; ++i) {
      Pack<bf16> logits = unpack(packs[i], bf16());
#pragma unroll
      for (int j = 0; j < pack_size; ++j)
        new_top = fmaxf(new_top, logits[j]);
    }
    float new_sum = scaledTo(new_top), shift = -new_top * log2e;
#pragma unroll
    for (int i = 0; i < batch; ++i) {
      Pack<bf16> logits = unpack(packs[i], bf16());
#pragma unroll
      for (int j = 0; j < pack_size; ++j)
        new_sum += powerOfTwo(fmaf(logits[j], log2e, shift));
    }
    top = new_top, sum = new_sum;
  }

  __device__ SoftmaxSum overWarp() const {
    SoftmaxSum all;
    all.top = warpMax(top);
    all.sum = warpSum(scaledTo(all.top));
    return all;
  }

  /// The same bits in every thread.
  __device__ SoftmaxSum overBlock() const {
    __shared__ float tops[warps], sums[warps];
    SoftmaxSum part = overWarp();
    int lane = threadIdx.x % 32;
    if (lane == 0)
      tops[threadIdx.x / 32] = part.top, sums[threadIdx.x / 32] = part.sum;
    __syncthreads();
    part = SoftmaxSum();
    if (lane < warps)
      part.top = tops[lane], part.sum = sums[lane];
    return part.overWarp();
  }
};

/// A block per row: its loss, and with `gradient` softmax - one_hot times scale / max(1, valid) in place of its logits. A target outside
/// the vocabulary is ignored. Every thread reads again only what it read before, so the row needs no barrier.
template <bool gradient>
__global__ void __launch_bounds__(threads)
    lossRows(bf16 *logits, float *losses, const int32_t *targets, const float *valid, int vocab, int kept_packs, float scale) {
  extern __shared__ uint4 kept_row[];
  bf16 *row = logits + int64_t(blockIdx.x) * vocab;
  const int target = targets[blockIdx.x], packs = (vocab + pack_size - 1) / pack_size;
  const bool wide = vocab % pack_size == 0;
  if (target < 0 || target >= vocab) {
    if (threadIdx.x == 0)
      losses[blockIdx.x] = 0;
    if constexpr (gradient)
      for (int pack = threadIdx.x; pack < packs; pack += threads)
        storePack(row + pack * pack_size, Pack<bf16>(), vocab - pack * pack_size, wide);
    return;
  }
  const float goal = toFloat(row[target]);

  SoftmaxSum part;
  for (int first = threadIdx.x; first < packs; first += batch * threads) {
    uint4 raw[batch];
#pragma unroll
    for (int i = 0; i < batch; ++i)
      raw[i] = loadLogits(row, first + i * threads, vocab, wide);
    if constexpr (gradient)
#pragma unroll
      for (int i = 0; i < batch; ++i)
        if (first + i * threads < kept_packs)
          kept_row[first + i * threads] = raw[i];
    part.add(raw);
  }
  const SoftmaxSum total = part.overBlock();
  if (threadIdx.x == 0)
    losses[blockIdx.x] = logf(total.sum) + total.top - goal;

  if constexpr (gradient) {
    const float factor = scale / fmaxf(1.0f, *valid), weight = factor / total.sum, shift = -total.top * log2e;
#pragma unroll 4
    for (int pack = threadIdx.x; pack < packs; pack += threads) {
      Pack<bf16> values = unpack(pack < kept_packs ? kept_row[pack] : loadLogits(row, pack, vocab, wide), bf16());
#pragma unroll
      for (int j = 0; j < pack_size; ++j)
        values[j] = powerOfTwo(fmaf(values[j], log2e, shift)) * weight;
      storePack(row + pack * pack_size, values, vocab - pack * pack_size, wide);
    }
    if (threadIdx.x == target / pack_size % threads)
      row[target] = fromFloat<bf16>(powerOfTwo(fmaf(goal, log2e, shift)) * weight - factor);
  }
}

/// A block per row: its largest logit, and the sum of exp(logit - largest).
__global__ void __launch_bounds__(threads) statisticsRows(float *tops, float *sums, const bf16 *logits, int vocab) {
  const bf16 *row = logits + int64_t(blockIdx.x) * vocab;
  const int packs = (vocab + pack_size - 1) / pack_size;
  const bool wide = vocab % pack_size == 0;
  SoftmaxSum part;
  for (int first = threadIdx.x; first < packs; first += batch * threads) {
    uint4 raw[batch];
#pragma unroll
    for (int i = 0; i < batch; ++i)
      raw[i] = loadLogits(row, first + i * threads, vocab, wide);
    part.add(raw);
  }
  const SoftmaxSum total = part.overBlock();
  if (threadIdx.x == 0)
    tops[blockIdx.x] = total.top, sums[blockIdx.x] = total.sum;
}

/// Statistics [all_parts, 2, rows] of the parts of a vocabulary of `whole` tokens; a rank has `vocab` of them from `begin` on.
struct VocabularyPart {
  const float *statistics;
  int64_t all_parts, rows, begin, vocab, whole;

  /// The softmax of a row over all parts.
  __device__ SoftmaxSum joined(int64_t row) const {
    SoftmaxSum all;
    for (int64_t part = 0; part < all_parts; ++part)
      all.top = fmaxf(all.top, statistics[part * 2 * rows + row]);
    for (int64_t part = 0; part < all_parts; ++part)
      all.sum += statistics[(part * 2 + 1) * rows + row] * powerOfTwo((statistics[part * 2 * rows + row] - all.top) * log2e);
    return all;
  }
  __device__ bool has(int64_t target) const { return target >= begin && target < begin + vocab && target < whole; }
};

/// A block per row from `first` on: softmax - one_hot times scale / max(1, valid) in place of the logits of the part, and the loss of a
/// target in it. A target outside the vocabulary is ignored.
__global__ void __launch_bounds__(threads) lossRowsOfPart(bf16 *logits, float *losses, const int32_t *targets, const float *valid,
                                                          VocabularyPart part, int64_t first, float scale) {
  const int vocab = int(part.vocab), packs = (vocab + pack_size - 1) / pack_size;
  bf16 *row = logits + int64_t(blockIdx.x) * vocab;
  const bool wide = vocab % pack_size == 0;
  const int64_t t = first + blockIdx.x, target = targets[t];
  if (target < 0 || target >= part.whole) {
    if (threadIdx.x == 0)
      losses[t] = 0;
    for (int pack = threadIdx.x; pack < packs; pack += threads)
      storePack(row + pack * pack_size, Pack<bf16>(), vocab - pack * pack_size, wide);
    return;
  }
  const bool is_here = part.has(target);
  const int place = is_here ? int(target - part.begin) : 0;
  const float goal = toFloat(row[place]);
  __syncthreads(); // all have read it before one writes it
  const SoftmaxSum total = part.joined(t);
  if (threadIdx.x == 0)
    losses[t] = is_here ? logf(total.sum) + total.top - goal : 0.0f;
  const float factor = scale / fmaxf(1.0f, *valid), weight = factor / total.sum, shift = -total.top * log2e;
  for (int pack = threadIdx.x; pack < packs; pack += threads) {
    Pack<bf16> values = unpack(loadLogits(row, pack, vocab, wide), bf16());
#pragma unroll
    for (int j = 0; j < pack_size; ++j)
      values[j] = powerOfTwo(fmaf(values[j], log2e, shift)) * weight;
    storePack(row + pack * pack_size, values, vocab - pack * pack_size, wide);
  }
  if (is_here && threadIdx.x == place / pack_size % threads)
    row[place] = fromFloat<bf16>(powerOfTwo(fmaf(goal, log2e, shift)) * weight - factor);
}

/// A block for each row of the batch: the sum and the number of the losses of its targets in the part.
__global__ void __launch_bounds__(threads) sumRowOfPart(float *loss_sum, float *count, const bf16 *x, const bf16 *weight,
                                                        const int32_t *targets, VocabularyPart part, int64_t sequence, int64_t cols) {
  __shared__ float shared[warps];
  double sum = 0;
  int64_t valid = 0;
  for (int64_t t = blockIdx.x * sequence; t < (blockIdx.x + 1) * sequence; ++t) {
    const int64_t target = targets[t];
    if (target < 0 || !part.has(target))
      continue;
    float goal = 0;
    for (int64_t i = threadIdx.x; i < cols; i += threads)
      goal += toFloat(x[t * cols + i]) * toFloat(weight[(target - part.begin) * cols + i]);
    goal = toFloat(fromFloat<bf16>(blockSum<threads>(goal, shared))); // as logits are
    const SoftmaxSum total = part.joined(t);
    sum += logf(total.sum) + total.top - goal;
    ++valid;
  }
  if (threadIdx.x == 0)
    loss_sum[blockIdx.x] = float(sum), count[blockIdx.x] = float(valid);
}

/// The sum of `count` losses, by a whole block.
__device__ double sumLosses(const float *losses, int64_t count, double *shared) {
  double sum = 0;
#pragma unroll 4
  for (int64_t t = threadIdx.x; t < count; t += threads)
    sum += losses[t];
  return blockSum<threads>(sum, shared);
}

/// One block: loss[1] = sum of the losses / max(1, valid), and the flag of targets beyond the vocabulary.
__global__ void finishLoss(float *loss, float *invalid, const float *losses, const int32_t *targets, const float *valid, int64_t rows,
                           int64_t vocab, bool first_micro_batch) {
  __shared__ double shared[warps];
  double sum = sumLosses(losses, rows, shared);
  bool beyond = false;
  for (int64_t t = threadIdx.x; t < rows; t += threads)
    beyond |= targets[t] >= vocab;
  beyond = __syncthreads_or(beyond);
  if (threadIdx.x)
    return;
  *loss = float(sum / fmax(1.0, double(*valid)));
  if (invalid)
    *invalid = beyond || (!first_micro_batch && *invalid != 0) ? 1.0f : 0.0f;
}

/// A block for each row of the batch: the sum and the number of its valid targets' losses.
__global__ void sumRow(float *loss_sum, float *count, const float *losses, const int32_t *targets, int64_t sequence, int64_t vocab) {
  __shared__ double shared[warps];
  __shared__ int shared_counts[warps];
  losses += blockIdx.x * sequence;
  targets += blockIdx.x * sequence;
  double sum = sumLosses(losses, sequence, shared);
  int valid = 0;
  for (int64_t t = threadIdx.x; t < sequence; t += threads)
    valid += targets[t] >= 0 && targets[t] < vocab;
  valid = blockSum<threads>(valid, shared_counts);
  if (threadIdx.x == 0)
    loss_sum[blockIdx.x] = float(sum), count[blockIdx.x] = float(valid);
}

/// to[b] = x[b, positions[b]], clamped into the sequence; a block per row.
__global__ void gatherRows(bf16 *to, const bf16 *x, const int32_t *positions, int64_t sequence, int64_t cols) {
  int64_t position = min(max(int64_t(positions[blockIdx.x]), int64_t(0)), sequence - 1);
  for (int64_t i = threadIdx.x; i < cols; i += threads)
    to[blockIdx.x * cols + i] = x[(blockIdx.x * sequence + position) * cols + i];
}

template <bool gradient>
int32_t launchRows(const MgLaunch *launch, const char *kernel, bf16 *logits, float *losses, const int32_t *targets, const float *valid,
                   int64_t rows, int64_t vocab, float scale) {
  const int kept_packs = gradient ? int(std::min<int64_t>(blocksOf(vocab, pack_size), most_kept_packs)) : 0;
  const int bytes = kept_packs * int(sizeof(uint4));
  if (int32_t status = check(cudaFuncSetAttribute(lossRows<gradient>, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes), kernel))
    return status;
  lossRows<gradient><<<unsigned(rows), threads, bytes, streamOf(launch)>>>(logits, losses, targets, valid, int(vocab), kept_packs, scale);
  return launched(kernel);
}

/// 0 if the products take the types of x and weight, and the start of every chunk of rows.
int32_t checkInputs(const MgLaunch *launch, const char *kernel, int x, int weight, int64_t cols, int64_t rows, int64_t logit_rows) {
  for (int index : {x, weight})
    if (launch->types[index] != MG_BF16)
      return mg_fail("%s: operand %d has type %d; fix: bf16 (%d)", kernel, index, int(launch->types[index]), int(MG_BF16));
  if (logit_rows < rows && logit_rows * cols % 32)
    return mg_fail("%s: logit_rows * cols is %lld * %lld; fix: make it a multiple of 32, or logit_rows at least the %lld rows", kernel,
                   (long long)logit_rows, (long long)cols, (long long)rows);
  return 0;
}

} // namespace

extern "C" {

int32_t mg_linear_cross_entropy(const MgLaunch *launch) {
  MG_ENTER(mg_linear_cross_entropy);
  const char *kernel = "mg_linear_cross_entropy";
  const int64_t rows = launch->ints[number::rows], cols = launch->ints[number::cols], vocab = launch->ints[number::vocab];
  const int64_t chunk = std::min(launch->ints[number::logit_rows], rows);
  const bool add = addsToOutput(launch, launch->ints[number::accumulate]);
  if (int32_t status = checkInputs(launch, kernel, at::x, at::weight, cols, rows, chunk))
    return status;
  if (launch->types[at::d_x] != MG_BF16)
    return mg_fail("%s: d_x has type %d; fix: bf16 (%d)", kernel, int(launch->types[at::d_x]), int(MG_BF16));
  const bf16 *x = operand<bf16>(launch, at::x), *weight = operand<bf16>(launch, at::weight);
  const int32_t *targets = operand<int32_t>(launch, at::targets);
  const float *valid = operand<float>(launch, at::valid);
  bf16 *d_x = operand<bf16>(launch, at::d_x);
  float *d_weight = operand<float>(launch, at::d_weight);
  Scratch scratch(launch, at::scratch);
  void *workspace = scratch.take<char>(cublas_workspace_bytes);
  bf16 *logits = scratch.take<bf16>(chunk * vocab);
  float *losses = scratch.take<float>(rows);
  if (int32_t status = scratch.check(kernel))
    return status;
  for (int64_t first = 0; first < rows; first += chunk) {
    const int64_t count = std::min(chunk, rows - first);
    if (int32_t status =
            multiplyMatrices(launch, {count, vocab, cols, false, true, MG_BF16}, x + first * cols, weight, nullptr, logits, workspace))
      return status;
    if (int32_t status = launchRows<true>(launch, kernel, logits, losses + first, targets + first, valid, count, vocab,
                                          float(launch->doubles[real::scale])))
      return status;
    if (int32_t status =
            multiplyMatrices(launch, {count, cols, vocab, false, false, MG_BF16}, logits, weight, nullptr, d_x + first * cols, workspace))
      return status;
    if (int32_t status = multiplyMatrices(launch, {vocab, cols, count, true, false, MG_F32}, logits, x + first * cols,
                                          add || first > 0 ? d_weight : nullptr, d_weight, workspace))
      return status;
  }
  finishLoss<<<1, threads, 0, streamOf(launch)>>>(operand<float>(launch, at::loss), operand<float>(launch, at::invalid), losses, targets,
                                                  valid, rows, vocab, launch->micro_batch == 0);
  return launched(kernel);
}

int32_t mg_linear_cross_entropy_evaluate(const MgLaunch *launch) {
  MG_ENTER(mg_linear_cross_entropy_evaluate);
  const char *kernel = "mg_linear_cross_entropy_evaluate";
  const int64_t batch = launch->ints[number::batch], sequence = launch->ints[number::sequence], rows = batch * sequence;
  const int64_t cols = launch->ints[number::cols], vocab = launch->ints[number::vocab];
  const int64_t chunk = std::min(launch->ints[number::logit_rows], rows);
  if (int32_t status = checkInputs(launch, kernel, at::x, at::weight, cols, rows, chunk))
    return status;
  const bf16 *x = operand<bf16>(launch, at::x), *weight = operand<bf16>(launch, at::weight);
  const int32_t *targets = operand<int32_t>(launch, at::targets);
  Scratch scratch(launch, at::scratch);
  void *workspace = scratch.take<char>(cublas_workspace_bytes);
  bf16 *logits = scratch.take<bf16>(chunk * vocab);
  float *losses = scratch.take<float>(rows);
  if (int32_t status = scratch.check(kernel))
    return status;
  for (int64_t first = 0; first < rows; first += chunk) {
    const int64_t count = std::min(chunk, rows - first);
    if (int32_t status =
            multiplyMatrices(launch, {count, vocab, cols, false, true, MG_BF16}, x + first * cols, weight, nullptr, logits, workspace))
      return status;
    if (int32_t status = launchRows<false>(launch, kernel, logits, losses + first, targets + first, nullptr, count, vocab, 1.0f))
      return status;
  }
  sumRow<<<unsigned(batch), threads, 0, streamOf(launch)>>>(operand<float>(launch, at::loss_sum), operand<float>(launch, at::count), losses,
                                                            targets, sequence, vocab);
  return launched(kernel);
}

int32_t mg_head_statistics(const MgLaunch *launch) {
  MG_ENTER(mg_head_statistics);
  const char *kernel = "mg_head_statistics";
  const int64_t rows = launch->ints[number::rows], cols = launch->ints[number::cols], parts = launch->ints[number::parts];
  const int64_t vocab = launch->ints[number::vocab] / parts, chunk = std::min(launch->ints[number::logit_rows], rows);
  if (int32_t status = checkInputs(launch, kernel, at::x, at::weight, cols, rows, chunk))
    return status;
  Scratch scratch(launch, at::scratch);
  void *workspace = scratch.take<char>(cublas_workspace_bytes);
  bf16 *logits = scratch.take<bf16>(chunk * vocab);
  if (int32_t status = scratch.check(kernel))
    return status;
  for (int64_t part = 0; part < parts; ++part)
    for (int64_t first = 0; first < rows; first += chunk) {
      const int64_t count = std::min(chunk, rows - first);
      float *tops = operand<float>(launch, at::statistics) + part * 2 * rows + first;
      if (int32_t status = multiplyMatrices(launch, {count, vocab, cols, false, true, MG_BF16}, operand<bf16>(launch, at::x) + first * cols,
                                            operand<bf16>(launch, at::weight) + part * vocab * cols, nullptr, logits, workspace))
        return status;
      statisticsRows<<<unsigned(count), threads, 0, streamOf(launch)>>>(tops, tops + rows, logits, int(vocab));
      if (int32_t status = launched(kernel))
        return status;
    }
  return 0;
}

int32_t mg_linear_cross_entropy_parts(const MgLaunch *launch) {
  MG_ENTER(mg_linear_cross_entropy_parts);
  const char *kernel = "mg_linear_cross_entropy_parts";
  const int64_t rows = launch->ints[number::rows], cols = launch->ints[number::cols], vocab = launch->ints[number::vocab];
  const int64_t chunk = std::min(launch->ints[number::logit_rows], rows), all_parts = launch->ints[number::all_parts];
  const bool add = addsToOutput(launch, launch->ints[number::accumulate]);
  if (int32_t status = checkInputs(launch, kernel, at::x, at::weight, cols, rows, chunk))
    return status;
  if (launch->types[at::d_x] != MG_BF16)
    return mg_fail("%s: d_x has type %d; fix: bf16 (%d)", kernel, int(launch->types[at::d_x]), int(MG_BF16));
  const VocabularyPart part = {
      operand<float>(launch, at::statistics),         all_parts, rows, partBegin(launch, launch->ints[number::axis], vocab), vocab,
      vocab / launch->ints[number::parts] * all_parts};
  const bf16 *x = operand<bf16>(launch, at::x), *weight = operand<bf16>(launch, at::weight);
  const int32_t *targets = operand<int32_t>(launch, at::targets);
  const float *valid = operand<float>(launch, at::valid);
  float *d_weight = operand<float>(launch, at::d_weight);
  Scratch scratch(launch, at::scratch);
  void *workspace = scratch.take<char>(cublas_workspace_bytes);
  bf16 *logits = scratch.take<bf16>(chunk * vocab);
  float *losses = scratch.take<float>(rows);
  if (int32_t status = scratch.check(kernel))
    return status;
  for (int64_t first = 0; first < rows; first += chunk) {
    const int64_t count = std::min(chunk, rows - first);
    if (int32_t status =
            multiplyMatrices(launch, {count, vocab, cols, false, true, MG_BF16}, x + first * cols, weight, nullptr, logits, workspace))
      return status;
    lossRowsOfPart<<<unsigned(count), threads, 0, streamOf(launch)>>>(logits, losses, targets, valid, part, first,
                                                                      float(launch->doubles[real::scale]));
    if (int32_t status = launched(kernel))
      return status;
    if (int32_t status = multiplyMatrices(launch, {count, cols, vocab, false, false, MG_BF16}, logits, weight, nullptr,
                                          operand<bf16>(launch, at::d_x) + first * cols, workspace))
      return status;
    if (int32_t status = multiplyMatrices(launch, {vocab, cols, count, true, false, MG_F32}, logits, x + first * cols,
                                          add || first > 0 ? d_weight : nullptr, d_weight, workspace))
      return status;
  }
  finishLoss<<<1, threads, 0, streamOf(launch)>>>(operand<float>(launch, at::loss), operand<float>(launch, at::invalid), losses, targets,
                                                  valid, rows, part.whole, launch->micro_batch == 0);
  return launched(kernel);
}

int32_t mg_linear_cross_entropy_evaluate_parts(const MgLaunch *launch) {
  MG_ENTER(mg_linear_cross_entropy_evaluate_parts);
  const char *kernel = "mg_linear_cross_entropy_evaluate_parts";
  const int64_t batch = launch->ints[number::batch], sequence = launch->ints[number::sequence], rows = batch * sequence;
  const int64_t cols = launch->ints[number::cols], vocab = launch->ints[number::vocab], all_parts = launch->ints[number::all_parts];
  if (int32_t status = checkInputs(launch, kernel, at::x, at::weight, cols, rows, rows))
    return status;
  const VocabularyPart part = {
      operand<float>(launch, at::statistics),         all_parts, rows, partBegin(launch, launch->ints[number::axis], vocab), vocab,
      vocab / launch->ints[number::parts] * all_parts};
  sumRowOfPart<<<unsigned(batch), threads, 0, streamOf(launch)>>>(operand<float>(launch, at::loss_sum), operand<float>(launch, at::count),
                                                                  operand<bf16>(launch, at::x), operand<bf16>(launch, at::weight),
                                                                  operand<int32_t>(launch, at::targets), part, sequence, cols);
  return launched(kernel);
}

int32_t mg_logits_at(const MgLaunch *launch) {
  MG_ENTER(mg_logits_at);
  const char *kernel = "mg_logits_at";
  const int64_t batch = launch->ints[number::batch], sequence = launch->ints[number::sequence], cols = launch->ints[number::cols];
  if (int32_t status = checkInputs(launch, kernel, at::x, at::weight, cols, batch, batch))
    return status;
  Scratch scratch(launch, at::scratch);
  void *workspace = scratch.take<char>(cublas_workspace_bytes);
  bf16 *gathered = scratch.take<bf16>(batch * cols);
  if (int32_t status = scratch.check(kernel))
    return status;
  gatherRows<<<unsigned(batch), threads, 0, streamOf(launch)>>>(gathered, operand<bf16>(launch, at::x),
                                                                operand<int32_t>(launch, at::positions), sequence, cols);
  if (int32_t status = launched(kernel))
    return status;
  return multiplyMatrices(launch, {batch, launch->ints[number::vocab], cols, false, true, MG_F32}, gathered, launch->operands[at::weight],
                          nullptr, launch->operands[at::logits], workspace);
}
}
