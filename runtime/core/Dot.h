// Sums that a compiler can vectorise, in a fixed order.
#pragma once
#include <cstdint>

namespace megacc::runtime {

/// Sum of term(0) to term(count - 1): eight partial sums, added in order.
template <typename Term> inline float sumOf(int64_t count, Term &&term) {
  float sum[8] = {};
  int64_t i = 0;
  for (; i + 8 <= count; i += 8)
    for (int lane = 0; lane < 8; ++lane)
      sum[lane] += term(i + lane);
  float total = 0;
  for (int lane = 0; lane < 8; ++lane)
    total += sum[lane];
  for (; i < count; ++i)
    total += term(i);
  return total;
}

/// Sum of a[i] * b[i].
inline float dot(const float *a, const float *b, int64_t count) {
  return sumOf(count, [&](int64_t i) { return a[i] * b[i]; });
}

} // namespace megacc::runtime
