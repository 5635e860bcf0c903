// Straightness of rows between tokens, conventions 12.6. A block has a pair of a row of the batch and a span.
#include "runtime/cuda/Device.cuh"

using namespace megacc::runtime;
using namespace megacc::runtime::cuda;

namespace {

constexpr int threads = 128;
/// Below it two steps have no direction.
constexpr float least_squares = 1e-8f;

/// Whether a span lies inside the row and, where `documents` are the row's ids, inside one document: in the same run of equal ids.
__device__ bool isCounted(const int32_t *span, const int32_t *documents, int64_t sequence) {
  if (span[0] < 0 || span[0] >= span[1] || span[1] >= span[2] || span[2] >= sequence)
    return false;
  for (int32_t t = span[0]; documents && t < span[2]; ++t)
    if (documents[t] != documents[t + 1])
      return false;
  return true;
}

/// The two steps of a span, a = h[r] - h[s] and b = h[t] - h[r] of the rows h, by their products; the same bits in every thread.
struct Steps {
  float aa, bb, ab;

  template <typename T> __device__ Steps(const T *x, const int32_t *span, int64_t cols) {
    __shared__ float shared[threads / 32];
    aa = bb = ab = 0;
    for (int64_t i = threadIdx.x; i < cols; i += threads) {
      float r = toFloat(x[span[1] * cols + i]), a = r - toFloat(x[span[0] * cols + i]);
      float b = toFloat(x[span[2] * cols + i]) - r;
      aa += a * a, bb += b * b, ab += a * b;
    }
    aa = blockSum<threads>(aa, shared), bb = blockSum<threads>(bb, shared), ab = blockSum<threads>(ab, shared);
  }
  __device__ bool hasDirection() const { return aa * bb > least_squares; }
  __device__ float cosine() const { return hasDirection() ? ab / (sqrtf(aa) * sqrtf(bb)) : 0; }
};

__global__ void countSpansKernel(float *count, const int32_t *spans, const int32_t *documents, int64_t batch, int64_t sequence,
                                 int64_t all) {
  __shared__ float shared[threads / 32];
  float sum = 0;
  for (int64_t pair = threadIdx.x; pair < batch * all; pair += threads)
    sum += isCounted(spans + pair % all * 3, documents ? documents + pair / all * sequence : nullptr, documents ? sequence : INT32_MAX);
  sum = blockSum<threads>(sum, shared);
  if (threadIdx.x == 0)
    *count = sum;
}

template <typename T>
__global__ void straightnessKernel(float *terms, const T *x, const int32_t *spans, const int32_t *documents, int64_t sequence, int64_t cols,
                                   int64_t all) {
  int64_t b = blockIdx.x / all;
  const int32_t *span = spans + blockIdx.x % all * 3;
  float term = 0;
  if (isCounted(span, documents ? documents + b * sequence : nullptr, sequence))
    term = 1 - Steps(x + b * sequence * cols, span, cols).cosine();
  if (threadIdx.x == 0)
    terms[blockIdx.x] = term;
}

__global__ void sumTermsKernel(float *loss, const float *terms, int64_t count, const float *valid, float layers, float weight) {
  __shared__ float shared[threads / 32];
  float sum = blockSumOf<threads>(terms, count, shared);
  if (threadIdx.x == 0)
    *loss = weight * sum / fmaxf(1.0f, layers * *valid);
}

/// d_x of token blockIdx.x: the spans that name it, added in order. A token that none names becomes zero.
template <typename T>
__global__ void straightnessGradKernel(T *d_x, const T *x, const int32_t *spans, const float *valid, const int32_t *documents,
                                       int64_t sequence, int64_t cols, int64_t all, float layers, float weight) {
  int64_t row = blockIdx.x, t = row % sequence, first = row - t;
  const T *h = x + first * cols;
  float share = weight / fmaxf(1.0f, layers * *valid);
  for (int64_t i = threadIdx.x; i < cols; i += threads)
    d_x[row * cols + i] = fromFloat<T>(0);
  for (int64_t begin = 0; begin < cols; begin += threads) {
    float sum = 0;
    bool named = false;
    for (int64_t j = 0; j < all; ++j) {
      const int32_t *span = spans + 3 * j;
      if ((t != span[0] && t != span[1] && t != span[2]) || !isCounted(span, documents ? documents + first : nullptr, sequence))
        continue;
      Steps steps(h, span, cols);
      if (!steps.hasDirection())
        continue;
      named = true;
      int64_t i = begin + threadIdx.x;
      if (i >= cols)
        continue;
      float r = toFloat(h[span[1] * cols + i]), a = r - toFloat(h[span[0] * cols + i]), b = toFloat(h[span[2] * cols + i]) - r;
      float cosine = steps.cosine(), cross = share / (sqrtf(steps.aa) * sqrtf(steps.bb));
      float d_a = share * cosine / steps.aa * a - cross * b, d_b = share * cosine / steps.bb * b - cross * a;
      sum += t == span[0] ? -d_a : t == span[1] ? d_a - d_b : d_b;
    }
    if (named && begin + threadIdx.x < cols)
      d_x[row * cols + begin + threadIdx.x] = fromFloat<T>(sum);
  }
}

} // namespace

extern "C" {

int32_t mg_count_spans(const MgLaunch *launch) {
  MG_ENTER(mg_count_spans);
  countSpansKernel<<<1, threads, 0, streamOf(launch)>>>(operand<float>(launch, at::count), operand<int32_t>(launch, at::spans),
                                                        operand<int32_t>(launch, at::documents), launch->ints[number::batch],
                                                        launch->ints[number::sequence], launch->ints[number::spans]);
  return launched("mg_count_spans");
}

int32_t mg_straightness(const MgLaunch *launch) {
  MG_ENTER(mg_straightness);
  int64_t spans = launch->ints[number::spans], pairs = launch->ints[number::batch] * spans;
  Scratch scratch(launch, at::scratch);
  float *terms = scratch.take<float>(pairs);
  if (int32_t status = scratch.check("mg_straightness"))
    return status;
  return withElement(launch, "mg_straightness", {at::x}, [&](auto element) {
    using T = decltype(element);
    straightnessKernel<<<unsigned(pairs), threads, 0, streamOf(launch)>>>(
        terms, operand<T>(launch, at::x), operand<int32_t>(launch, at::spans), operand<int32_t>(launch, at::documents),
        launch->ints[number::sequence], launch->ints[number::cols], spans);
    if (int32_t status = launched("mg_straightness"))
      return status;
    sumTermsKernel<<<1, threads, 0, streamOf(launch)>>>(operand<float>(launch, at::loss), terms, pairs, operand<float>(launch, at::count),
                                                        float(launch->ints[number::layers]), float(launch->doubles[real::weight]));
    return launched("mg_straightness");
  });
}

int32_t mg_straightness_grad(const MgLaunch *launch) {
  MG_ENTER(mg_straightness_grad);
  int64_t rows = launch->ints[number::batch] * launch->ints[number::sequence];
  return withElement(launch, "mg_straightness_grad", {at::d_x, at::x}, [&](auto element) {
    using T = decltype(element);
    straightnessGradKernel<<<unsigned(rows), threads, 0, streamOf(launch)>>>(
        operand<T>(launch, at::d_x), operand<T>(launch, at::x), operand<int32_t>(launch, at::spans), operand<float>(launch, at::count),
        operand<int32_t>(launch, at::documents), launch->ints[number::sequence], launch->ints[number::cols], launch->ints[number::spans],
        float(launch->ints[number::layers]), float(launch->doubles[real::weight]));
    return launched("mg_straightness_grad");
  });
}
}
