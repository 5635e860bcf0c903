// Dense matrix products through cuBLASLt, which is opened at first use.
#pragma once
#include "megacc/StepABI.h"

#include <cstdint>
#include <string>

namespace megacc::runtime {

/// What every product may use beside its operands.
constexpr int64_t cublas_workspace_bytes = int64_t(32) << 20;

/// d[m,n] = a[m,k] b[k,n], row-major and dense. transpose_a: a is stored as [k,m]; transpose_b: b as [n,k]. a and b are bf16, sums fp32, d
/// bf16 or fp32.
struct MatrixProduct {
  int64_t m, n, k;
  bool transpose_a, transpose_b;
  MgType d_type;
};

/// Enqueues d = a b + c on the launch's stream; c has the type of d, may be d, or nullptr. Addresses are multiples of 64 bytes, that of the
/// workspace of 256. The algorithm is the one that setProductChoices() named, else the first answer of the library's heuristic, asked once
/// per shape. Returns 0, or records an error.
int32_t multiplyMatrices(const MgLaunch *launch, const MatrixProduct &product, const void *a, const void *b, const void *c, void *d,
                         void *workspace);

/// From now on every product that is met for the first time is run with each of the heuristic's answers, on its own operands, and keeps the
/// fastest. For calibration alone: what c == d holds afterwards is not a product.
void calibrateProducts();
/// A line that names the card, its driver and the library; then a line per product with its algorithm and, for people, the microseconds of
/// it and of the heuristic's first answer.
std::string describeProductChoices();
/// Takes such a text, before the first product. Returns 0, or records what does not fit this machine.
int32_t setProductChoices(const char *text);

} // namespace megacc::runtime
