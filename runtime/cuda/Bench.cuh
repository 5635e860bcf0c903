// What the benchmarks of CUDA kernels share: filled buffers, times by events, the two ceilings of the card.
#pragma once
#include "runtime/cuda/CublasLt.h"
#include "runtime/cuda/Launching.cuh"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <vector>

extern "C" {
#define MEGACC_KERNEL(symbol, operands, ints, doubles) int32_t symbol(const MgLaunch *launch);
#include "megacc/kernels.def"
}

namespace megacc::bench {

inline void check(int32_t status) {
  if (status) {
    std::printf("%s\n", mg_last_error());
    std::exit(1);
  }
}
inline void check(cudaError_t error) { check(runtime::cuda::check(error, "benchmark")); }

/// Normally distributed: zeros and even distributions draw less power, and run faster.
static __global__ void fillRandom(void *data, int64_t count, bool bf16, uint32_t seed, float scale) {
  for (int64_t i = int64_t(blockIdx.x) * blockDim.x + threadIdx.x; i < count; i += int64_t(gridDim.x) * blockDim.x) {
    uint64_t bits = (uint64_t(i) + 1) * 0x9e3779b97f4a7c15u + seed * 0xbf58476d1ce4e5b9u;
    bits = (bits ^ bits >> 31) * 0x94d049bb133111ebu;
    bits ^= bits >> 29;
    float radius = sqrtf(-2.0f * logf((float(uint32_t(bits) >> 8) + 0.5f) / 16777216.0f));
    float value = radius * cospif(float(uint32_t(bits >> 32) >> 8) / 8388608.0f) * scale;
    if (bf16)
      static_cast<__nv_bfloat16 *>(data)[i] = __float2bfloat16(value);
    else
      static_cast<float *>(data)[i] = value;
  }
}

/// An operand of `count` elements on the device, random with deviation `scale` where it is of floating point. Never freed.
struct Buffer {
  void *data = nullptr;
  int64_t bytes = 0;
  uint8_t type = MG_ABSENT;

  Buffer() = default;
  Buffer(MgType type, int64_t count, uint32_t seed = 0, float scale = 1.0f)
      : bytes(count * (type == MG_F64 || type == MG_I64 ? 8
                       : type == MG_BF16                ? 2
                       : type == MG_RAW                 ? 1
                                                        : 4)),
        type(uint8_t(type)) {
    check(cudaMalloc(&data, bytes));
    if (type == MG_F32 || type == MG_BF16)
      fillRandom<<<1024, 256>>>(data, count, type == MG_BF16, seed, scale);
    check(cudaGetLastError());
  }
};

inline void launch(MgKernel kernel, const std::vector<Buffer> &operands, std::vector<int64_t> ints, std::vector<double> doubles = {}) {
  std::vector<void *> pointers;
  std::vector<int64_t> bytes;
  std::vector<uint8_t> types;
  for (const Buffer &operand : operands)
    pointers.push_back(operand.data), bytes.push_back(operand.bytes), types.push_back(operand.type);
  MgContext context = {};
  MgLaunch call = {pointers.data(),
                   bytes.data(),
                   types.data(),
                   int64_t(operands.size()),
                   ints.data(),
                   int64_t(ints.size()),
                   doubles.data(),
                   int64_t(doubles.size()),
                   0,
                   0,
                   MG_COMPUTE,
                   &context};
  check(kernel(&call));
}

/// Median milliseconds of body(i), i counting up, each between two events.
inline double medianMs(const std::function<void(int)> &body, int repeats = 20, int warm = 5) {
  std::vector<cudaEvent_t> events(repeats + 1);
  for (cudaEvent_t &event : events)
    check(cudaEventCreate(&event));
  for (int i = 0; i < warm; ++i)
    body(i);
  check(cudaEventRecord(events[0]));
  for (int i = 0; i < repeats; ++i) {
    body(warm + i);
    check(cudaEventRecord(events[i + 1]));
  }
  check(cudaDeviceSynchronize());
  std::vector<float> times(repeats);
  for (int i = 0; i < repeats; ++i)
    check(cudaEventElapsedTime(&times[i], events[i], events[i + 1]));
  for (cudaEvent_t event : events)
    check(cudaEventDestroy(event));
  std::sort(times.begin(), times.end());
  return times[repeats / 2];
}

/// Prints the card, its copy bandwidth (bytes read and written) and the rate of a bf16 product of 8192 x 8192 x 8192.
inline void printCeilings() {
  cudaDeviceProp properties;
  check(cudaGetDeviceProperties(&properties, 0));
  const int64_t bytes = int64_t(2) << 30, size = 8192;
  Buffer from(MG_RAW, bytes), to(MG_RAW, bytes);
  double copy = medianMs([&](int) { check(cudaMemcpyAsync(to.data, from.data, bytes, cudaMemcpyDeviceToDevice, nullptr)); });
  Buffer a(MG_BF16, size * size, 1), b(MG_BF16, size * size, 2), d(MG_BF16, size * size),
      workspace(MG_RAW, runtime::cublas_workspace_bytes);
  MgContext context = {};
  MgLaunch call = {};
  call.context = &context;
  double product = medianMs([&](int) {
    check(runtime::multiplyMatrices(&call, {size, size, size, false, true, MG_BF16}, a.data, b.data, nullptr, d.data, workspace.data));
  });
  std::printf("%s: copy %.0f GB/s, bf16 product of 8192^3 %.0f TFLOP/s\n", properties.name, 2e-6 * bytes / copy,
              2e-9 * size * size * size / product);
  for (const Buffer &buffer : {from, to, a, b, d, workspace})
    check(cudaFree(buffer.data));
}

inline void printRate(const char *name, double ms, double flops, double bytes) {
  std::printf("%-44s %8.4f ms", name, ms);
  if (flops > 0)
    std::printf("  %6.0f TFLOP/s", 1e-9 * flops / ms);
  if (bytes > 0)
    std::printf("  %6.0f GB/s", 1e-6 * bytes / ms);
  std::printf("\n");
}

} // namespace megacc::bench
