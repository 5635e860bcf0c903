#include "runtime/core/Gemm.h"
#include "runtime/core/Status.h"
#include "runtime/core/ThreadPool.h"

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <oneapi/dnnl/dnnl.h>
#include <string>

extern "C" void omp_set_num_threads(int count);

namespace megacc::runtime {
namespace {

/// The first failure since productStatus() last looked; dnnl_success if there was none.
std::atomic<dnnl_status_t> failure = dnnl_success;

#ifndef __AVX512F__
/// With the kernels of x86-64-v3 everything has the bits of a processor without AVX-512, unless the user says otherwise.
[[maybe_unused]] const bool narrowed =
    std::getenv("ONEDNN_MAX_CPU_ISA") || std::getenv("DNNL_MAX_CPU_ISA") || dnnl_set_max_cpu_isa(dnnl_cpu_isa_avx2) == dnnl_success;
#endif

/// The pool is ours: a product on several threads of the library would have other bits than on one. The number is the calling thread's own.
void useOneThread() { [[maybe_unused]] thread_local const bool done = (omp_set_num_threads(1), true); }

void multiply(Transpose transpose, int64_t m, int64_t n, int64_t k, float alpha, const float *a, int64_t stride_a, const float *b,
              int64_t stride_b, float beta, float *c, int64_t stride_c) {
  dnnl_status_t status = dnnl_sgemm(transpose == Transpose::left ? 'T' : 'N', transpose == Transpose::right ? 'T' : 'N', m, n, k, alpha, a,
                                    stride_a, b, stride_b, beta, c, stride_c);
  if (status != dnnl_success)
    failure.store(status, std::memory_order_relaxed);
}

/// A transposed left side is read down its columns. Where its rows are a multiple of 2 KiB apart they fall in the same few sets of the
/// caches (less than half the speed, measured), so a panel is copied to rows that do not.
constexpr int64_t panel_rows = 256, panel_columns = 128, panel_stride = panel_columns + 16;

void multiplyByPanels(int64_t m, int64_t n, int64_t k, float alpha, const float *a, int64_t stride_a, const float *b, int64_t stride_b,
                      float beta, float *c, int64_t stride_c) {
  alignas(64) float panel[panel_rows * panel_stride];
  for (int64_t first = 0; first < k; first += panel_rows) {
    int64_t rows = std::min(panel_rows, k - first);
    for (int64_t l = 0; l < rows; ++l)
      std::memcpy(panel + l * panel_stride, a + (first + l) * stride_a, m * sizeof(float));
    multiply(Transpose::left, m, n, rows, alpha, panel, panel_stride, b + first * stride_b, stride_b, first ? 1.0f : beta, c, stride_c);
  }
}

/// Sides of the tiles of a product: small enough for 16 of them, so that many threads have work, but at least 64, below which packing
/// costs.
struct TileSides {
  int64_t rows, columns = 128;

  TileSides(Transpose transpose, int64_t m, int64_t n) : rows(transpose == Transpose::left ? panel_columns : 256) {
    while (count(m, n) < 16 && std::max(rows, columns) > 64)
      (rows >= columns ? rows : columns) /= 2;
  }
  int64_t across(int64_t n) const { return (n + columns - 1) / columns; }
  int64_t count(int64_t m, int64_t n) const { return (m + rows - 1) / rows * across(n); }
};

} // namespace

void gemm(Transpose transpose, int64_t m, int64_t n, int64_t k, float alpha, const float *a, int64_t stride_a, const float *b,
          int64_t stride_b, float beta, float *c, int64_t stride_c) {
  if (m == 0 || n == 0)
    return;
  useOneThread();
  if (transpose == Transpose::left && stride_a % 512 == 0 && m <= panel_columns && k > 0)
    multiplyByPanels(m, n, k, alpha, a, stride_a, b, stride_b, beta, c, stride_c);
  else
    multiply(transpose, m, n, k, alpha, a, stride_a, b, stride_b, beta, c, stride_c);
}

void parallelGemm(Transpose transpose, int64_t m, int64_t n, int64_t k, const float *a, const float *b, float beta, float *c,
                  const float *addend) {
  bool left = transpose == Transpose::left, right = transpose == Transpose::right;
  const TileSides sides(transpose, m, n);
  parallelFor(sides.count(m, n), [&](int64_t tile) {
    int64_t i = tile / sides.across(n) * sides.rows, j = tile % sides.across(n) * sides.columns;
    int64_t rows = std::min(sides.rows, m - i), columns = std::min(sides.columns, n - j);
    if (addend && addend != c)
      for (int64_t row = i; row < i + rows; ++row)
        std::memcpy(c + row * n + j, addend + row * n + j, columns * sizeof(float));
    gemm(transpose, rows, columns, k, 1.0f, a + (left ? i : i * k), left ? m : k, b + (right ? j * k : j), right ? k : n,
         addend ? 1.0f : beta, c + i * n + j, n);
  });
}

int32_t productStatus(const char *kernel) {
  switch (failure.exchange(dnnl_success)) {
  case dnnl_success:
    return 0;
  case dnnl_out_of_memory:
    return mg_fail("%s: no memory to pack a matrix product, about 2 MiB a thread; fix: allow the process more memory, or fewer --threads",
                   kernel);
  default:
    return mg_fail("%s: oneDNN refused a matrix product; fix: compile the declaration again", kernel);
  }
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
    return MEGACC_CPU_LEVEL ", oneDNN " + std::to_string(version->major) + "." + std::to_string(version->minor) + "." +
           std::to_string(version->patch) + " " + nameOf(dnnl_get_effective_cpu_isa());
  }();
  return text.c_str();
}
