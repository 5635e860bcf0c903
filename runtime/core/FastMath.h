// Transcendental functions that a compiler can vectorise, within a few ulp on the range of normal results.
#pragma once
#include "runtime/core/Float8.h"

#include <bit>
#include <cstdint>

namespace megacc::runtime {

inline int32_t asIntegers(float x) { return std::bit_cast<int32_t>(x); }
inline Int8 asIntegers(Float8 x) { return std::bit_cast<Int8>(x); }

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

/// (1 - e) / (1 + e) with e = e^(-2|x|), and the Taylor polynomial of degree 13 where that would cancel; NaN stays NaN. T: float or Float8.
template <typename T> inline T fastTanh(T x) {
  using Integer = decltype(asIntegers(x));
  T magnitude = x < -x ? -x : x;
  T w = magnitude > 10.0f ? T{} - 20.0f : -2.0f * magnitude; // beyond, e is lost beside 1
  T shifted = w * 1.44269504f + 12582912.0f;                 // the sum's last bits are the nearest integer n
  T n = shifted - 12582912.0f;
  T r = n * -0.693145752f + w;
  r = n * -1.42860677e-6f + r;
  T p = r * (1.0f / 5040) + 1.0f / 720;
  p = p * r + 1.0f / 120;
  p = p * r + 1.0f / 24;
  p = p * r + 1.0f / 6;
  p = p * r + 0.5f;
  p = p * r + 1.0f;
  p = p * r + 1.0f;
  Integer exponent = (asIntegers(shifted) << 23) + (127 << 23);
  T e = p * std::bit_cast<T>(exponent), far = (1.0f - e) / (1.0f + e);
  T s = x * x;
  T q = s * (21844.0f / 6081075) - 1382.0f / 155925;
  q = q * s + 62.0f / 2835;
  q = q * s - 17.0f / 315;
  q = q * s + 2.0f / 15;
  q = q * s - 1.0f / 3;
  return magnitude < 0.4f ? q * s * x + x : (x < 0.0f ? -far : far);
}

} // namespace megacc::runtime
