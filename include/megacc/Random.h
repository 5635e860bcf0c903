// Counter-based random numbers, conventions section 4: the n-th draw of a key needs no state, so a shard equals the slice of the whole.
#pragma once
#include <cmath>
#include <cstdint>
#include <numbers>
#include <string_view>

#ifdef __CUDACC__
#define MG_BOTH __host__ __device__ inline
#else
#define MG_BOTH inline
#endif

namespace megacc {

inline constexpr uint64_t golden_ratio = 0x9E3779B97F4A7C15u;

/// splitmix64's finaliser.
MG_BOTH uint64_t mix(uint64_t z) {
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
  return z ^ (z >> 31);
}

/// The n-th 64-bit number of the stream `key`.
MG_BOTH uint64_t draw(uint64_t key, uint64_t n) { return mix(key + (n + 1) * golden_ratio); }

/// The n-th number of the stream in [0, 1).
MG_BOTH double unit(uint64_t key, uint64_t n) { return double(draw(key, n) >> 11) * 0x1p-53; }

/// The n-th number of the stream that is normal with the deviation: Box and Muller's, of two of [0, 1).
inline double normal(uint64_t key, uint64_t n, double deviation) {
  return deviation * std::sqrt(-2 * std::log1p(-unit(key, 2 * n))) * std::cos(2 * std::numbers::pi * unit(key, 2 * n + 1));
}

/// The stream of a name, such as a parameter's checkpoint key, under a training seed.
inline uint64_t streamKey(uint64_t seed, std::string_view name) {
  uint64_t hash = 0xCBF29CE484222325u;
  for (unsigned char byte : name)
    hash = (hash ^ byte) * 0x100000001B3u;
  return mix(hash + mix(seed + golden_ratio));
}

} // namespace megacc
