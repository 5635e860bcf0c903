// Gradient norm and AdamW, conventions section 14, as linear sweeps.
#include "runtime/cuda/Device.cuh"
#include "runtime/kernels/optimizer/Optimizer.h"

#include <algorithm>

using namespace megacc::runtime;
using namespace megacc::runtime::cuda;

namespace {

constexpr int threads = 256;
/// The sum of squares is cut in at most this many parts; lib/Kernels knows the same numbers.
constexpr int64_t most_parts = 1056, least_part = 4096;

/// (begin, end, axes), ascending: elements [begin, end) that all ranks of the axes with bits 1 << axis have. They count on the first rank
/// of each; `others` are the axes on which this rank is another. The sum is over elements from `first` on.
struct Ranges {
  const int64_t *bounds;
  int64_t count, others, first;

  /// The first one that ends behind an element, from `range` on.
  __device__ int64_t next(int64_t range, int64_t element) const {
    while (range < count && bounds[3 * range + 1] <= element)
      ++range;
    return range;
  }
  /// The same from the start.
  __device__ int64_t find(int64_t element) const {
    int64_t low = 0, high = count;
    while (low < high) {
      int64_t middle = (low + high) / 2;
      bounds[3 * middle + 1] <= element ? low = middle + 1 : high = middle;
    }
    return low;
  }
};

/// A block has elements [part * size, ...): a thread takes every pack that is `threads` packs further. `skips`: without those of the
/// ranges that another rank counts.
template <typename T, bool skips>
__global__ void squareSumKernel(double *sums, const T *x, int64_t count, int64_t size, bool wide, Ranges ranges) {
  __shared__ double shared[threads / 32];
  int64_t begin = blockIdx.x * size, end = min(begin + size, count);
  double sum = 0;
  [[maybe_unused]] int64_t range = 0;
  if constexpr (skips)
    range = ranges.find(ranges.first + begin + threadIdx.x * Pack<T>::size);
#pragma unroll 4
  for (int64_t at = begin + threadIdx.x * Pack<T>::size; at < end; at += threads * Pack<T>::size) {
    Pack<T> pack = loadPack(x + at, end - at, wide);
#pragma unroll
    for (int i = 0; i < Pack<T>::size; ++i) {
      if constexpr (skips) {
        int64_t element = ranges.first + at + i;
        range = ranges.next(range, element);
        if (range < ranges.count && ranges.bounds[3 * range] <= element && (ranges.bounds[3 * range + 2] & ranges.others))
          continue;
      }
      sum += double(pack[i]) * pack[i];
    }
  }
  sum = blockSum<threads>(sum, shared);
  if (threadIdx.x == 0)
    sums[blockIdx.x] = sum;
}

__global__ void sumKernel(double *total, const double *parts, int64_t count) {
  __shared__ double shared[threads / 32];
  double sum = blockSumOf<threads>(parts, count, shared);
  if (threadIdx.x == 0)
    *total = sum;
}

struct Sums {
  static constexpr int most = 256;
  const double *parts[most];
  int count;
};

__global__ void normKernel(float *norm, Sums sums) {
  double total = 0;
  for (int i = 0; i < sums.count; ++i)
    total += *sums.parts[i];
  *norm = float(sqrt(total));
}

int64_t countParts(int64_t count) { return std::clamp<int64_t>(blocksOf(count, least_part), 1, most_parts); }

/// total = sum of squares; `sums` has a place for each of countParts(count).
template <bool skips = false, typename T>
void sumSquares(const MgLaunch *launch, double *total, double *sums, const T *x, int64_t count, Ranges ranges = {}) {
  int64_t parts = countParts(count), size = blocksOf(blocksOf(count, parts), threads * 4) * threads * 4;
  squareSumKernel<T, skips><<<unsigned(parts), threads, 0, streamOf(launch)>>>(sums, x, count, size, areAligned({x}), ranges);
  sumKernel<<<1, threads, 0, streamOf(launch)>>>(total, sums, parts);
}

struct AdamW {
  float b1, c1, b2, c2, eps;
  double decay, clip;
};

/// The update of four elements.
struct Update {
  float scale, lr, correction1, correction2, keep;

  __device__ Update(const AdamW &rule, float norm, const float *scalars)
      : scale(rule.clip > 0 ? float(min(1.0, rule.clip / (norm + 1e-6))) : 1.0f), lr(scalars[0]), correction1(1.0f / scalars[1]),
        correction2(1.0f / scalars[2]), keep(float(1.0 - double(lr) * rule.decay)) {}

  __device__ void run(const AdamW &rule, float &value, float &first, float &second, float gradient) const {
    float clipped = gradient * scale;
    first = rule.b1 * first + rule.c1 * clipped;
    second = rule.b2 * second + rule.c2 * clipped * clipped;
    value = value * keep - lr * (first * correction1) / (sqrtf(second * correction2) + rule.eps);
  }
};

/// Stores four values where `left` of them exist, as weights too where these are narrower.
template <typename T> __device__ void storeValues(T *weight, float *master, const Pack<float> &value, int64_t left, bool wide) {
  storePack(master, value, left, wide);
  if constexpr (sizeof(T) == 2) {
    if (wide && left >= 4)
      *reinterpret_cast<uint2 *>(weight) = {pairOf(value[0], value[1]), pairOf(value[2], value[3])};
    else
      for (int i = 0; i < 4; ++i)
        if (i < left)
          weight[i] = fromFloat<T>(value[i]);
  }
}

/// `weight` is of type T, `master` its value in fp32; for T = float they are the same tensor.
template <typename T>
__global__ void __launch_bounds__(threads) adamwKernel(T *weight, float *master, float *m, float *v, const float *gradient,
                                                       const float *norm, const float *scalars, int64_t count, AdamW rule, bool wide) {
  if (!isfinite(*norm))
    return;
  const Update update(rule, *norm, scalars);
  for (int64_t at = (int64_t(blockIdx.x) * threads + threadIdx.x) * 4; at < count; at += int64_t(gridDim.x) * threads * 4) {
    int64_t left = count - at;
    Pack<float> g = loadPack(gradient + at, left, wide), first = loadPack(m + at, left, wide), second = loadPack(v + at, left, wide);
    Pack<float> value = loadPack(master + at, left, wide);
#pragma unroll
    for (int i = 0; i < 4; ++i)
      update.run(rule, value[i], first[i], second[i], g[i]);
    storePack(m + at, first, left, wide);
    storePack(v + at, second, left, wide);
    storeValues(weight + at, master + at, value, left, wide);
  }
}

/// Four bf16 of which `left` exist, as floats.
__device__ Pack<float> loadHalves(const bf16 *from, int64_t left, bool wide) {
  Pack<float> pack = {};
  if (wide && left >= 4) {
    uint2 raw = *reinterpret_cast<const uint2 *>(from);
    return {{__uint_as_float(raw.x << 16), __uint_as_float(raw.x & 0xffff0000u), __uint_as_float(raw.y << 16),
             __uint_as_float(raw.y & 0xffff0000u)}};
  }
  for (int i = 0; i < 4; ++i)
    if (i < left)
      pack[i] = toFloat(from[i]);
  return pack;
}

__device__ void storeHalves(bf16 *to, const uint16_t (&halves)[4], int64_t left, bool wide) {
  if (wide && left >= 4) {
    *reinterpret_cast<uint2 *>(to) = {halves[0] | uint32_t(halves[1]) << 16, halves[2] | uint32_t(halves[3]) << 16};
    return;
  }
  for (int i = 0; i < 4; ++i)
    if (i < left)
      reinterpret_cast<uint16_t *>(to)[i] = halves[i];
}

/// The same with moments in bf16; element 0 is that of index `shift` in the table. Parameters start at multiples of 128 elements, so that a
/// warp's are of one.
template <typename T>
__global__ void __launch_bounds__(threads, 2)
    adamwRoundedKernel(T *weight, float *master, bf16 *m, bf16 *v, const float *gradient, const float *norm, const float *scalars,
                       const int32_t *step, const int64_t *table, int64_t shift, int64_t count, AdamW rule, Ranks ranks, bool wide) {
  if (!isfinite(*norm))
    return;
  const Update update(rule, *norm, scalars);
  int64_t t = *step;
  for (int64_t at = (int64_t(blockIdx.x) * threads + threadIdx.x) * 4; at < count; at += int64_t(gridDim.x) * threads * 4) {
    const int64_t *entry = findEntry(table, shift + at);
    const RoundingStream stream = roundingStream(table, entry + 1, t);
    int64_t left = count - at;
    Pack<float> g = loadPack(gradient + at, left, wide), first = loadHalves(m + at, left, wide), second = loadHalves(v + at, left, wide);
    Pack<float> value = loadPack(master + at, left, wide);
    uint16_t firsts[4], seconds[4];
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      update.run(rule, value[i], first[i], second[i], g[i]);
      uint64_t random = stream.draw(shift + at + i - entry[0], ranks);
      firsts[i] = roundBits(__float_as_uint(first[i]), uint32_t(random));
      seconds[i] = roundBits(__float_as_uint(second[i]), uint32_t(random >> 16));
    }
    storeHalves(m + at, firsts, left, wide);
    storeHalves(v + at, seconds, left, wide);
    storeValues(weight + at, master + at, value, left, wide);
  }
}

} // namespace

extern "C" {

int32_t mg_square_sum(const MgLaunch *launch) {
  MG_ENTER(mg_square_sum);
  int64_t count = launch->ints[number::count], parts = countParts(count);
  Scratch scratch(launch, at::scratch);
  double *sums = scratch.take<double>(parts);
  if (int32_t status = scratch.check("mg_square_sum"))
    return status;
  sumSquares(launch, operand<double>(launch, at::sum), sums, operand<float>(launch, at::x), count);
  return launched("mg_square_sum");
}

int32_t mg_square_sum_shared(const MgLaunch *launch) {
  MG_ENTER(mg_square_sum_shared);
  int64_t count = launch->ints[number::count] / launch->ints[number::ranks], parts = countParts(count);
  int64_t first = ownPart(launch, launch->ints[number::axes]) * count;
  Scratch scratch(launch, at::scratch);
  double *sums = scratch.take<double>(parts), *total = operand<double>(launch, at::sum);
  if (int32_t status = scratch.check("mg_square_sum_shared"))
    return status;
  const float *x = operand<float>(launch, at::x) + first;
  int64_t others = 0;
  for (int64_t axis = 0; axis < MG_AXIS_COUNT; ++axis)
    others |= int64_t(launch->context->axes[axis].rank > 0) << axis;
  if (!others)
    sumSquares(launch, total, sums, x, count);
  else
    sumSquares<true>(launch, total, sums, x, count,
                     Ranges{operand<int64_t>(launch, at::shared), launch->ints[number::ranges], others, first});
  return launched("mg_square_sum_shared");
}

int32_t mg_log_norm(const MgLaunch *launch) {
  MG_ENTER(mg_log_norm);
  int64_t count = launch->ints[number::count], parts = countParts(count);
  Scratch scratch(launch, at::scratch);
  double *sums = scratch.take<double>(parts + 1); // the last one is their sum
  if (int32_t status = scratch.check("mg_log_norm"))
    return status;
  return withElement(launch, "mg_log_norm", {at::x}, [&](auto element) {
    sumSquares(launch, sums + parts, sums, operand<decltype(element)>(launch, at::x), count);
    normKernel<<<1, 1, 0, streamOf(launch)>>>(operand<float>(launch, at::norm), Sums{{sums + parts}, 1});
    return launched("mg_log_norm");
  });
}

int32_t mg_norm(const MgLaunch *launch) {
  MG_ENTER(mg_norm);
  int64_t parts = launch->ints[number::parts];
  if (parts > Sums::most)
    return mg_fail("mg_norm: parts is %lld, at most %d; fix: sums over larger ranges", (long long)parts, Sums::most);
  Sums sums = {{}, int(parts)};
  for (int i = 0; i < sums.count; ++i)
    sums.parts[i] = operand<double>(launch, at::part + i);
  normKernel<<<1, 1, 0, streamOf(launch)>>>(operand<float>(launch, at::norm), sums);
  return launched("mg_norm");
}

int32_t mg_adamw(const MgLaunch *launch) {
  MG_ENTER(mg_adamw);
  int64_t count = launch->ints[number::count] / launch->ints[number::ranks], shift = ownPart(launch, launch->ints[number::axes]) * count;
  double beta1 = launch->doubles[real::beta1], beta2 = launch->doubles[real::beta2];
  AdamW rule = {float(beta1),
                float(1.0 - beta1),
                float(beta2),
                float(1.0 - beta2),
                float(launch->doubles[real::eps]),
                launch->ints[number::decays] ? launch->doubles[real::decay] : 0.0,
                launch->doubles[real::clip]};
  void *weight = operand<char>(launch, at::weight) + shift * (launch->types[at::weight] == MG_BF16 ? 2 : 4);
  float *master = operand<float>(launch, at::master), *m = operand<float>(launch, at::m), *v = operand<float>(launch, at::v);
  const float *gradient = operand<float>(launch, at::gradient) + shift, *norm = operand<float>(launch, at::norm);
  const float *scalars = operand<float>(launch, at::scalars);
  bool is_f32 = launch->types[at::weight] == MG_F32;
  if (int32_t status = checkMaster("mg_adamw", launch->types[at::weight], master))
    return status;
  // Enough blocks to fill the card; what a thread computes does not depend on it.
  unsigned blocks = unsigned(std::min<int64_t>(blocksOf(count, threads * 4), 132 * 32));
  if (blocks == 0)
    return 0;
  if (is_f32) {
    float *value = static_cast<float *>(weight);
    adamwKernel<<<blocks, threads, 0, streamOf(launch)>>>(value, value, m, v, gradient, norm, scalars, count, rule,
                                                          areAligned({value, m, v, gradient}));
  } else {
    adamwKernel<<<blocks, threads, 0, streamOf(launch)>>>(static_cast<bf16 *>(weight), master, m, v, gradient, norm, scalars, count, rule,
                                                          areAligned({weight, master, m, v, gradient}));
  }
  return launched("mg_adamw");
}

int32_t mg_adamw_rounded(const MgLaunch *launch) {
  MG_ENTER(mg_adamw_rounded);
  int64_t count = launch->ints[number::count] / launch->ints[number::ranks], shift = ownPart(launch, launch->ints[number::axes]) * count;
  double beta1 = launch->doubles[real::beta1], beta2 = launch->doubles[real::beta2];
  AdamW rule = {float(beta1),
                float(1.0 - beta1),
                float(beta2),
                float(1.0 - beta2),
                float(launch->doubles[real::eps]),
                launch->ints[number::decays] ? launch->doubles[real::decay] : 0.0,
                launch->doubles[real::clip]};
  void *weight = operand<char>(launch, at::weight) + shift * (launch->types[at::weight] == MG_BF16 ? 2 : 4);
  float *master = operand<float>(launch, at::master);
  if (int32_t status = checkMaster("mg_adamw_rounded", launch->types[at::weight], master))
    return status;
  bf16 *m = operand<bf16>(launch, at::m), *v = operand<bf16>(launch, at::v);
  const float *gradient = operand<float>(launch, at::gradient) + shift;
  unsigned blocks = unsigned(std::min<int64_t>(blocksOf(count, threads * 4), 132 * 32));
  if (blocks == 0)
    return 0;
  return withElement(launch, "mg_adamw_rounded", {at::weight}, [&](auto element) {
    using T = decltype(element);
    float *value = master ? master : static_cast<float *>(weight);
    adamwRoundedKernel<<<blocks, threads, 0, streamOf(launch)>>>(
        static_cast<T *>(weight), value, m, v, gradient, operand<float>(launch, at::norm), operand<float>(launch, at::scalars),
        operand<int32_t>(launch, at::step), operand<int64_t>(launch, at::table), shift, count, rule, ranksOf(launch),
        areAligned({weight, value, m, v, gradient}));
    return launched("mg_adamw_rounded");
  });
}
}
