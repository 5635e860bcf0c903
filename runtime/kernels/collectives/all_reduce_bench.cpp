// launch-ranks N gpu-all-reduce-bench [MiB...]: mg_all_reduce_state over N cards of this machine, as a captured step has it: milliseconds,
// and the bandwidth of each link as nccl-tests count it (2 (n - 1) / n bytes a byte), beside what NVLink promises.
#include "runtime/kernels/GpuTestSupport.h"
#include "runtime/tcp/Tcp.h"

#include <algorithm>

using namespace megacc::gpu;

namespace {

constexpr int launches = 5, replays = 7;
constexpr double promised = 450; // GB/s of H100 and H200 in one direction, NVIDIA's data sheet

void succeed(int32_t status) {
  if (status == 0)
    return;
  std::fprintf(stderr, "error: %s\n", mg_last_error());
  std::exit(1);
}

/// Median milliseconds of a sum; all ranks call it.
double measure(MgContext &context, int64_t bytes) {
  void *memory = nullptr, *captured = nullptr;
  require(cudaMalloc(&memory, size_t(bytes)));
  require(cudaMemset(memory, 0, size_t(bytes)));
  void *operands[] = {memory, nullptr};
  int64_t sizes[] = {bytes, 0}, ints[] = {bytes / 4, MG_DP};
  uint8_t types[] = {MG_F32, MG_RAW};
  MgLaunch launch = {operands, sizes, types, 2, ints, 2, nullptr, 0, 0, 0, MG_COMPUTE, &context};
  const MgTarget &target = *mg_target();
  succeed(target.begin_capture(&context));
  for (int i = 0; i < launches; ++i)
    succeed(mg_all_reduce_state(&launch));
  succeed(target.end_capture(&context, &captured));
  std::vector<double> times;
  for (int i = 0; i < replays; ++i) {
    void *begin = nullptr, *end = nullptr;
    double seconds = 0;
    succeed(target.mark(&context, MG_COMPUTE, &begin));
    succeed(target.replay(&context, captured));
    succeed(target.mark(&context, MG_COMPUTE, &end));
    succeed(target.synchronize(&context));
    succeed(target.elapsed(begin, end, &seconds));
    target.unmark(begin), target.unmark(end);
    times.push_back(1e3 * seconds / launches);
  }
  target.discard(captured);
  require(cudaFree(memory));
  std::nth_element(times.begin(), times.begin() + replays / 2, times.end());
  return times[replays / 2];
}

} // namespace

int main(int argc, char **argv) {
  if (!std::getenv("RANK") || !std::getenv("WORLD_SIZE")) {
    std::printf("all_reduce takes several ranks: tools/launch-ranks 2 %s\n", argv[0]);
    return 0;
  }
  std::vector<int64_t> sizes;
  for (int i = 1; i < argc; ++i)
    sizes.push_back(std::atoll(argv[i]));
  if (sizes.empty())
    sizes = {1, 8, 64, 256, 1024};
  const MgMesh &mesh = *megacc::runtime::tcpMesh();
  MgCommunicator *world = nullptr;
  MgContext context = {};
  if (mesh.join(&world) || mesh.split(std::vector<int64_t>{world->size, 1, 1}.data(), context.axes)) {
    std::fprintf(stderr, "error: %s\n", mesh.last_error());
    return 1;
  }
  int64_t ranks = world->size;
  require(cudaSetDevice(int(world->rank)));
  succeed(mg_target()->open(&context));
  if (world->rank == 0)
    std::printf("all_reduce of %lld cards, %s\n", (long long)ranks, mg_target()->variant());
  for (int64_t size : sizes) {
    double mine = measure(context, size << 20);
    std::vector<double> all(static_cast<size_t>(ranks));
    if (world->gather(world, &mine, all.data(), sizeof mine)) {
      std::fprintf(stderr, "error: %s\n", mesh.last_error());
      return 1;
    }
    double ms = *std::ranges::max_element(all), rate = double(size << 20) * 2 * double(ranks - 1) / double(ranks) / ms / 1e6;
    if (world->rank == 0)
      std::printf("%6lld MiB %9.3f ms %7.1f GB/s %5.1f %% of NVLink\n", (long long)size, ms, rate, 100 * rate / promised);
  }
  mg_target()->close(&context);
  mesh.leave();
}
