// Sums and maxima that a compiler can vectorise, in a fixed order.
#pragma once
#include <algorithm>
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

/// The largest of `top` and the values; NaN is passed over.
inline float largestOf(const float *values, int64_t count, float top) {
  float largest[16];
  std::fill(largest, largest + 16, top);
  int64_t i = 0;
  for (; i + 16 <= count; i += 16)
    for (int lane = 0; lane < 16; ++lane)
      largest[lane] = std::max(largest[lane], values[i + lane]);
  for (float value : largest)
    top = std::max(top, value);
  for (; i < count; ++i)
    top = std::max(top, values[i]);
  return top;
}

} // namespace megacc::runtime
