// The two matrices of a feed-forward layer, alone or one pair per expert.
#pragma once
#include "dialects/Mega/Parameters.h"

namespace megacc::mega {

/// Matrices of the first layer beside each of the second: up, and its gate where the activation has one.
int64_t upMatrices(const std::string &activation);

/// <prefix>up.weight [experts..., width * upMatrices, hidden] and <prefix>down.weight [experts..., hidden, width].
void addFeedForward(ParameterList &list, const std::string &prefix, Size width, const std::string &activation,
                    const std::vector<Size> &experts = {}, double active_share = 1.0);

} // namespace megacc::mega
