// What the benchmarks of CUDA kernels share: launches in a replayed graph, on sets of buffers that together exceed the L2 cache, beside the
// card's copy bandwidth.
#pragma once
#include "runtime/kernels/GpuTestSupport.h"

#include <algorithm>
#include <functional>
#include <memory>

namespace megacc::gpu {

class Bench {
public:
  Bench() {
    cudaDeviceProp about;
    require(cudaGetDeviceProperties(&about, 0));
    require(cudaStreamCreate(&stream));
    // One large copy may go through the copy engine, which is slower.
    constexpr size_t bytes = size_t(128) << 20, pieces = 4;
    char *memory;
    require(cudaMalloc(reinterpret_cast<void **>(&memory), 2 * pieces * bytes));
    require(cudaMemset(memory, 1, 2 * pieces * bytes));
    double ms = time(
        [&] {
          for (size_t i = 0; i < pieces; ++i)
            require(cudaMemcpyAsync(memory + (pieces + i) * bytes, memory + i * bytes, bytes, cudaMemcpyDeviceToDevice, stream));
        },
        pieces);
    copy = 2.0 * bytes / ms / 1e6;
    require(cudaFree(memory));
    std::printf("%s: copy %.0f GB/s\n", about.name, copy);
  }

  /// Milliseconds of a launch. `make` builds one call without scratch; all its operands count as traffic unless `bytes` says otherwise.
  double run(const char *name, MgKernel kernel, const char *symbol, const std::function<void(Call &)> &make, double bytes = 0) {
    std::vector<std::unique_ptr<Call>> calls;
    int64_t total = 0;
    while (calls.empty() || total < (int64_t(256) << 20)) {
      calls.push_back(std::make_unique<Call>(kernel, symbol));
      Call &call = *calls.back();
      make(call);
      call.onStream(stream);
      if (call.giveScratch() < 0) {
        std::printf("%s: %s\n", name, mg_last_error());
        return 0;
      }
      total += std::max<int64_t>(call.totalBytes(), 1 << 20);
    }
    double ms = time(
        [&] {
          for (auto &call : calls)
            if (call->launch())
              std::printf("%s: %s\n", name, mg_last_error());
        },
        int(calls.size()));
    double rate = (bytes ? bytes : double(calls[0]->totalBytes())) / ms / 1e6;
    std::printf("%-34s %9.4f ms %7.0f GB/s %5.1f %% of copy\n", name, ms, rate, 100 * rate / copy);
    std::fflush(stdout);
    return ms;
  }

  /// GB/s of a copy, read and written.
  double copyRate() const { return copy; }

private:
  /// Median of 9 replays of a graph of at least 10 bodies, per launch.
  double time(const std::function<void()> &body, int launches) {
    int repeats = std::max(1, 10 / launches);
    body();
    require(cudaStreamSynchronize(stream));
    cudaGraph_t graph;
    cudaGraphExec_t ready;
    require(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal));
    for (int i = 0; i < repeats; ++i)
      body();
    require(cudaStreamEndCapture(stream, &graph));
    require(cudaGraphInstantiate(&ready, graph, 0));
    cudaEvent_t begin, end;
    require(cudaEventCreate(&begin));
    require(cudaEventCreate(&end));
    std::vector<float> times;
    for (int i = 0; i < 12; ++i) {
      float ms;
      require(cudaEventRecord(begin, stream));
      require(cudaGraphLaunch(ready, stream));
      require(cudaEventRecord(end, stream));
      require(cudaEventSynchronize(end));
      require(cudaEventElapsedTime(&ms, begin, end));
      if (i >= 3)
        times.push_back(ms);
    }
    std::sort(times.begin(), times.end());
    require(cudaGraphExecDestroy(ready));
    require(cudaGraphDestroy(graph));
    return times[times.size() / 2] / (repeats * launches);
  }

  cudaStream_t stream = nullptr;
  double copy = 0;
};

} // namespace megacc::gpu

#define MG_BENCH(bench, name, symbol, ...) (bench).run(name, symbol, #symbol, __VA_ARGS__)
