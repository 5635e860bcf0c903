#include "runtime/state/Initializer.h"
#include "runtime/state/Random.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace megacc::runtime {

bool initialize(std::span<float> values, int64_t first, std::string_view name, std::string_view kind, double a, uint64_t seed) {
  uint64_t key = streamKey(seed, name);
  auto fill = [&](auto &&element) {
    for (size_t i = 0; i < values.size(); ++i)
      values[i] = float(element(uint64_t(first) + i));
    return true;
  };
  if (kind == "constant")
    return fill([&](uint64_t) { return a; });
  if (kind == "uniform")
    return fill([&](uint64_t i) { return a * (2 * unit(key, i) - 1); });
  if (kind == "normal")
    return fill([&](uint64_t i) {
      return a * std::sqrt(-2 * std::log1p(-unit(key, 2 * i))) * std::cos(2 * std::numbers::pi * unit(key, 2 * i + 1));
    });
  if (kind == "dt_bias")
    return fill([&](uint64_t i) {
      double dt = std::max(std::exp(std::log(1e-3) + unit(key, i) * std::log(100.0)), 1e-4);
      return dt + std::log(-std::expm1(-dt));
    });
  if (kind == "a_log")
    return fill([&](uint64_t i) { return std::log(16 * (1 - unit(key, i))); });
  if (kind == "identity") {
    uint64_t width = uint64_t(a);
    return fill([&](uint64_t i) { return i % (width * width) / width == i % width ? 1.0 : 0.0; });
  }
  return false;
}

} // namespace megacc::runtime
