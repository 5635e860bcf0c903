// The memory of a step on the CPU: every planned segment, to the byte, each ending at a page that cannot be touched.
#pragma once
#include <cstdint>

namespace megacc::runtime {

/// Reserves MG_SEGMENT_COUNT segments of these bytes, all zeros; sizes are multiples of 256, so every segment starts at one. Returns 0, or
/// records what the system had not.
int32_t reserveArena(const int64_t *sizes, void **segments);

/// Gives back what reserveArena reserved.
void releaseArena(void **segments);

} // namespace megacc::runtime
