// Matrix products on the pool: oneDNN, single-threaded, on tiles cut from the shape alone.
#pragma once
#include <cstdint>

extern "C" {
/// The library of products and the instruction set that it chose; results have other bits on another one.
const char *mg_kernel_variant();
}

namespace megacc::runtime {

enum class Transpose { none, left, right };

/// c[m,n] = alpha * op(a) op(b) + beta * c, row-major; op transposes the side that `transpose` names (left: a is [k,m], right: b is [n,k]).
/// Runs on the calling thread.
void gemm(Transpose transpose, int64_t m, int64_t n, int64_t k, float alpha, const float *a, int64_t stride_a, const float *b,
          int64_t stride_b, float beta, float *c, int64_t stride_c);

/// The same over the pool, dense, alpha 1.
void parallelGemm(Transpose transpose, int64_t m, int64_t n, int64_t k, const float *a, const float *b, float beta, float *c);

} // namespace megacc::runtime
