#include "runtime/core/Gemm.h"
#include "runtime/core/ThreadPool.h"

#include <algorithm>
#include <oneapi/dnnl/dnnl.h>
#include <string>

extern "C" void omp_set_num_threads(int count);

namespace megacc::runtime {

/// The pool is ours: a product on several threads of the library would have other bits than on one. The number is the calling thread's own.
static void useOneThread() { [[maybe_unused]] thread_local const bool done = (omp_set_num_threads(1), true); }

void gemm(Transpose transpose, int64_t m, int64_t n, int64_t k, float alpha, const float *a, int64_t stride_a, const float *b,
          int64_t stride_b, float beta, float *c, int64_t stride_c) {
  if (m == 0 || n == 0)
    return;
  useOneThread();
  // It fails for sizes alone that no kernel asks for.
  dnnl_sgemm(transpose == Transpose::left ? 'T' : 'N', transpose == Transpose::right ? 'T' : 'N', m, n, k, alpha, a, stride_a, b, stride_b,
             beta, c, stride_c);
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

static const char *nameOf(dnnl_cpu_isa_t isa) {
  switch (isa) {
  case dnnl_cpu_isa_sse41:
    return "sse41";
  case dnnl_cpu_isa_avx:
    return "avx";
  case dnnl_cpu_isa_avx2:
    return "avx2";
  case dnnl_cpu_isa_avx512_mic:
  case dnnl_cpu_isa_avx512_mic_4ops:
    return "avx512_mic";
  default:
    return "avx512_core"; // later ones differ in types that sgemm has not
  }
}

const char *mg_kernel_variant() {
  static const std::string text = [] {
    const dnnl_version_t *version = dnnl_version();
    return "oneDNN " + std::to_string(version->major) + "." + std::to_string(version->minor) + "." + std::to_string(version->patch) + " " +
           nameOf(dnnl_get_effective_cpu_isa());
  }();
  return text.c_str();
}
