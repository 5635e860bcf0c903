// The random numbers of include/megacc/Random.h, under the runtime's names.
#pragma once
#include "megacc/Random.h"

namespace megacc::runtime {

using megacc::draw;
using megacc::golden_ratio;
using megacc::mix;
using megacc::streamKey;
using megacc::unit;

} // namespace megacc::runtime
