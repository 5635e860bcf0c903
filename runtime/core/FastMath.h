// exp and tanh that a compiler can vectorise, within a few ulp on the range of normal results.
#pragma once
#include <bit>
#include <cstdint>

namespace megacc::runtime {

/// Eight floats, one register of x86-64-v3.
using Float8 = float __attribute__((vector_size(32)));

/// e^x: x = n ln 2 + r, |r| <= ln 2 / 2, Taylor polynomial of degree 7 in r. Results under 2^-126 become 0, NaN stays NaN.
inline float fastExp(float x) {
  // NaN is clamped too: its conversion to an integer would be undefined. The last line returns it.
  float clamped = x > -87.0f ? (x < 88.7f ? x : 88.7f) : -87.0f;
  float n = __builtin_rintf(clamped * 1.44269504f);
  float r = __builtin_fmaf(n, -0.693145752f, clamped);
  r = __builtin_fmaf(n, -1.42860677e-6f, r);
  float p = 1.0f / 5040;
  p = __builtin_fmaf(p, r, 1.0f / 720);
  p = __builtin_fmaf(p, r, 1.0f / 120);
  p = __builtin_fmaf(p, r, 1.0f / 24);
  p = __builtin_fmaf(p, r, 1.0f / 6);
  p = __builtin_fmaf(p, r, 0.5f);
  p = __builtin_fmaf(p, r, 1.0f);
  p = __builtin_fmaf(p, r, 1.0f);
  // Two halves of the exponent keep 2^n in range for every clamped x.
  int32_t whole = static_cast<int32_t>(n), half = whole / 2;
  float scaled = p * std::bit_cast<float>((half + 127) << 23) * std::bit_cast<float>((whole - half + 127) << 23);
  float inside = x < -87.0f ? 0.0f : scaled;
  inside = x > 88.7f ? __builtin_inff() : inside;
  return x == x ? inside : x;
}

/// 1 / (1 + e^-x)
inline float sigmoid(float x) { return 1.0f / (1.0f + fastExp(-x)); }

/// x sigmoid(x), and its derivative.
inline float silu(float x) { return x * sigmoid(x); }
inline float siluSlope(float x) {
  float s = sigmoid(x);
  return s + x * s * (1.0f - s);
}

/// tanh x = x P(x^2) / Q(x^2), the minimax quotient of degrees 4 and 4 on |x| <= 7.9, constant beyond; NaN stays NaN. T: float or Float8.
template <typename T> inline T fastTanh(T x) {
  T limit = T{} + 7.9f, low = -limit, clamped = x > limit ? limit : x;
  clamped = clamped < low ? low : clamped;
  T s = clamped * clamped;
  T p = 1.54287905e-8f * s + 2.20238440e-5f;
  p = p * s + 3.57902888e-3f;
  p = p * s + 1.34506518e-1f;
  p = p * s + 1.0f;
  T q = 8.59911722e-7f * s + 3.42371048e-4f;
  q = q * s + 2.61923787e-2f;
  q = q * s + 4.67839798e-1f;
  q = q * s + 1.0f;
  return clamped * p / q;
}

} // namespace megacc::runtime
