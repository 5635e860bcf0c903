// Attention of every query to the keys of its support. Forward and d_q: a block for each query and head. d_k and d_v: a block for each key
// and head, which takes its queries in their order.
#include "runtime/kernels/sparse_attention/Support.cuh"

using namespace megacc::runtime;
using namespace megacc::runtime::cuda;

namespace {

struct Shape {
  int64_t rows;
  int sequence, heads, qk_dim, v_dim, kept;
  float scale;

  explicit Shape(const MgLaunch *launch) {
    namespace number = number_mg_sparse_attention;
    sequence = int(launch->ints[number::sequence]), rows = launch->ints[number::batch] * sequence;
    heads = int(launch->ints[number::heads]), qk_dim = int(launch->ints[number::qk_dim]), v_dim = int(launch->ints[number::v_dim]);
    kept = int(launch->ints[number::kept]), scale = float(launch->doubles[real_mg_sparse_attention::scale]);
  }
  /// First element of a row and head.
  __device__ int64_t q(int64_t t, int h) const { return (t * heads + h) * qk_dim; }
  __device__ int64_t v(int64_t t, int h) const { return (t * heads + h) * v_dim; }
};

template <typename T> __global__ void forwardKernel(Shape s, T *y, const T *q, const T *k, const T *v, const int32_t *support) {
  extern __shared__ float p[];
  __shared__ float shared[warps];
  int64_t t = blockIdx.x / s.heads, row = t / s.sequence * s.sequence;
  int h = blockIdx.x % s.heads, stride_v = s.heads * s.v_dim;
  const int32_t *keys = support + t * s.kept;
  int count = countKeys(keys, s.kept);
  scoreKeys(q + s.q(t, h), k + s.q(row, h), s.heads * s.qk_dim, s.qk_dim, keys, count, s.scale, p);
  float lse = logSumExp(p, count, shared);
  for (int j = threadIdx.x; j < count; j += threads)
    p[j] = __expf(p[j] - lse);
  __syncthreads();
  const T *values = v + s.v(row, h);
  for (int c = threadIdx.x; c < s.v_dim; c += threads) {
    float sum = count ? 0 : NAN; // a query without a support
    for (int j = 0; j < count; ++j)
      sum += p[j] * toFloat(values[int64_t(keys[j]) * stride_v + c]);
    y[s.v(t, h) + c] = fromFloat<T>(sum);
  }
}

/// d_q, and for the other kernel lse and delta [rows, heads].
template <typename T>
__global__ void queryGradKernel(Shape s, T *d_q, float *all_lse, float *all_delta, const T *d_y, const T *q, const T *k, const T *v,
                                const int32_t *support) {
  extern __shared__ float p[];
  __shared__ float shared[warps];
  float *d_p = p + s.kept, delta = 0;
  int64_t t = blockIdx.x / s.heads, row = t / s.sequence * s.sequence;
  int h = blockIdx.x % s.heads, stride_q = s.heads * s.qk_dim;
  const int32_t *keys = support + t * s.kept;
  int count = countKeys(keys, s.kept);
  scoreKeys(q + s.q(t, h), k + s.q(row, h), stride_q, s.qk_dim, keys, count, s.scale, p);
  scoreKeys(d_y + s.v(t, h), v + s.v(row, h), s.heads * s.v_dim, s.v_dim, keys, count, 1.0f, d_p);
  float lse = logSumExp(p, count, shared);
  for (int j = threadIdx.x; j < count; j += threads)
    delta += __expf(p[j] - lse) * d_p[j];
  delta = blockSum<threads>(delta, shared);
  for (int j = threadIdx.x; j < count; j += threads)
    d_p[j] = __expf(p[j] - lse) * (d_p[j] - delta) * s.scale;
  if (threadIdx.x == 0)
    all_lse[t * s.heads + h] = lse, all_delta[t * s.heads + h] = delta;
  __syncthreads();
  for (int c = threadIdx.x; c < s.qk_dim; c += threads) {
    float sum = 0;
    for (int j = 0; j < count; ++j)
      sum += d_p[j] * toFloat(k[s.q(row, h) + int64_t(keys[j]) * stride_q + c]);
    d_q[s.q(t, h) + c] = fromFloat<T>(sum);
  }
}

template <typename T>
__global__ void keyGradKernel(Shape s, T *d_k, T *d_v, const float *lse, const float *delta, const T *d_y, const T *q, const T *k,
                              const T *v, const int32_t *support) {
  extern __shared__ float sums[]; // of each warp, for d_k and d_v
  int64_t t = blockIdx.x / s.heads, row = t / s.sequence * s.sequence;
  int h = blockIdx.x % s.heads, width = s.qk_dim + s.v_dim, lane = threadIdx.x % 32;
  float *mine = sums + threadIdx.x / 32 * width;
  for (int c = lane; c < width; c += 32)
    mine[c] = 0;
  forQueriesOf(support + row * s.kept, s.kept, int(t - row), s.sequence, [&](int query, int) {
    int64_t from = row + query;
    const T *other = q + s.q(from, h), *gradient = d_y + s.v(from, h);
    float p = __expf(s.scale * warpDot(other, k + s.q(t, h), s.qk_dim) - lse[from * s.heads + h]);
    float d_score = p * (warpDot(gradient, v + s.v(t, h), s.v_dim) - delta[from * s.heads + h]) * s.scale;
    for (int c = lane; c < s.qk_dim; c += 32)
      mine[c] += d_score * toFloat(other[c]);
    for (int c = lane; c < s.v_dim; c += 32)
      mine[s.qk_dim + c] += p * toFloat(gradient[c]);
  });
  __syncthreads();
  for (int c = threadIdx.x; c < width; c += threads) {
    float sum = 0;
    for (int warp = 0; warp < warps; ++warp)
      sum += sums[warp * width + c];
    if (c < s.qk_dim)
      d_k[s.q(t, h) + c] = fromFloat<T>(sum);
    else
      d_v[s.v(t, h) + c - s.qk_dim] = fromFloat<T>(sum);
  }
}

} // namespace

extern "C" {

int32_t mg_sparse_attention(const MgLaunch *launch) {
  MG_ENTER(mg_sparse_attention);
  const Shape s(launch);
  return withElement(launch, "mg_sparse_attention", {at::y, at::q, at::k, at::v}, [&](auto element) {
    using T = decltype(element);
    forwardKernel<<<unsigned(s.rows * s.heads), threads, s.kept * sizeof(float), streamOf(launch)>>>(
        s, operand<T>(launch, at::y), operand<T>(launch, at::q), operand<T>(launch, at::k), operand<T>(launch, at::v),
        operand<int32_t>(launch, at::support));
    return launched("mg_sparse_attention");
  });
}

int32_t mg_sparse_attention_grad(const MgLaunch *launch) {
  MG_ENTER(mg_sparse_attention_grad);
  const Shape s(launch);
  Scratch scratch(launch, at::scratch);
  float *lse = scratch.take<float>(s.rows * s.heads), *delta = scratch.take<float>(s.rows * s.heads);
  if (int32_t status = scratch.check("mg_sparse_attention_grad"))
    return status;
  return withElement(launch, "mg_sparse_attention_grad", {at::d_q, at::d_k, at::d_v, at::d_y, at::q, at::k, at::v}, [&](auto element) {
    using T = decltype(element);
    const T *d_y = operand<T>(launch, at::d_y), *q = operand<T>(launch, at::q), *k = operand<T>(launch, at::k),
            *v = operand<T>(launch, at::v);
    const int32_t *support = operand<int32_t>(launch, at::support);
    queryGradKernel<<<unsigned(s.rows * s.heads), threads, 2 * s.kept * sizeof(float), streamOf(launch)>>>(
        s, operand<T>(launch, at::d_q), lse, delta, d_y, q, k, v, support);
    if (int32_t status = launched("mg_sparse_attention_grad"))
      return status;
    keyGradKernel<<<unsigned(s.rows * s.heads), threads, warps *(s.qk_dim + s.v_dim) * sizeof(float), streamOf(launch)>>>(
        s, operand<T>(launch, at::d_k), operand<T>(launch, at::d_v), lse, delta, d_y, q, k, v, support);
    return launched("mg_sparse_attention_grad");
  });
}
}
