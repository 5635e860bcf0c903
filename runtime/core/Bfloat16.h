// bfloat16 on the host: the upper half of an fp32.
#pragma once
#include <bit>
#include <cmath>
#include <cstdint>

namespace megacc::runtime {

inline float fromBfloat16(uint16_t value) { return std::bit_cast<float>(uint32_t(value) << 16); }

/// Rounds to nearest, ties to even; a NaN stays one.
inline uint16_t toBfloat16(float value) {
  uint32_t bits = std::bit_cast<uint32_t>(value);
  if (std::isnan(value))
    return uint16_t(bits >> 16 | 0x40);
  return uint16_t((bits + 0x7FFF + (bits >> 16 & 1)) >> 16);
}

} // namespace megacc::runtime
