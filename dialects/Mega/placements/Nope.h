// How many pairs of channels a block with nope rotates.
#pragma once
#include <cstdint>

namespace megacc::mega {

/// Of the width/2 pairs the fastest that are still rotated: floor(width/2 (1 - share) + 1/2).
int64_t rotatedPairs(int64_t width, double share);

} // namespace megacc::mega
