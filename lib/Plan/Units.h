// Numbers as people read them.
#pragma once
#include "llvm/Support/Format.h"
#include "llvm/Support/raw_ostream.h"

#include <string>

namespace megacc {

/// "1,234,567".
inline std::string grouped(int64_t value) {
  std::string digits = std::to_string(value);
  for (int64_t at = int64_t(digits.size()) - 3; at > 0; at -= 3)
    digits.insert(at, ",");
  return digits;
}

inline std::string scaled(double value, const char *unit, double base, std::initializer_list<const char *> prefixes) {
  const char *prefix = "";
  for (const char *next : prefixes) {
    if (value < base)
      break;
    value /= base;
    prefix = next;
  }
  std::string text;
  llvm::raw_string_ostream(text) << llvm::format("%.3f ", value) << prefix << unit;
  return text;
}

/// "19.345 GFLOP", "1.397 GiB".
inline std::string flopsText(double flops) { return scaled(flops, "FLOP", 1000, {"K", "M", "G", "T"}); }
inline std::string bytesText(double bytes) { return scaled(bytes, "B", 1024, {"Ki", "Mi", "Gi", "Ti"}); }

} // namespace megacc
