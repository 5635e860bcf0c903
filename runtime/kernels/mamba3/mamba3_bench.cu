// Times of the Mamba-3 scan on the card: mamba3_bench [batch sequence heads groups rank head_dim state]. Beside them the copy and GEMM
// rates of the same card. Inputs and outputs are many times the L2 cache at the default shape.
#include "megacc/StepABI.h"
#include "runtime/core/Status.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <cublas_v2.h>
#include <cuda_bf16.h>
#include <cuda_runtime.h>
#include <tuple>
#include <vector>

extern "C" int32_t mg_mamba3_scan(const MgLaunch *launch);
extern "C" int32_t mg_mamba3_scan_grad(const MgLaunch *launch);

namespace {

void must(cudaError_t error) {
  if (error != cudaSuccess) {
    fprintf(stderr, "%s\n", cudaGetErrorString(error));
    exit(1);
  }
}

__global__ void fill(void *to, int64_t count, bool is_bf16, uint32_t seed, float scale) {
  for (int64_t i = int64_t(blockIdx.x) * blockDim.x + threadIdx.x; i < count; i += int64_t(gridDim.x) * blockDim.x) {
    uint64_t x = (uint64_t(seed) << 40) + i;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull, x = (x ^ (x >> 27)) * 0x94d049bb133111ebull, x ^= x >> 31;
    float value = scale * (float(x >> 40) / 8388608.0f - 1.0f) * 1.73f;
    if (is_bf16)
      static_cast<__nv_bfloat16 *>(to)[i] = __float2bfloat16(value);
    else
      static_cast<float *>(to)[i] = value;
  }
}

struct Operands {
  std::vector<void *> data;
  std::vector<int64_t> bytes;
  std::vector<uint8_t> types;
  void add(int64_t count, int type, uint32_t seed = 0) {
    int64_t size = count * (type == MG_BF16 ? 2 : type == MG_RAW ? 1 : 4);
    void *to = nullptr;
    if (count) {
      must(cudaMalloc(&to, size));
      if (seed)
        fill<<<1024, 256>>>(to, count, type == MG_BF16, seed, 1.0f);
    }
    data.push_back(to), bytes.push_back(size), types.push_back(count ? type : MG_ABSENT);
  }
};

/// Bytes of scratch that the kernel asks for.
int64_t scratchOf(MgKernel kernel, MgLaunch launch) {
  long long need = 0;
  if (kernel(&launch) == 0 || !strstr(mg_last_error(), "it needs "))
    return 0;
  sscanf(strstr(mg_last_error(), "it needs "), "it needs %lld", &need);
  return need;
}

template <typename Body> double median(Body &&body, int repeats = 15) {
  std::vector<float> times;
  cudaEvent_t begin, end;
  must(cudaEventCreate(&begin)), must(cudaEventCreate(&end));
  for (int i = 0; i < repeats + 3; ++i) {
    must(cudaEventRecord(begin));
    body();
    must(cudaEventRecord(end)), must(cudaEventSynchronize(end));
    float ms;
    must(cudaEventElapsedTime(&ms, begin, end));
    if (i >= 3)
      times.push_back(ms);
  }
  std::sort(times.begin(), times.end());
  return times[times.size() / 2];
}

} // namespace

int main(int count, char **arguments) {
  auto argument = [&](int i, int64_t value) { return count > i ? atoll(arguments[i]) : value; };
  int64_t B = argument(1, 2), S = argument(2, 4096), H = argument(3, 112), G = argument(4, 8), R = argument(5, 4), P = argument(6, 64),
          N = argument(7, 128), A = N / 4, window = 256, repeats = argument(8, 15), T = B * S, windows = (S + window - 1) / window;
  bool mimo = R > 1;
  int64_t width = 2 * H * P + 2 * R * G * N + 3 * H + A;
  std::vector<int64_t> sizes = {H, H, H * R * N, H * R * N, N, N};
  if (mimo)
    sizes.insert(sizes.end(), 3, H * R * P);
  std::vector<int64_t> ints = {B, S, H, G, R, P, N, A, window, 0, mimo, 0, int64_t(sizes.size())};
  double eps = 1e-5;
  MgContext context = {};
  Operands forward, backward;
  forward.add(T * H * P, MG_BF16), forward.add(B * H * windows * N * P, MG_BF16), forward.add(0, MG_BF16),
      forward.add(T * width, MG_BF16, 1);
  forward.add(0, MG_I32), forward.add(0, MG_RAW);
  for (size_t i = 0; i < sizes.size(); ++i)
    forward.add(sizes[i], MG_F32, 2 + i);
  backward.add(T * width, MG_BF16), backward.add(T * H * P, MG_BF16, 20);
  auto share = [&](int i) {
    backward.data.push_back(forward.data[i]), backward.bytes.push_back(forward.bytes[i]), backward.types.push_back(forward.types[i]);
  };
  share(1), share(2), share(3), share(4);
  backward.add(0, MG_RAW);
  for (int64_t size : sizes)
    backward.add(size, MG_F32);
  for (size_t i = 0; i < sizes.size(); ++i)
    share(6 + i);
  auto launchOf = [&](Operands &operands) {
    return MgLaunch{operands.data.data(),
                    operands.bytes.data(),
                    operands.types.data(),
                    int64_t(operands.data.size()),
                    ints.data(),
                    int64_t(ints.size()),
                    &eps,
                    1,
                    0,
                    0,
                    0,
                    &context};
  };
  for (auto [operands, kernel, at] :
       {std::tuple<Operands *, MgKernel, int>{&forward, mg_mamba3_scan, 5}, {&backward, mg_mamba3_scan_grad, 6}}) {
    operands->bytes[at] = scratchOf(kernel, launchOf(*operands));
    must(cudaMalloc(&operands->data[at], operands->bytes[at]));
  }
  MgLaunch first = launchOf(forward), second = launchOf(backward);
  auto call = [](MgKernel kernel, const MgLaunch &launch) {
    if (kernel(&launch)) {
      fprintf(stderr, "%s\n", mg_last_error());
      exit(1);
    }
  };
  if (repeats == 0) { // for a profiler
    call(mg_mamba3_scan, first), call(mg_mamba3_scan_grad, second);
    must(cudaDeviceSynchronize());
    return 0;
  }
  double forward_ms = median([&] { call(mg_mamba3_scan, first); }, repeats),
         backward_ms = median([&] { call(mg_mamba3_scan_grad, second); }, repeats);

  cudaDeviceProp card;
  must(cudaGetDeviceProperties(&card, 0));
  int64_t bytes = 1ll << 30, n = 8192;
  void *a, *b, *c;
  must(cudaMalloc(&a, bytes)), must(cudaMalloc(&b, bytes)), must(cudaMalloc(&c, bytes));
  fill<<<1024, 256>>>(a, bytes / 2, true, 30, 1.0f), fill<<<1024, 256>>>(b, bytes / 2, true, 31, 1.0f);
  double copy_ms = median([&] { must(cudaMemcpyAsync(c, a, bytes, cudaMemcpyDeviceToDevice)); });
  cublasHandle_t handle;
  cublasCreate(&handle);
  float one = 1, zero = 0;
  double gemm_ms = median([&] {
    cublasGemmEx(handle, CUBLAS_OP_T, CUBLAS_OP_N, n, n, n, &one, a, CUDA_R_16BF, n, b, CUDA_R_16BF, n, &zero, c, CUDA_R_16BF, n,
                 CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT);
  });
  double flops = double(T) * H * (2 * 64 * R * (N + P) + 4 * R * N * P);
  printf("%s  B %lld S %lld H %lld G %lld R %lld P %lld N %lld\n", card.name, (long long)B, (long long)S, (long long)H, (long long)G,
         (long long)R, (long long)P, (long long)N);
  printf("  forward %.3f ms (%.0f TFLOP/s), backward %.3f ms (%.0f TFLOP/s), both %.3f ms; scratch %.2f and %.2f GB\n", forward_ms,
         flops / forward_ms * 1e-9, backward_ms, 2 * flops / backward_ms * 1e-9, forward_ms + backward_ms, forward.bytes[5] * 1e-9,
         backward.bytes[6] * 1e-9);
  printf("  copy %.2f TB/s, GEMM %lld^3 %.0f TFLOP/s\n", 2 * bytes / copy_ms * 1e-9, (long long)n, 2.0 * n * n * n / gemm_ms * 1e-9);
}
