// Inner product that a compiler can vectorise, in a fixed order.
#pragma once
#include <cstdint>

namespace megacc::runtime {

/// Sum of a[i] * b[i]: eight partial sums, added in order.
inline float dot(const float *a, const float *b, int64_t count) {
  float sum[8] = {};
  int64_t i = 0;
  for (; i + 8 <= count; i += 8)
    for (int lane = 0; lane < 8; ++lane)
      sum[lane] += a[i + lane] * b[i + lane];
  float total = 0;
  for (int lane = 0; lane < 8; ++lane)
    total += sum[lane];
  for (; i < count; ++i)
    total += a[i] * b[i];
  return total;
}

} // namespace megacc::runtime
