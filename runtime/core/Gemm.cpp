#include "runtime/core/Gemm.h"
#include "runtime/core/ThreadPool.h"

#include <algorithm>
#include <cblas.h>

namespace megacc::runtime {

// The pool is ours: a threaded OpenBLAS changes bits with the number of threads.
[[maybe_unused]] static const bool single_threaded = (openblas_set_num_threads(1), true);

void gemm(Transpose transpose, int64_t m, int64_t n, int64_t k, float alpha, const float *a, int64_t stride_a, const float *b,
          int64_t stride_b, float beta, float *c, int64_t stride_c) {
  if (m == 0 || n == 0)
    return;
  cblas_sgemm(CblasRowMajor, transpose == Transpose::left ? CblasTrans : CblasNoTrans,
              transpose == Transpose::right ? CblasTrans : CblasNoTrans, m, n, k, alpha, a, stride_a, b, stride_b, beta, c, stride_c);
}

void parallelGemm(Transpose transpose, int64_t m, int64_t n, int64_t k, const float *a, const float *b, float beta, float *c) {
  int64_t stride_a = transpose == Transpose::left ? m : k, stride_b = transpose == Transpose::right ? k : n;
  // The longer side is cut; about 8 tiles keep both small and large pools busy without thin panels.
  bool cut_rows = m >= n;
  int64_t extent = cut_rows ? m : n, grain = std::max<int64_t>(32, (extent + 7) / 8);
  parallelRanges(extent, grain, [&](int64_t begin, int64_t end) {
    if (cut_rows)
      gemm(transpose, end - begin, n, k, 1.0f, a + (transpose == Transpose::left ? begin : begin * k), stride_a, b, stride_b, beta,
           c + begin * n, n);
    else
      gemm(transpose, m, end - begin, k, 1.0f, a, stride_a, b + (transpose == Transpose::right ? begin * k : begin), stride_b, beta,
           c + begin, n);
  });
}

} // namespace megacc::runtime

const char *mg_kernel_variant() { return openblas_get_corename(); }
