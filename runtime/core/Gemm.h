// Matrix products on the pool: oneDNN, single-threaded, on tiles cut from the shape alone.
#pragma once
#include <cstdint>

extern "C" {
/// What decides the bits of a result besides shapes: the instructions our kernels were compiled for, the library of products and those that
/// it chose, for example "x86-64-v4, oneDNN 2.6.3 avx512_core".
const char *mg_kernel_variant();
}

namespace megacc::runtime {

enum class Transpose { none, left, right };

/// c[m,n] = alpha * op(a) op(b) + beta * c, row-major; op transposes the side that `transpose` names (left: a is [k,m], right: b is [n,k]).
/// Runs on the calling thread. A product that fails is told by productStatus().
void gemm(Transpose transpose, int64_t m, int64_t n, int64_t k, float alpha, const float *a, int64_t stride_a, const float *b,
          int64_t stride_b, float beta, float *c, int64_t stride_c);

/// The same over the pool, dense, alpha 1. With an addend, which may be c, c = op(a) op(b) + addend.
void parallelGemm(Transpose transpose, int64_t m, int64_t n, int64_t k, const float *a, const float *b, float beta, float *c,
                  const float *addend = nullptr);

/// Last line of a kernel with products: 0 if all since the last call were computed, else records an error.
int32_t productStatus(const char *kernel);

} // namespace megacc::runtime
