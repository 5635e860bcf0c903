// Which blocks with dsa have an indexer.
#pragma once
#include "dialects/Mega/Model.h"

namespace megacc::mega {

/// Whether the block has an indexer of its own, or takes the keys of the nearest earlier one (conventions 6.7).
bool ownsIndexer(const Feature &feature);

} // namespace megacc::mega
