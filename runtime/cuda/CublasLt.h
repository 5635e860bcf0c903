// Dense matrix products through cuBLASLt, which is opened at first use.
#pragma once
#include "megacc/StepABI.h"

#include <cstdint>

namespace megacc::runtime {

/// What every product may use beside its operands.
constexpr int64_t cublas_workspace_bytes = int64_t(32) << 20;

/// d[m,n] = a[m,k] b[k,n], added to d with `add`; row-major and dense. transpose_a: a is stored as [k,m]; transpose_b: b as [n,k]. a and b
/// are bf16, sums fp32, d bf16 or fp32.
struct MatrixProduct {
  int64_t m, n, k;
  bool transpose_a, transpose_b;
  MgType d_type;
  bool add;

  bool operator<(const MatrixProduct &other) const;
};

/// Enqueues a product on the launch's stream. Addresses are multiples of 64 bytes. The algorithm is the first answer of the library's
/// heuristic, asked once a shape. Returns 0, or records an error.
int32_t multiplyMatrices(const MgLaunch *launch, const MatrixProduct &product, const void *a, const void *b, void *d, void *workspace);

} // namespace megacc::runtime
