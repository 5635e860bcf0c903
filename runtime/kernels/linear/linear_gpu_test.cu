#include "runtime/cuda/CublasLt.h"
#include "runtime/cuda/TestSupport.cuh"

using namespace megacc::test;
using megacc::runtime::cublas_workspace_bytes;

namespace {

struct Shape {
  int64_t rows, in, out;
};

int64_t roundUp(int64_t value, int64_t to) { return (value + to - 1) / to * to; }

/// What lib/Kernels reserves: the workspace, and for fp32 tensors their terms in bf16 and what comes of them.
int64_t scratchBytes(int64_t terms, int64_t parts) { return cublas_workspace_bytes + roundUp(terms * 2, 64) + roundUp(parts, 64); }

class LinearOnDevice : public OnDevice, public testing::WithParamInterface<Shape> {
protected:
  /// d[m,n] = sum over k of a(m,k) b(k,n).
  template <typename A, typename B> static Doubles product(int64_t m, int64_t n, int64_t k, A &&a, B &&b) {
    Doubles d(m * n);
    for (int64_t i = 0; i < m; ++i)
      for (int64_t p = 0; p < k; ++p)
        for (int64_t j = 0; j < n; ++j)
          d[i * n + j] += a(i, p) * b(p, j);
    return d;
  }

  /// T: of weight, y and d_y.
  template <typename T> void check(const std::vector<T> &weight, const std::vector<T> &d_y, double y_tolerance) {
    const auto [rows, in, out] = GetParam();
    const int64_t padded = roundUp(out, 8), split = std::is_same_v<T, float>;
    Bf16 x = randomBf16(rows * in, 1);
    Doubles x64 = widen(x), w64 = widen(weight), g64 = widen(d_y);
    Doubles y_reference = product(rows, out, in, [&](int64_t t, int64_t i) { return x64[t * in + i]; }, [&](int64_t i, int64_t o) { return w64[o * in + i]; });
    Doubles dx_reference = product(rows, in, out, [&](int64_t t, int64_t o) { return g64[t * out + o]; }, [&](int64_t o, int64_t i) { return w64[o * in + i]; });
    Doubles dw_reference = product(out, in, rows, [&](int64_t o, int64_t t) { return g64[t * out + o]; }, [&](int64_t t, int64_t i) { return x64[t * in + i]; });

    Device<__nv_bfloat16> x_device(x), d_x(rows * in);
    Device<T> weight_device(weight), d_y_device(d_y), y(rows * out);
    Device<float> d_weight(out * in);
    Device<char> forward(scratchBytes(split * 3 * padded * in, split * rows * 3 * padded * 4));
    Device<char> input(scratchBytes(split * rows * 3 * padded, split * 3 * padded * in * 2));
    Device<char> sums(scratchBytes(split * rows * 3 * padded, split * 3 * padded * in * 4));
    std::vector<int64_t> ints = {rows, in, out}, sum_ints = {rows, in, out, 1};
    for (int repeat = 0; repeat < 2; ++repeat) {
      ASSERT_EQ(run(mg_linear, {y, x_device, weight_device, forward}, ints), 0) << mg_last_error();
      EXPECT_LT(relativeError(y.get(), y_reference), y_tolerance);
      ASSERT_EQ(run(mg_linear_grad_input, {d_x, d_y_device, weight_device, input}, ints), 0) << mg_last_error();
      EXPECT_LT(relativeError(d_x.get(), dx_reference), 4e-3);
      ASSERT_EQ(run(mg_linear_grad_weight, {d_weight, d_y_device, x_device, sums}, sum_ints), 0) << mg_last_error();
      EXPECT_LT(relativeError(d_weight.get(), dw_reference), 2e-6);
    }
    std::vector<T> first = y.get();
    Bf16 first_input = d_x.get();
    Values first_sum = d_weight.get();
    y.set(std::vector<T>(first.size(), T(NAN)));
    ASSERT_EQ(run(mg_linear, {y, x_device, weight_device, forward}, ints), 0);
    ASSERT_EQ(run(mg_linear_grad_input, {d_x, d_y_device, weight_device, input}, ints), 0);
    ASSERT_EQ(run(mg_linear_grad_weight, {d_weight, d_y_device, x_device, sums}, sum_ints), 0);
    EXPECT_TRUE(sameBits(y.get(), first));
    EXPECT_TRUE(sameBits(d_x.get(), first_input));
    EXPECT_TRUE(sameBits(d_weight.get(), first_sum));
    ASSERT_EQ(run(mg_linear_grad_weight, {d_weight, d_y_device, x_device, sums}, sum_ints, {}, 1), 0); // a later micro-batch adds
    for (double &value : dw_reference)
      value *= 2;
    EXPECT_LT(relativeError(d_weight.get(), dw_reference), 2e-6);
  }
};

} // namespace

TEST_P(LinearOnDevice, MatchesTheReference) {
  const auto [rows, in, out] = GetParam();
  check<__nv_bfloat16>(randomBf16(out * in, 2), randomBf16(rows * out, 3), 4e-3);
}

TEST_P(LinearOnDevice, KeepsFp32WhereTensorsAreFp32) {
  const auto [rows, in, out] = GetParam();
  check<float>(randomValues(out * in, 2), randomValues(rows * out, 3), 2e-6);
}

INSTANTIATE_TEST_SUITE_P(Shapes, LinearOnDevice,
                         testing::Values(Shape{1, 1, 1}, Shape{67, 5, 3}, Shape{130, 64, 17}, Shape{200, 136, 8}, Shape{128, 256, 192}, Shape{1, 512, 33}));

TEST_F(OnDevice, LinearWantsItsWholeScratch) {
  Device<__nv_bfloat16> y(64), x(64), weight(64);
  Device<char> scratch(128);
  EXPECT_NE(run(mg_linear, {y, x, weight, scratch}, {8, 8, 8}), 0);
  EXPECT_STREQ(mg_last_error(), "mg_linear: its scratch has 128 bytes, it needs 33554432; fix: compile the declaration again");
}
