// What the kernels over picked keys share: products of one row with the rows that a list of positions picks, and lanes of scratch.
#pragma once
#include "runtime/core/Dot.h"
#include "runtime/core/FastMath.h"
#include "runtime/core/ThreadPool.h"
#include "runtime/core/TileProduct.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>

namespace megacc::runtime {

constexpr int64_t query_tile = 64;
/// Tiles of queries that can run at once: so many have scratch of their own. lib/Kernels/Sparse.cpp has the same number.
constexpr int64_t most_lanes = 32;

/// Calls body(lane, tile) for every tile; those of one lane run one after another.
template <typename Body> void parallelLanes(int64_t tiles, Body &&body) {
  int64_t lanes = std::min(tiles, most_lanes);
  parallelFor(lanes, [&](int64_t lane) {
    for (int64_t tile = lane; tile < tiles; tile += lanes)
      body(lane, tile);
  });
}

/// Keys of a query: those before the first -1.
inline int64_t countKeys(const int32_t *support, int64_t kept) {
  return std::partition_point(support, support + kept, [](int32_t key) { return key >= 0; }) - support;
}

/// Rows of floats, one of them picked by its number.
struct RowsOf {
  const float *data;
  int64_t stride;
  const float *operator[](int32_t row) const { return data + row * stride; }
};

/// Some neighbouring columns of a row, in registers.
template <typename Vector, int vectors> struct Piece {
  Vector values[vectors] = {};

  Piece() = default;
  explicit Piece(const float *from) { std::memcpy(values, from, sizeof(values)); }
  void store(float *to) const { std::memcpy(to, values, sizeof(values)); }
  void addProduct(float factor, const Piece &other) {
    for (int i = 0; i < vectors; ++i)
      values[i] += factor * other.values[i];
  }
};

/// results[j] = x . rows[keys[j]]. Not inlined: forward and backward must get the same bits.
[[gnu::noinline]] inline void gatherDots(const float *x, int64_t width, RowsOf rows, const int32_t *keys, int64_t count, float *results) {
  int64_t whole = width / 8 * 8, j = 0;
  for (; j + 8 <= count; j += 8) {
    const float *row[8];
    Float8 sums[8] = {};
    for (int l = 0; l < 8; ++l)
      row[l] = rows[keys[j + l]];
    for (int64_t c = 0; c < whole; c += 8) {
      Float8 left = loadEight(x + c);
      for (int l = 0; l < 8; ++l)
        sums[l] += left * loadEight(row[l] + c);
    }
    Float8 totals = sumEach(sums);
    std::memcpy(results + j, &totals, sizeof(totals));
    for (int64_t c = whole; c < width; ++c)
      for (int l = 0; l < 8; ++l)
        results[j + l] += x[c] * row[l][c];
  }
  for (; j < count; ++j)
    results[j] = dot(x, rows[keys[j]], width);
}

/// Calls body(first column, a vector type, vectors of it) for pieces of `width` columns, wide ones first.
template <typename Body> inline void forPieces(int64_t width, Body &&body) {
  constexpr int64_t wide = sizeof(WideFloats) / sizeof(float);
  int64_t c = 0;
  for (; c + 4 * wide <= width; c += 4 * wide)
    body(c, Piece<WideFloats, 4>());
  for (; c + 2 * wide <= width; c += 2 * wide)
    body(c, Piece<WideFloats, 2>());
  for (; c + 8 <= width; c += 8)
    body(c, Piece<Float8, 1>());
  for (; c < width; ++c)
    body(c, Piece<float, 1>());
}

/// sum[width] = sum over j of factors[j] * rows[keys[j]], in the order of the keys.
inline void gatherSum(const float *factors, int64_t width, RowsOf rows, const int32_t *keys, int64_t count, float *sum) {
  forPieces(width, [&]<typename P>(int64_t c, P) {
    P even = {}, odd = {}; // two chains of sums hide the latency of an addition
    int64_t j = 0;
    for (; j + 2 <= count; j += 2) {
      even.addProduct(factors[j], P(rows[keys[j]] + c));
      odd.addProduct(factors[j + 1], P(rows[keys[j + 1]] + c));
    }
    if (j < count)
      even.addProduct(factors[j], P(rows[keys[j]] + c));
    even.addProduct(1.0f, odd);
    even.store(sum + c);
  });
}

/// rows[keys[j]] += factors[j] * x; the keys differ.
inline void scatterAdd(const float *factors, const float *x, int64_t width, float *rows, int64_t stride, const int32_t *keys,
                       int64_t count) {
  forPieces(width, [&]<typename P>(int64_t c, P) {
    const P values(x + c);
    for (int64_t j = 0; j < count; ++j) {
      float *row = rows + keys[j] * stride + c;
      P sum(row);
      sum.addProduct(factors[j], values);
      sum.store(row);
    }
  });
}

/// Values become their softmax; one that is NaN makes all so.
inline void softmaxInPlace(float *values, int64_t count) {
  float top = largestOf(values, count, -INFINITY);
  for (int64_t j = 0; j < count; ++j)
    values[j] = fastExp(values[j] - top);
  float inverse = 1.0f / sumOf(count, [&](int64_t j) { return values[j]; });
  for (int64_t j = 0; j < count; ++j)
    values[j] *= inverse;
}

/// probabilities[j] of the keys of one query and head: softmax of scale * (q . k[keys[j]]).
inline void attendKeys(const float *q, int64_t qk_dim, RowsOf k, const int32_t *keys, int64_t count, float scale, float *probabilities) {
  gatherDots(q, qk_dim, k, keys, count, probabilities);
  for (int64_t j = 0; j < count; ++j)
    probabilities[j] *= scale;
  softmaxInPlace(probabilities, count);
}

} // namespace megacc::runtime
