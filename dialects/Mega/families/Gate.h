// The gate of attention's output, which families with the key `gate` share.
#pragma once
#include "dialects/Mega/Spec.h"

namespace megacc::mega {

/// gate_proj.weight, zero at the start: a row a head, or one for each of its `value` channels.
void addGateParameter(ParameterList &list, const KeyValues &keys, int64_t value);

/// Forward FLOPs per token of its projection.
double gateFlops(const Model &model, const KeyValues &keys, int64_t value);

} // namespace megacc::mega
