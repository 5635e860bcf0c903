// The one thread pool. Work is cut in tiles chosen from shapes alone, so results do not depend on the number of threads.
#pragma once
#include <cstdint>

extern "C" {
/// Sets the number of threads that run tiles, the caller included; at least 1. Not to be called while tiles run. Returns 0, or 1 with a
/// message where the system has no more threads; those that started are used.
int32_t mg_cpu_set_threads(int32_t count);
}

namespace megacc::runtime {

using TileFunction = void (*)(void *capture, int64_t tile);

/// Runs function(capture, tile) for every tile in [0, tiles) and returns when all are done.
void runTiles(int64_t tiles, TileFunction function, void *capture);

/// As runTiles, for a lambda; nothing is allocated.
template <typename Body> void parallelFor(int64_t tiles, Body &&body) {
  auto call = [](void *capture, int64_t tile) { (*static_cast<Body *>(capture))(tile); };
  runTiles(tiles, call, const_cast<void *>(static_cast<const void *>(&body)));
}

/// Cuts [0, count) in ranges of `grain` and runs body(begin, end) for each.
template <typename Body> void parallelRanges(int64_t count, int64_t grain, Body &&body) {
  parallelFor((count + grain - 1) / grain, [&](int64_t tile) {
    int64_t begin = tile * grain;
    body(begin, begin + grain < count ? begin + grain : count);
  });
}

} // namespace megacc::runtime
