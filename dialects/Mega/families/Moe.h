// What a mixture of experts picks from (conventions 7.9).
#pragma once
#include "dialects/Mega/KeyTable.h"

namespace megacc::mega {

/// Copies of the null logit.
int64_t nullExperts(const KeyValues &keys);
/// The slots a token picks from experts and copies.
int64_t expertSlots(const KeyValues &keys);

} // namespace megacc::mega
