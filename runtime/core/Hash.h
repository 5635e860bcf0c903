// XXH3-128, as text.
#pragma once
#include <cstddef>
#include <cstdio>
#include <string>
#include <string_view>
#include <xxhash.h>

namespace megacc::runtime {

/// The hash of bytes that arrive piece by piece.
class Hash {
public:
  static constexpr size_t digit_count = 32;

  Hash() : state(XXH3_createState()) { XXH3_128bits_reset(state); }
  ~Hash() { XXH3_freeState(state); }
  Hash(const Hash &) = delete;
  Hash &operator=(const Hash &) = delete;

  void add(const void *data, size_t size) { XXH3_128bits_update(state, data, size); }
  void add(std::string_view text) { add(text.data(), text.size()); }
  /// 32 hexadecimal digits.
  std::string digits() const { return digitsOf(XXH3_128bits_digest(state)); }
  static std::string digitsOf(XXH128_hash_t value) {
    char text[digit_count + 1];
    snprintf(text, sizeof text, "%016llx%016llx", (unsigned long long)value.high64, (unsigned long long)value.low64);
    return text;
  }

private:
  XXH3_state_t *state;
};

} // namespace megacc::runtime
