// Initial parameter values, conventions sections 3 and 4, computed in double and rounded once.
#include "megacc/Random.h"
#include "runtime/core/Launch.h"
#include "runtime/core/ThreadPool.h"

#include <algorithm>
#include <cmath>
#include <numbers>

using namespace megacc;
using namespace megacc::runtime;

extern "C" int32_t mg_initialize(const MgLaunch *launch) {
  MG_ENTER(mg_initialize);
  enum Kind : int64_t { constant, normal, uniform, dt_bias, a_log, identity, mhc };
  uint64_t first = uint64_t(launch->ints[number::first]), key = uint64_t(launch->ints[number::key]);
  double a = launch->doubles[real::a];
  float *y = output(launch, at::y), *master = output(launch, at::master);
  auto fill = [&](auto &&element) {
    parallelRanges(launch->ints[number::count], 4096, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        y[i] = float(element(first + uint64_t(i)));
        if (master)
          master[i] = y[i];
      }
    });
    return 0;
  };
  switch (launch->ints[number::kind]) {
  case constant:
    return fill([&](uint64_t) { return a; });
  case normal:
    return fill([&](uint64_t i) { return megacc::normal(key, i, a); });
  case uniform:
    return fill([&](uint64_t i) { return a * (2 * unit(key, i) - 1); });
  case dt_bias:
    return fill([&](uint64_t i) {
      double dt = std::max(std::exp(std::log(1e-3) + unit(key, i) * std::log(100.0)), 1e-4);
      return dt + std::log(-std::expm1(-dt));
    });
  case a_log:
    return fill([&](uint64_t i) { return std::log(16 * (1 - unit(key, i))); });
  case identity: { // square matrices of width a, stacked
    uint64_t width = uint64_t(a);
    return fill([&](uint64_t i) { return i % (width * width) / width == i % width ? 1.0 : 0.0; });
  }
  case mhc: { // pre: 4 at one stream; post: 0; res: 4 on the diagonal
    uint64_t streams = uint64_t(a), own = uint64_t((a - double(streams)) * 64);
    return fill([&](uint64_t i) {
      uint64_t r = i - 2 * streams;
      return i == own || (i >= 2 * streams && r / streams == r % streams) ? 4.0 : 0.0;
    });
  }
  }
  return mg_fail("mg_initialize: kind is %lld, expected 0 to 6", (long long)launch->ints[number::kind]);
}
