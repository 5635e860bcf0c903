// Products of tiles that stay in the first-level cache: no packing and no call overhead, for tiles too small for a library.
#pragma once
#include "runtime/core/FastMath.h"

#include <cstdint>

namespace megacc::runtime {

/// Eight floats anywhere in memory.
typedef Float8 Float8InMemory __attribute__((aligned(4), may_alias));

/// A left factor; element (i, k) is data[i * row + k * column], so a transposed factor is two numbers exchanged.
struct Factor {
  const float *data;
  int64_t row, column;
};

/// Rows x (8 Columns) of the product, kept in registers over k.
template <int Rows, int Columns>
inline void tileBlock(int64_t k, Factor a, const float *b, int64_t stride_b, float *c, int64_t stride_c, bool add) {
  Float8 sum[Rows][Columns] = {};
  if (add)
    for (int i = 0; i < Rows; ++i)
      for (int j = 0; j < Columns; ++j)
        sum[i][j] = *reinterpret_cast<const Float8InMemory *>(c + i * stride_c + 8 * j);
  for (int64_t l = 0; l < k; ++l) {
    Float8 right[Columns];
    for (int j = 0; j < Columns; ++j)
      right[j] = *reinterpret_cast<const Float8InMemory *>(b + l * stride_b + 8 * j);
    for (int i = 0; i < Rows; ++i) {
      float left = a.data[i * a.row + l * a.column];
      for (int j = 0; j < Columns; ++j)
        sum[i][j] += left * right[j];
    }
  }
  for (int i = 0; i < Rows; ++i)
    for (int j = 0; j < Columns; ++j)
      *reinterpret_cast<Float8InMemory *>(c + i * stride_c + 8 * j) = sum[i][j];
}

/// All rows of 8 Columns columns.
template <int Columns>
inline void tileColumns(int64_t m, int64_t k, Factor a, const float *b, int64_t stride_b, float *c, int64_t stride_c, bool add) {
  for (; m >= 6; m -= 6, a.data += 6 * a.row, c += 6 * stride_c)
    tileBlock<6, Columns>(k, a, b, stride_b, c, stride_c, add);
  switch (m) {
  case 5:
    return tileBlock<5, Columns>(k, a, b, stride_b, c, stride_c, add);
  case 4:
    return tileBlock<4, Columns>(k, a, b, stride_b, c, stride_c, add);
  case 3:
    return tileBlock<3, Columns>(k, a, b, stride_b, c, stride_c, add);
  case 2:
    return tileBlock<2, Columns>(k, a, b, stride_b, c, stride_c, add);
  case 1:
    return tileBlock<1, Columns>(k, a, b, stride_b, c, stride_c, add);
  }
}

/// c[m,n] = a[m,k] b[k,n], or += with `add`; n is a multiple of 8.
inline void tileProduct(int64_t m, int64_t n, int64_t k, Factor a, const float *b, int64_t stride_b, float *c, int64_t stride_c, bool add) {
  int64_t j = 0;
  for (; j + 16 <= n; j += 16)
    tileColumns<2>(m, k, a, b + j, stride_b, c + j, stride_c, add);
  if (j < n)
    tileColumns<1>(m, k, a, b + j, stride_b, c + j, stride_c, add);
}

/// to[cols,rows] = from[rows,cols]^T; both extents are multiples of 8.
inline void tileTranspose(int64_t rows, int64_t cols, const float *from, int64_t stride_from, float *to, int64_t stride_to) {
  for (int64_t i = 0; i < rows; i += 8)
    for (int64_t j = 0; j < cols; j += 8) {
      Float8 a[8], b[8];
      for (int l = 0; l < 8; ++l)
        a[l] = *reinterpret_cast<const Float8InMemory *>(from + (i + l) * stride_from + j);
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
        *reinterpret_cast<Float8InMemory *>(to + (j + l) * stride_to + i) = b[l];
    }
}

} // namespace megacc::runtime
