// The distribution function of the standard normal, for the exact GELU, that a compiler can vectorise.
#pragma once
#include "runtime/core/FastMath.h"

namespace megacc::runtime {

/// 0.5 (1 + erf(x / sqrt 2)), within 2^-23. The tail beyond t = |x| is 0.5 e^(-t r(t)): r is a polynomial
/// of degree 9 up to t = 6, then constant.
inline float normalCdf(float x) {
  float t = __builtin_fabsf(x), inside = t < 6.0f ? t : 6.0f;
  float r = 2.86562194e-8f;
  r = __builtin_fmaf(r, inside, -7.85897361e-7f);
  r = __builtin_fmaf(r, inside, 9.29746832e-6f);
  r = __builtin_fmaf(r, inside, -6.08736656e-5f);
  r = __builtin_fmaf(r, inside, 2.14475145e-4f);
  r = __builtin_fmaf(r, inside, -3.06594764e-5f);
  r = __builtin_fmaf(r, inside, -4.79046223e-3f);
  r = __builtin_fmaf(r, inside, 3.63398557e-2f);
  r = __builtin_fmaf(r, inside, 3.18308961e-1f);
  r = __builtin_fmaf(r, inside, 7.97884625e-1f);
  float tail = 0.5f * fastExp(-t * r);
  return x < 0.0f ? tail : 1.0f - tail;
}

} // namespace megacc::runtime
