// What every CUDA kernel shares: streams and checked launches, element types, 16-byte accesses, sums in a fixed order.
#pragma once
#include "runtime/core/Launch.h"
#include "runtime/core/Scratch.h"

#include <cuda_bf16.h>
#include <cuda_runtime.h>
#include <initializer_list>
#include <type_traits>

namespace megacc::runtime::cuda {

using bf16 = __nv_bfloat16;

inline cudaStream_t streamOf(const MgLaunch *launch) { return static_cast<cudaStream_t>(launch->context->streams[launch->stream]); }

/// 0, or a message with CUDA's own text.
inline int32_t check(cudaError_t status, const char *kernel) {
  return status == cudaSuccess ? 0 : mg_fail("%s: CUDA says \"%s\"", kernel, cudaGetErrorString(status));
}

/// After <<<>>>: 0, or why the launch did not start.
inline int32_t launched(const char *kernel) { return check(cudaGetLastError(), kernel); }

template <typename T> T *operand(const MgLaunch *launch, int64_t index) { return static_cast<T *>(launch->operands[index]); }

/// Blocks of `size` that cover `count`.
inline int64_t blocksOf(int64_t count, int64_t size) { return (count + size - 1) / size; }

/// Calls body(T()) with the element type of the operands, float or bf16; they must agree, absent ones aside.
template <typename Body> int32_t withElement(const MgLaunch *launch, const char *kernel, std::initializer_list<int> operands, Body &&body) {
  int first = *operands.begin();
  for (int index : operands)
    if (launch->types[index] != launch->types[first] && launch->types[index] != MG_ABSENT)
      return mg_fail("%s: operand %d has type %d and operand %d type %d; fix: give both the same type", kernel, index,
                     int(launch->types[index]), first, int(launch->types[first]));
  if (launch->types[first] == MG_F32)
    return body(float());
  if (launch->types[first] == MG_BF16)
    return body(bf16());
  return mg_fail("%s: operand %d has type %d; fix: f32 (%d) or bf16 (%d)", kernel, first, int(launch->types[first]), int(MG_F32),
                 int(MG_BF16));
}

/// Calls body(std::true_type()) or body(std::false_type()): what is decided once need not be asked in a loop.
template <typename Body> int32_t withFlag(bool flag, Body &&body) { return flag ? body(std::true_type()) : body(std::false_type()); }

/// A flag operand (null: none) at the first micro-batch becomes 0; kernels then store 1 where it is raised.
inline int32_t clearFlag(const MgLaunch *launch, float *flag, const char *kernel) {
  return flag && launch->micro_batch == 0 ? check(cudaMemsetAsync(flag, 0, sizeof(float), streamOf(launch)), kernel) : 0;
}

/// Whether 16-byte accesses are possible at all these addresses; null ones do not matter.
inline bool areAligned(std::initializer_list<const void *> addresses) {
  for (const void *address : addresses)
    if (reinterpret_cast<uintptr_t>(address) % 16)
      return false;
  return true;
}

__device__ inline float toFloat(float value) { return value; }
__device__ inline float toFloat(bf16 value) { return __bfloat162float(value); }
template <typename T> __device__ T fromFloat(float value);
template <> __device__ inline float fromFloat<float>(float value) { return value; }
template <> __device__ inline bf16 fromFloat<bf16>(float value) { return __float2bfloat16_rn(value); }

/// As many elements as fit in 16 bytes, as floats.
template <typename T> struct Pack {
  static constexpr int size = 16 / sizeof(T);
  float values[size];
  __device__ float &operator[](int i) { return values[i]; }
  __device__ float operator[](int i) const { return values[i]; }
};

__device__ inline Pack<float> unpack(uint4 raw, float) {
  return {{__uint_as_float(raw.x), __uint_as_float(raw.y), __uint_as_float(raw.z), __uint_as_float(raw.w)}};
}
__device__ inline Pack<bf16> unpack(uint4 raw, bf16) {
  auto low = [](uint32_t pair) { return __uint_as_float(pair << 16); };
  auto high = [](uint32_t pair) { return __uint_as_float(pair & 0xffff0000u); };
  return {{low(raw.x), high(raw.x), low(raw.y), high(raw.y), low(raw.z), high(raw.z), low(raw.w), high(raw.w)}};
}
__device__ inline uint32_t pairOf(float low, float high) {
  __nv_bfloat162 pair = __floats2bfloat162_rn(low, high);
  return *reinterpret_cast<uint32_t *>(&pair);
}
__device__ inline uint4 repack(const Pack<float> &pack) {
  return {__float_as_uint(pack[0]), __float_as_uint(pack[1]), __float_as_uint(pack[2]), __float_as_uint(pack[3])};
}
__device__ inline uint4 repack(const Pack<bf16> &pack) {
  return {pairOf(pack[0], pack[1]), pairOf(pack[2], pack[3]), pairOf(pack[4], pack[5]), pairOf(pack[6], pack[7])};
}

/// A pack of which `left` elements exist (the rest reads 0), not yet as floats; in one access where `wide` says that the address allows it.
template <typename T> __device__ uint4 loadRaw(const T *from, int64_t left, bool wide) {
  if (wide && left >= Pack<T>::size)
    return *reinterpret_cast<const uint4 *>(from);
  Pack<T> pack;
#pragma unroll
  for (int i = 0; i < Pack<T>::size; ++i)
    pack[i] = i < left ? toFloat(from[i]) : 0.0f;
  return repack(pack);
}

/// The same of a row of which every pack is whole or absent, without a branch, so that several are under way together.
template <bool wide, typename T> __device__ uint4 loadRowRaw(const T *row, int col, int cols) {
  if constexpr (!wide)
    return loadRaw(row + col, cols - col, false);
  uint4 raw = {};
  if (col < cols)
    raw = *reinterpret_cast<const uint4 *>(row + col);
  return raw;
}

template <typename T> __device__ Pack<T> loadPack(const T *from, int64_t left, bool wide) { return unpack(loadRaw(from, left, wide), T()); }

template <typename T> __device__ void storePack(T *to, const Pack<T> &pack, int64_t left, bool wide) {
  if (wide && left >= Pack<T>::size) {
    *reinterpret_cast<uint4 *>(to) = repack(pack);
    return;
  }
#pragma unroll
  for (int i = 0; i < Pack<T>::size; ++i)
    if (i < left)
      to[i] = fromFloat<T>(pack[i]);
}

__device__ inline float sigmoid(float x) { return __fdividef(1.0f, 1.0f + __expf(-x)); }

/// The sum over a warp, the same bits in every lane.
template <typename T> __device__ T warpSum(T value) {
#pragma unroll
  for (int distance = 16; distance > 0; distance /= 2)
    value += __shfl_xor_sync(0xffffffffu, value, distance);
  return value;
}

/// The largest of a warp, the same in every lane; NaN is passed over where there are numbers.
__device__ inline float warpMax(float value) {
#pragma unroll
  for (int distance = 16; distance > 0; distance /= 2)
    value = fmaxf(value, __shfl_xor_sync(0xffffffffu, value, distance));
  return value;
}

/// The sum over a block of `threads`, the same bits in every thread; `shared` has a number per warp. Ends with a barrier, so it may be
/// called again.
template <int threads, typename T> __device__ T blockSum(T value, T *shared) {
  value = warpSum(value);
  if constexpr (threads == 32)
    return value;
  if (threadIdx.x % 32 == 0)
    shared[threadIdx.x / 32] = value;
  __syncthreads();
  T sum = shared[0];
#pragma unroll
  for (int warp = 1; warp < threads / 32; ++warp)
    sum += shared[warp];
  __syncthreads();
  return sum;
}

/// The sum of `count` numbers by a block of `threads`, as blockSum.
template <int threads, typename T> __device__ T blockSumOf(const T *values, int64_t count, T *shared) {
  T sum = 0;
  for (int64_t i = threadIdx.x; i < count; i += threads)
    sum += values[i];
  return blockSum<threads>(sum, shared);
}

/// The largest of a block, as warpMax and blockSum.
template <int threads> __device__ float blockMax(float value, float *shared) {
  value = warpMax(value);
  if (threadIdx.x % 32 == 0)
    shared[threadIdx.x / 32] = value;
  __syncthreads();
#pragma unroll
  for (int warp = 0; warp < threads / 32; ++warp)
    value = fmaxf(value, shared[warp]);
  __syncthreads();
  return value;
}

} // namespace megacc::runtime::cuda
