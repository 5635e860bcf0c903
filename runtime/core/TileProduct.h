// Products of tiles that stay in the nearest caches: no packing and no call overhead, for tiles too small for a library.
#pragma once
#include "runtime/core/FastMath.h"

#include <cstdint>
#include <cstring>

namespace megacc::runtime {

/// The widest vector of floats, and how many rows of two vectors of sums leave registers for the factors.
#ifdef __AVX512F__
using WideFloats = float __attribute__((vector_size(64)));
constexpr int tile_rows = 8;
#else
using WideFloats = Float8;
constexpr int tile_rows = 6;
#endif

/// A left factor; element (i, k) is data[i * row + k * column], so a transposed factor is two numbers exchanged.
struct Factor {
  const float *data;
  int64_t row, column;
};

/// Rows x (Columns vectors) of the product, kept in registers over k.
template <typename Vector, int Rows, int Columns>
inline void tileBlock(int64_t k, Factor a, const float *b, int64_t stride_b, float *c, int64_t stride_c, bool add) {
  constexpr int width = sizeof(Vector) / sizeof(float);
  Vector sum[Rows][Columns] = {};
  if (add)
    for (int i = 0; i < Rows; ++i)
      for (int j = 0; j < Columns; ++j)
        std::memcpy(&sum[i][j], c + i * stride_c + width * j, sizeof(Vector));
  for (int64_t l = 0; l < k; ++l) {
    Vector right[Columns];
    for (int j = 0; j < Columns; ++j)
      std::memcpy(&right[j], b + l * stride_b + width * j, sizeof(Vector));
    for (int i = 0; i < Rows; ++i) {
      float left = a.data[i * a.row + l * a.column];
      for (int j = 0; j < Columns; ++j)
        sum[i][j] += left * right[j];
    }
  }
  for (int i = 0; i < Rows; ++i)
    for (int j = 0; j < Columns; ++j)
      std::memcpy(c + i * stride_c + width * j, &sum[i][j], sizeof(Vector));
}

/// The last m < Rows rows.
template <typename Vector, int Rows, int Columns>
inline void tileLastRows(int64_t m, int64_t k, Factor a, const float *b, int64_t stride_b, float *c, int64_t stride_c, bool add) {
  if constexpr (Rows > 1) {
    if (m == Rows - 1)
      tileBlock<Vector, Rows - 1, Columns>(k, a, b, stride_b, c, stride_c, add);
    else
      tileLastRows<Vector, Rows - 1, Columns>(m, k, a, b, stride_b, c, stride_c, add);
  }
}

/// All rows of some columns.
template <typename Vector, int Columns>
inline void tileColumns(int64_t m, int64_t k, Factor a, const float *b, int64_t stride_b, float *c, int64_t stride_c, bool add) {
  for (; m >= tile_rows; m -= tile_rows, a.data += tile_rows * a.row, c += tile_rows * stride_c)
    tileBlock<Vector, tile_rows, Columns>(k, a, b, stride_b, c, stride_c, add);
  tileLastRows<Vector, tile_rows, Columns>(m, k, a, b, stride_b, c, stride_c, add);
}

/// c[m,n] = a[m,k] b[k,n], or += with `add`. Fastest where n is a multiple of 8.
inline void tileProduct(int64_t m, int64_t n, int64_t k, Factor a, const float *b, int64_t stride_b, float *c, int64_t stride_c, bool add) {
  constexpr int64_t width = sizeof(WideFloats) / sizeof(float);
  int64_t j = 0;
  for (; j + 2 * width <= n; j += 2 * width)
    tileColumns<WideFloats, 2>(m, k, a, b + j, stride_b, c + j, stride_c, add);
  for (; j + width <= n; j += width)
    tileColumns<WideFloats, 1>(m, k, a, b + j, stride_b, c + j, stride_c, add);
  for (; j + 8 <= n; j += 8)
    tileColumns<Float8, 1>(m, k, a, b + j, stride_b, c + j, stride_c, add);
  for (; j < n; ++j)
    tileColumns<float, 1>(m, k, a, b + j, stride_b, c + j, stride_c, add);
}

/// to[cols,rows] = from[rows,cols]^T
inline void tileTranspose(int64_t rows, int64_t cols, const float *from, int64_t stride_from, float *to, int64_t stride_to) {
  int64_t whole_rows = rows / 8 * 8, whole_cols = cols / 8 * 8;
  for (int64_t i = 0; i < whole_rows; i += 8)
    for (int64_t j = 0; j < whole_cols; j += 8) {
      Float8 a[8], b[8];
      for (int l = 0; l < 8; ++l)
        std::memcpy(&a[l], from + (i + l) * stride_from + j, sizeof(Float8));
      for (int l = 0; l < 8; l += 2) {
        b[l] = __builtin_shufflevector(a[l], a[l + 1], 0, 8, 1, 9, 4, 12, 5, 13);
        b[l + 1] = __builtin_shufflevector(a[l], a[l + 1], 2, 10, 3, 11, 6, 14, 7, 15);
      }
      for (int l = 0; l < 8; l += 4)
        for (int h = 0; h < 2; ++h) {
          a[l + 2 * h] = __builtin_shufflevector(b[l + h], b[l + h + 2], 0, 1, 8, 9, 4, 5, 12, 13);
          a[l + 2 * h + 1] = __builtin_shufflevector(b[l + h], b[l + h + 2], 2, 3, 10, 11, 6, 7, 14, 15);
        }
      for (int l = 0; l < 4; ++l) {
        b[l] = __builtin_shufflevector(a[l], a[l + 4], 0, 1, 2, 3, 8, 9, 10, 11);
        b[l + 4] = __builtin_shufflevector(a[l], a[l + 4], 4, 5, 6, 7, 12, 13, 14, 15);
      }
      for (int l = 0; l < 8; ++l)
        std::memcpy(to + (j + l) * stride_to + i, &b[l], sizeof(Float8));
    }
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t j = i < whole_rows ? whole_cols : 0; j < cols; ++j)
      to[j * stride_to + i] = from[i * stride_from + j];
}

} // namespace megacc::runtime
