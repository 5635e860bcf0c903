// Initial values of parameters, conventions sections 3 and 4: element i of the whole tensor needs no other, so a shard equals its slice.
#include "megacc/Random.h"
#include "runtime/cuda/Device.cuh"

using megacc::unit;
using namespace megacc::runtime;
using namespace megacc::runtime::cuda;

namespace {

constexpr int threads = 256;

enum Kind : int64_t { constant, normal, uniform, dt_bias, a_log, identity, mhc };

template <int64_t kind> __device__ double element(uint64_t key, uint64_t i, double a) {
  if constexpr (kind == constant)
    return a;
  if constexpr (kind == normal)
    return a * sqrt(-2 * log1p(-unit(key, 2 * i))) * cos(2 * 3.141592653589793 * unit(key, 2 * i + 1));
  if constexpr (kind == uniform)
    return a * (2 * unit(key, i) - 1);
  if constexpr (kind == dt_bias) {
    double dt = fmax(exp(log(1e-3) + unit(key, i) * log(100.0)), 1e-4);
    return dt + log(-expm1(-dt));
  }
  if constexpr (kind == a_log)
    return log(16 * (1 - unit(key, i)));
  if constexpr (kind == mhc) { // pre: 4 at one stream; post: 0; res: 4 on the diagonal
    uint64_t streams = uint64_t(a), own = uint64_t((a - double(streams)) * 64), r = i - 2 * streams;
    return i == own || (i >= 2 * streams && r / streams == r % streams) ? 4.0 : 0.0;
  }
  uint64_t width = uint64_t(a);
  return i % (width * width) / width == i % width ? 1.0 : 0.0;
}

template <int64_t kind, typename T>
__global__ void initializeKernel(T *y, float *master, int64_t count, uint64_t first, uint64_t key, double a) {
  int64_t at = int64_t(blockIdx.x) * threads + threadIdx.x;
  if (at >= count)
    return;
  float value = float(element<kind>(key, first + uint64_t(at), a));
  y[at] = fromFloat<T>(value);
  if (master)
    master[at] = value;
}

} // namespace

extern "C" int32_t mg_initialize(const MgLaunch *launch) {
  MG_ENTER(mg_initialize);
  int64_t count = launch->ints[number::count], kind = launch->ints[number::kind];
  uint64_t first = uint64_t(launch->ints[number::first]), key = uint64_t(launch->ints[number::key]);
  if (count == 0)
    return 0;
  return withElement(launch, "mg_initialize", {at::y}, [&](auto type) {
    using T = decltype(type);
    auto start = [&](auto kernel) {
      kernel<<<unsigned(blocksOf(count, threads)), threads, 0, streamOf(launch)>>>(
          operand<T>(launch, at::y), operand<float>(launch, at::master), count, first, key, launch->doubles[real::a]);
      return launched("mg_initialize");
    };
    switch (kind) {
    case constant:
      return start(initializeKernel<constant, T>);
    case normal:
      return start(initializeKernel<normal, T>);
    case uniform:
      return start(initializeKernel<uniform, T>);
    case dt_bias:
      return start(initializeKernel<dt_bias, T>);
    case a_log:
      return start(initializeKernel<a_log, T>);
    case mhc:
      return start(initializeKernel<mhc, T>);
    case identity:
      return start(initializeKernel<identity, T>);
    }
    return mg_fail("mg_initialize: unknown kind %lld; fix: 0 to 6", (long long)kind);
  });
}
