// Initial parameter values, conventions sections 3 and 4, computed in double and rounded once.
#pragma once
#include <cstdint>
#include <span>
#include <string_view>

namespace megacc::runtime {

/// Writes elements [first, first + values.size()) of a parameter, counted row-major in the whole tensor whatever the sharding.
/// `kind`: constant (a = value), normal (a = standard deviation), uniform (a = bound), dt_bias, a_log, or identity (a = width of the
/// square matrices stacked along the leading dimensions). Returns false for an unknown kind.
bool initialize(std::span<float> values, int64_t first, std::string_view name, std::string_view kind, double a, uint64_t seed);

} // namespace megacc::runtime
