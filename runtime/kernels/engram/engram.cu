// Sums over the last tokens, norms without a weight, and the gate between two rows (conventions 10.3).
#include "runtime/cuda/Device.cuh"
#include "runtime/cuda/Documents.cuh"

using namespace megacc::runtime;
using namespace megacc::runtime::cuda;

namespace {

constexpr int threads = 128;
/// Below it the root of a gate is that of this number, and flat.
constexpr float least_gate = 1e-6f;

template <typename T>
__global__ void windowSumKernel(T *y, const T *x, const int32_t *documents, int64_t sequence, int64_t cols, int64_t window,
                                int64_t direction, float scale) {
  int64_t row = blockIdx.x, t = row % sequence;
  int64_t count = countReach(documents ? documents + row - t : nullptr, sequence, t, direction, window);
  for (int64_t i = threadIdx.x; i < cols; i += threads) {
    float sum = 0;
    for (int64_t j = 0; j < count; ++j)
      sum += toFloat(x[(row + direction * j) * cols + i]);
    y[row * cols + i] = fromFloat<T>(sum * scale);
  }
}

/// The sum over the row of the products of a and b, the same bits in every thread.
template <typename T> __device__ float rowProduct(const T *a, const T *b, int64_t cols) {
  __shared__ float shared[threads / 32];
  float sum = 0;
  for (int64_t i = threadIdx.x; i < cols; i += threads)
    sum += toFloat(a[i]) * toFloat(b[i]);
  return blockSum<threads>(sum, shared);
}

template <typename T> __device__ float rowRstd(const T *x, int64_t cols, float eps) {
  return 1.0f / sqrtf(rowProduct(x, x, cols) / float(cols) + eps);
}

template <typename T> __global__ void unitNormKernel(T *y, const T *x, int64_t cols, float eps) {
  x += blockIdx.x * cols, y += blockIdx.x * cols;
  float rstd = rowRstd(x, cols, eps);
  for (int64_t i = threadIdx.x; i < cols; i += threads)
    y[i] = fromFloat<T>(toFloat(x[i]) * rstd);
}

template <typename T> __global__ void unitNormGradKernel(T *d_x, const T *d_y, const T *x, int64_t cols, float eps) {
  d_x += blockIdx.x * cols, d_y += blockIdx.x * cols, x += blockIdx.x * cols;
  float rstd = rowRstd(x, cols, eps), shift = rowProduct(d_y, x, cols) / float(cols) * rstd * rstd;
  for (int64_t i = threadIdx.x; i < cols; i += threads)
    d_x[i] = fromFloat<T>(rstd * (toFloat(d_y[i]) - toFloat(x[i]) * shift));
}

template <typename T> __global__ void alignmentKernel(T *gate, const T *a, const T *b, int64_t cols, bool root, float eps) {
  a += blockIdx.x * cols, b += blockIdx.x * cols;
  float value = rowProduct(a, b, cols) * rowRstd(a, cols, eps) * rowRstd(b, cols, eps) / sqrtf(float(cols));
  if (root && value != 0)
    value = copysignf(sqrtf(fmaxf(fabsf(value), least_gate)), value);
  if (threadIdx.x == 0)
    gate[blockIdx.x] = fromFloat<T>(value);
}

template <typename T>
__global__ void alignmentGradKernel(T *d_a, T *d_b, const T *d_gate, const T *a, const T *b, int64_t cols, bool root, float eps) {
  int64_t base = blockIdx.x * cols;
  float rstd_a = rowRstd(a + base, cols, eps), rstd_b = rowRstd(b + base, cols, eps);
  float value = rowProduct(a + base, b + base, cols) * rstd_a * rstd_b / sqrtf(float(cols)), e = toFloat(d_gate[blockIdx.x]);
  if (root)
    e = fabsf(value) < least_gate ? 0 : e * 0.5f / sqrtf(fabsf(value));
  float cross = e * rstd_a * rstd_b / sqrtf(float(cols)), own = e * value / float(cols);
  for (int64_t i = threadIdx.x; i < cols; i += threads) {
    float left = toFloat(a[base + i]), right = toFloat(b[base + i]);
    d_a[base + i] = fromFloat<T>(cross * right - own * rstd_a * rstd_a * left);
    d_b[base + i] = fromFloat<T>(cross * left - own * rstd_b * rstd_b * right);
  }
}

} // namespace

extern "C" {

int32_t mg_window_sum(const MgLaunch *launch) {
  MG_ENTER(mg_window_sum);
  int64_t rows = launch->ints[number::batch] * launch->ints[number::sequence];
  return withElement(launch, "mg_window_sum", {at::y, at::x}, [&](auto element) {
    using T = decltype(element);
    windowSumKernel<<<unsigned(rows), threads, 0, streamOf(launch)>>>(
        operand<T>(launch, at::y), operand<T>(launch, at::x), operand<int32_t>(launch, at::documents), launch->ints[number::sequence],
        launch->ints[number::cols], launch->ints[number::window], launch->ints[number::ahead] ? 1 : -1,
        float(launch->doubles[real::scale]));
    return launched("mg_window_sum");
  });
}

int32_t mg_unit_norm(const MgLaunch *launch) {
  MG_ENTER(mg_unit_norm);
  return withElement(launch, "mg_unit_norm", {at::y, at::x}, [&](auto element) {
    using T = decltype(element);
    unitNormKernel<<<unsigned(launch->ints[number::rows]), threads, 0, streamOf(launch)>>>(
        operand<T>(launch, at::y), operand<T>(launch, at::x), launch->ints[number::cols], float(launch->doubles[real::eps]));
    return launched("mg_unit_norm");
  });
}

int32_t mg_unit_norm_grad(const MgLaunch *launch) {
  MG_ENTER(mg_unit_norm_grad);
  return withElement(launch, "mg_unit_norm_grad", {at::d_x, at::d_y, at::x}, [&](auto element) {
    using T = decltype(element);
    unitNormGradKernel<<<unsigned(launch->ints[number::rows]), threads, 0, streamOf(launch)>>>(
        operand<T>(launch, at::d_x), operand<T>(launch, at::d_y), operand<T>(launch, at::x), launch->ints[number::cols],
        float(launch->doubles[real::eps]));
    return launched("mg_unit_norm_grad");
  });
}

int32_t mg_alignment(const MgLaunch *launch) {
  MG_ENTER(mg_alignment);
  return withElement(launch, "mg_alignment", {at::gate, at::a, at::b}, [&](auto element) {
    using T = decltype(element);
    alignmentKernel<<<unsigned(launch->ints[number::rows]), threads, 0, streamOf(launch)>>>(
        operand<T>(launch, at::gate), operand<T>(launch, at::a), operand<T>(launch, at::b), launch->ints[number::cols],
        launch->ints[number::root] != 0, float(launch->doubles[real::eps]));
    return launched("mg_alignment");
  });
}

int32_t mg_alignment_grad(const MgLaunch *launch) {
  MG_ENTER(mg_alignment_grad);
  return withElement(launch, "mg_alignment_grad", {at::d_a, at::d_b, at::d_gate, at::a, at::b}, [&](auto element) {
    using T = decltype(element);
    alignmentGradKernel<<<unsigned(launch->ints[number::rows]), threads, 0, streamOf(launch)>>>(
        operand<T>(launch, at::d_a), operand<T>(launch, at::d_b), operand<T>(launch, at::d_gate), operand<T>(launch, at::a),
        operand<T>(launch, at::b), launch->ints[number::cols], launch->ints[number::root] != 0, float(launch->doubles[real::eps]));
    return launched("mg_alignment_grad");
  });
}
}
