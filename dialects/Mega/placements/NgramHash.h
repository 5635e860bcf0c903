// The tables of hashed n-gram embeddings.
#pragma once
#include "dialects/Mega/KeyTable.h"

namespace megacc::mega {

/// Rows of each n-gram table: successive primes (conventions 11.2).
std::vector<int64_t> ngramSizes(const KeyValues &keys);

} // namespace megacc::mega
