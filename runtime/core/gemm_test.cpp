#include "runtime/core/Gemm.h"
#include "runtime/kernels/TestSupport.h"

#include <algorithm>

using namespace megacc::test;
using namespace megacc::runtime;

namespace {

/// op(a) op(b) + beta c in double.
Doubles reference(Transpose transpose, int64_t m, int64_t n, int64_t k, const Values &a, const Values &b, float beta, const Values &c) {
  Doubles result = widen(c);
  for (int64_t i = 0; i < m; ++i)
    for (int64_t j = 0; j < n; ++j) {
      double sum = 0;
      for (int64_t l = 0; l < k; ++l)
        sum += double(a[transpose == Transpose::left ? l * m + i : i * k + l]) * b[transpose == Transpose::right ? j * k + l : l * n + j];
      result[i * n + j] = beta * result[i * n + j] + sum;
    }
  return result;
}

} // namespace

// Sizes on both sides of every cut: tiles of 256, 128 and 64, and left sides whose rows lie a multiple of 2 KiB apart.
TEST(Gemm, IsRightWhereverItIsCut) {
  for (auto [m, n, k] : {std::tuple<int64_t, int64_t, int64_t>{1, 1, 1},
                         {1, 300, 5},
                         {300, 1, 5},
                         {63, 65, 7},
                         {257, 129, 33},
                         {512, 70, 300},
                         {1024, 40, 257},
                         {700, 600, 9}})
    for (Transpose transpose : {Transpose::none, Transpose::left, Transpose::right})
      for (float beta : {0.0f, 1.0f}) {
        Values a = randomValues(m * k, 1), b = randomValues(k * n, 2), c = randomValues(m * n, 3);
        Doubles expected = reference(transpose, m, n, k, a, b, beta, c);
        if (beta == 0)
          std::ranges::fill(c, NAN);
        parallelGemm(transpose, m, n, k, a.data(), b.data(), beta, c.data());
        EXPECT_LT(relativeError(c, expected), 1e-6)
            << m << " x " << n << " x " << k << ", transpose " << int(transpose) << ", beta " << beta;
        EXPECT_EQ(productStatus("test"), 0);
      }
}

TEST(Gemm, HasTheSameBitsAtAnyNumberOfThreads) {
  int64_t m = 300, n = 260, k = 100;
  Values a = randomValues(m * k, 1), b = randomValues(k * n, 2), first(m * n), other(m * n);
  for (Transpose transpose : {Transpose::none, Transpose::left, Transpose::right}) {
    mg_cpu_set_threads(1);
    parallelGemm(transpose, m, n, k, a.data(), b.data(), 0.0f, first.data());
    for (int threads : {2, 3, 16}) {
      mg_cpu_set_threads(threads);
      parallelGemm(transpose, m, n, k, a.data(), b.data(), 0.0f, other.data());
      EXPECT_EQ(first, other) << threads << " threads";
    }
  }
  mg_cpu_set_threads(2);
}

TEST(Gemm, TellsOfAProductThatFailedOnce) {
  Values values(4);
  gemm(Transpose::none, 2, 2, 2, 1.0f, values.data(), /*stride_a=*/1, values.data(), 2, 0.0f, values.data(), 2);
  EXPECT_NE(productStatus("mg_test"), 0);
  EXPECT_STREQ(mg_last_error(), "mg_test: oneDNN refused a matrix product; fix: compile the declaration again");
  EXPECT_EQ(productStatus("mg_test"), 0);
}
