// The maps of a token's streams (conventions 10.5), for several tokens at once: entry r of token i is at [r][i], so that loops over tokens
// vectorise.
#pragma once
#include "runtime/core/Dot.h"
#include "runtime/core/FastMath.h"

#include <cmath>
#include <cstdint>

namespace megacc::runtime::mhc {

constexpr int64_t lanes = 16, most_streams = 16, most_iterations = 64;

/// softmax(pre), 2 sigmoid(post) and the doubly normalised res, row-major with a row an output stream, in this order; and the sums that the
/// iterations divided by, columns and rows in turn.
struct Maps {
  float l[most_streams * (most_streams + 2)][lanes];
  float sums[2 * most_iterations][most_streams][lanes];
  float rstd[lanes];
};

/// Adds term(i), i < count, to sums of tokens, then divides all terms by them.
template <typename Term> inline void divideBySum(int64_t count, float *sum, Term &&term) {
  for (int64_t lane = 0; lane < lanes; ++lane)
    sum[lane] = 0;
  for (int64_t i = 0; i < count; ++i)
    for (int64_t lane = 0; lane < lanes; ++lane)
      sum[lane] += term(i)[lane];
  float factor[lanes];
  for (int64_t lane = 0; lane < lanes; ++lane)
    factor[lane] = 1.0f / sum[lane];
  for (int64_t i = 0; i < count; ++i)
    for (int64_t lane = 0; lane < lanes; ++lane)
      term(i)[lane] *= factor[lane];
}

/// e^(term(i) - the largest term).
template <typename Term> inline void exponentiate(int64_t count, Term &&term) {
  float largest[lanes];
  for (int64_t lane = 0; lane < lanes; ++lane)
    largest[lane] = -INFINITY;
  for (int64_t i = 0; i < count; ++i)
    for (int64_t lane = 0; lane < lanes; ++lane)
      largest[lane] = largest[lane] > term(i)[lane] ? largest[lane] : term(i)[lane];
  for (int64_t i = 0; i < count; ++i)
    for (int64_t lane = 0; lane < lanes; ++lane)
      term(i)[lane] = fastExp(term(i)[lane] - largest[lane]);
}

/// The maps of `count` <= lanes tokens; x[count, streams*cols], logits[count, streams*(streams + 2)]. Not inlined: forward and backward
/// must get the same bits.
[[gnu::noinline]] static void computeMaps(Maps &maps, const float *x, const float *logits, const float *bias, int64_t count,
                                          int64_t streams, int64_t cols, int64_t iterations, double eps) {
  int64_t all = streams * (streams + 2), width = streams * cols;
  for (int64_t lane = 0; lane < lanes; ++lane) {
    const float *row = x + lane * width;
    maps.rstd[lane] = lane < count ? float(1.0 / std::sqrt(double(dot(row, row, width)) / double(width) + eps)) : 0.0f;
    for (int64_t r = 0; r < all; ++r)
      maps.l[r][lane] = lane < count ? logits[lane * all + r] * maps.rstd[lane] + bias[r] : 0.0f;
  }
  float unused[lanes];
  auto pre = [&](int64_t i) { return maps.l[i]; };
  exponentiate(streams, pre);
  divideBySum(streams, unused, pre);
  for (int64_t r = streams; r < 2 * streams; ++r)
    for (int64_t lane = 0; lane < lanes; ++lane)
      maps.l[r][lane] = 2.0f * sigmoid(maps.l[r][lane]);
  auto res = [&](int64_t j, int64_t i) { return maps.l[2 * streams + j * streams + i]; };
  // The columns are divided first, so each may have a largest element of its own: the same numbers, and no column is lost.
  for (int64_t i = 0; i < streams; ++i)
    exponentiate(streams, [&](int64_t j) { return res(j, i); });
  for (int64_t iteration = 0; iteration < iterations; ++iteration) {
    for (int64_t i = 0; i < streams; ++i)
      divideBySum(streams, maps.sums[2 * iteration][i], [&](int64_t j) { return res(j, i); });
    for (int64_t j = 0; j < streams; ++j)
      divideBySum(streams, maps.sums[2 * iteration + 1][j], [&](int64_t i) { return res(j, i); });
  }
}

/// Turns the gradient of terms that were divided by their sum into that of the terms before, and the terms into those.
template <typename Term, typename Gradient> inline void undoDivision(int64_t count, const float *sum, Term &&term, Gradient &&gradient) {
  float mean[lanes] = {};
  for (int64_t i = 0; i < count; ++i)
    for (int64_t lane = 0; lane < lanes; ++lane)
      mean[lane] += gradient(i)[lane] * term(i)[lane];
  for (int64_t i = 0; i < count; ++i)
    for (int64_t lane = 0; lane < lanes; ++lane) {
      gradient(i)[lane] = (gradient(i)[lane] - mean[lane]) / sum[lane];
      term(i)[lane] *= sum[lane];
    }
}

/// Gradients of the maps, in place into those of l; the maps are lost.
inline void backwardMaps(Maps &maps, float (*gradient)[lanes], int64_t streams, int64_t iterations) {
  float mean[lanes] = {};
  for (int64_t i = 0; i < streams; ++i)
    for (int64_t lane = 0; lane < lanes; ++lane)
      mean[lane] += gradient[i][lane] * maps.l[i][lane];
  for (int64_t i = 0; i < streams; ++i)
    for (int64_t lane = 0; lane < lanes; ++lane)
      gradient[i][lane] = maps.l[i][lane] * (gradient[i][lane] - mean[lane]);
  for (int64_t r = streams; r < 2 * streams; ++r)
    for (int64_t lane = 0; lane < lanes; ++lane)
      gradient[r][lane] *= maps.l[r][lane] * (1.0f - 0.5f * maps.l[r][lane]);
  auto place = [&](int64_t j, int64_t i) { return 2 * streams + j * streams + i; };
  for (int64_t iteration = iterations - 1; iteration >= 0; --iteration) {
    for (int64_t j = 0; j < streams; ++j)
      undoDivision(
          streams, maps.sums[2 * iteration + 1][j], [&](int64_t i) { return maps.l[place(j, i)]; },
          [&](int64_t i) { return gradient[place(j, i)]; });
    for (int64_t i = 0; i < streams; ++i)
      undoDivision(
          streams, maps.sums[2 * iteration][i], [&](int64_t j) { return maps.l[place(j, i)]; },
          [&](int64_t j) { return gradient[place(j, i)]; });
  }
  for (int64_t r = 2 * streams; r < streams * (streams + 2); ++r)
    for (int64_t lane = 0; lane < lanes; ++lane)
      gradient[r][lane] *= maps.l[r][lane]; // of the exponential
}

} // namespace megacc::runtime::mhc
