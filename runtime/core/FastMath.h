// exp that a compiler can vectorise, within 2 ulp on the range of normal results.
#pragma once
#include <bit>
#include <cstdint>

namespace megacc::runtime {

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

} // namespace megacc::runtime
