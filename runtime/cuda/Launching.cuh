// What launchers of kernels for fixed types share: checked calls and types, the size of the device, rows that hold nothing.
#pragma once
#include "runtime/cuda/Device.cuh"

namespace megacc::runtime::cuda {

/// Returns from a launcher when a CUDA call fails.
#define MG_CUDA(kernel, call)                                                                                                              \
  if (int32_t status = ::megacc::runtime::cuda::check(call, kernel))                                                                       \
  return status

inline const char *typeName(int type) {
  const char *names[] = {"f32", "bf16", "i32", "f64", "i64", "raw", "absent"};
  return names[type];
}

/// 0 if the operand has this type.
inline int32_t checkType(const MgLaunch *launch, int index, int type, const char *kernel, const char *name) {
  if (launch->types[index] == type)
    return 0;
  return mg_fail("%s: %s is %s, this kernel takes %s; fix: compile the declaration again", kernel, name, typeName(launch->types[index]),
                 typeName(type));
}
#define MG_TYPE(kernel, name, type)                                                                                                        \
  if (int32_t status = ::megacc::runtime::cuda::checkType(launch, at::name, type, kernel, #name))                                          \
  return status

/// Multiprocessors of the current device.
inline int multiprocessors() {
  int device = 0, count = 0;
  cudaGetDevice(&device);
  cudaDeviceGetAttribute(&count, cudaDevAttrMultiProcessorCount, device);
  return count;
}

/// Zeros from row `used` to row `capacity`; the caller is one of `threads` threads. cols * sizeof(T) is a multiple of sizeof(Word), rows
/// are aligned to it.
template <typename Word, typename T>
__device__ void clearTail(T *rows, int64_t used, int64_t capacity, int64_t cols, int64_t thread, int64_t threads) {
  Word *words = reinterpret_cast<Word *>(rows + used * cols);
  int64_t count = (capacity - used) * cols * int64_t(sizeof(T)) / int64_t(sizeof(Word));
  for (int64_t i = thread; i < count; i += threads)
    words[i] = Word();
}

} // namespace megacc::runtime::cuda
