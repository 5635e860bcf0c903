// Transcendental functions that a compiler can vectorise, within a few ulp on the range of normal results.
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

/// log(1 + e^x) = max(x, 0) + 2 atanh(u / (2 + u)), u = e^-|x|.
inline float softplus(float x) {
  float u = fastExp(-__builtin_fabsf(x));
  float s = u / (2.0f + u), z = s * s;
  float p = 1.0f / 15;
  p = __builtin_fmaf(p, z, 1.0f / 13);
  p = __builtin_fmaf(p, z, 1.0f / 11);
  p = __builtin_fmaf(p, z, 1.0f / 9);
  p = __builtin_fmaf(p, z, 1.0f / 7);
  p = __builtin_fmaf(p, z, 1.0f / 5);
  p = __builtin_fmaf(p, z, 1.0f / 3);
  return (x > 0.0f ? x : 0.0f) + 2.0f * __builtin_fmaf(p * z, s, s);
}

/// Sine and cosine for |x| <= 1000, NaN for NaN: x = n pi/2 + r, |r| <= pi/4, Taylor polynomials in r.
inline void sinCos(float x, float &sine, float &cosine) {
  float n = __builtin_rintf(x * 0.636619772f);
  float r = __builtin_fmaf(n, -1.57079637f, x);
  r = __builtin_fmaf(n, 4.37113883e-8f, r);
  float z = r * r;
  float s = 1.0f / 362880;
  s = __builtin_fmaf(s, z, -1.0f / 5040);
  s = __builtin_fmaf(s, z, 1.0f / 120);
  s = __builtin_fmaf(s, z, -1.0f / 6);
  s = __builtin_fmaf(s * z, r, r);
  float c = -1.0f / 3628800;
  c = __builtin_fmaf(c, z, 1.0f / 40320);
  c = __builtin_fmaf(c, z, -1.0f / 720);
  c = __builtin_fmaf(c, z, 1.0f / 24);
  c = __builtin_fmaf(c, z, -0.5f);
  c = __builtin_fmaf(c, z, 1.0f);
  int32_t quadrant = static_cast<int32_t>(n == n ? n : 0.0f);
  float first = quadrant & 1 ? c : s, second = quadrant & 1 ? s : c;
  sine = quadrant & 2 ? -first : first;
  cosine = (quadrant + 1) & 2 ? -second : second;
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
