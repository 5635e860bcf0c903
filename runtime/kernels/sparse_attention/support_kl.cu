// The KL term of an indexer and its gradient: a block for each query, and for d_index_k a block for each key.
#include "runtime/kernels/sparse_attention/Support.cuh"

using namespace megacc::runtime;
using namespace megacc::runtime::cuda;

namespace {

template <typename T> struct Indexer {
  const T *q, *k, *weights;
  int heads, dim;
  float scale;
};

template <typename T>
__global__ void klKernel(double *terms, float *difference, const T *q, const T *k, Indexer<T> indexer, const int32_t *support, int sequence,
                         int heads, int qk_dim, int kept, float scale) {
  extern __shared__ float values[];
  __shared__ float shared[warps];
  __shared__ double shared_sums[warps];
  float *scores = values + kept;
  int64_t t = blockIdx.x, row = t / sequence * sequence;
  const int32_t *keys = support + t * kept;
  int count = countKeys(keys, kept), stride = heads * qk_dim;
  float *target = difference + t * kept; // until the difference takes its place; an element belongs to one thread
  for (int j = threadIdx.x; j < kept; j += threads)
    target[j] = scores[j] = 0;
  for (int h = 0; h < heads; ++h) {
    scoreKeys(q + t * stride + h * qk_dim, k + row * stride + h * qk_dim, stride, qk_dim, keys, count, scale, values);
    float lse = logSumExp(values, count, shared);
    for (int j = threadIdx.x; j < count; j += threads)
      target[j] += __expf(values[j] - lse) / float(heads);
    __syncthreads();
  }
  for (int h = 0; h < indexer.heads; ++h) {
    scoreKeys(indexer.q + (t * indexer.heads + h) * indexer.dim, indexer.k + row * indexer.dim, indexer.dim, indexer.dim, keys, count, 1.0f,
              values);
    __syncthreads();
    float weight = toFloat(indexer.weights[t * indexer.heads + h]) * indexer.scale;
    for (int j = threadIdx.x; j < count; j += threads)
      scores[j] += weight * (values[j] < 0 ? 0 : values[j]);
    __syncthreads();
  }
  float lse = logSumExp(scores, count, shared);
  double sum = count ? 0 : NAN; // a query without a support had a score that is NaN
  for (int j = threadIdx.x; j < count; j += threads) {
    if (target[j] != 0)
      sum += double(target[j]) * (logf(target[j]) - (scores[j] - lse));
    target[j] = __expf(scores[j] - lse) - target[j];
  }
  sum = blockSum<threads>(sum, shared_sums);
  if (threadIdx.x == 0)
    terms[t] = sum;
}

__global__ void sumKernel(float *loss, const double *terms, int64_t rows, double factor) {
  __shared__ double shared[warps];
  double sum = blockSumOf<threads>(terms, rows, shared);
  if (threadIdx.x == 0)
    *loss = float(sum * factor);
}

template <typename T>
__global__ void klQueryGradKernel(T *d_q, T *d_weights, const float *difference, Indexer<T> indexer, const int32_t *support, int sequence,
                                  int kept) {
  extern __shared__ float values[];
  __shared__ float shared[warps];
  int64_t t = blockIdx.x / indexer.heads, row = t / sequence * sequence, head = blockIdx.x;
  const int32_t *keys = support + t * kept;
  const T *k = indexer.k + row * indexer.dim;
  int count = countKeys(keys, kept);
  scoreKeys(indexer.q + head * indexer.dim, k, indexer.dim, indexer.dim, keys, count, 1.0f, values);
  __syncthreads();
  float d_weight = 0, weight = toFloat(indexer.weights[head]) * indexer.scale;
  for (int j = threadIdx.x; j < count; j += threads) {
    float product = values[j], g = difference[t * kept + j];
    d_weight += product > 0 ? product * g : 0;
    values[j] = product > 0 ? weight * g : 0;
  }
  d_weight = blockSum<threads>(d_weight, shared);
  if (threadIdx.x == 0)
    d_weights[head] = fromFloat<T>(d_weight * indexer.scale);
  for (int c = threadIdx.x; c < indexer.dim; c += threads) {
    float sum = 0;
    for (int j = 0; j < count; ++j)
      sum += values[j] * toFloat(k[int64_t(keys[j]) * indexer.dim + c]);
    d_q[head * indexer.dim + c] = fromFloat<T>(sum);
  }
}

template <typename T>
__global__ void klKeyGradKernel(T *d_k, const float *difference, Indexer<T> indexer, const int32_t *support, int sequence, int kept) {
  extern __shared__ float sums[]; // of each warp
  int64_t t = blockIdx.x, row = t / sequence * sequence;
  int lane = threadIdx.x % 32;
  float *mine = sums + threadIdx.x / 32 * indexer.dim;
  for (int c = lane; c < indexer.dim; c += 32)
    mine[c] = 0;
  forQueriesOf(support + row * kept, kept, int(t - row), sequence, [&](int query, int place) {
    for (int h = 0; h < indexer.heads; ++h) {
      int64_t head = (row + query) * indexer.heads + h;
      const T *q = indexer.q + head * indexer.dim;
      if (!(warpDot(q, indexer.k + t * indexer.dim, indexer.dim) > 0))
        continue;
      float g = difference[(row + query) * kept + place] * toFloat(indexer.weights[head]) * indexer.scale;
      for (int c = lane; c < indexer.dim; c += 32)
        mine[c] += g * toFloat(q[c]);
    }
  });
  __syncthreads();
  for (int c = threadIdx.x; c < indexer.dim; c += threads) {
    float sum = 0;
    for (int warp = 0; warp < warps; ++warp)
      sum += sums[warp * indexer.dim + c];
    d_k[t * indexer.dim + c] = fromFloat<T>(sum);
  }
}

} // namespace

extern "C" {

int32_t mg_support_kl(const MgLaunch *launch) {
  MG_ENTER(mg_support_kl);
  int64_t sequence = launch->ints[number::sequence], rows = launch->ints[number::batch] * sequence, kept = launch->ints[number::kept];
  Scratch scratch(launch, at::scratch);
  double *terms = scratch.take<double>(rows);
  if (int32_t status = scratch.check("mg_support_kl"))
    return status;
  return withElement(launch, "mg_support_kl", {at::q, at::k, at::index_q, at::index_k, at::index_weights}, [&](auto element) {
    using T = decltype(element);
    Indexer<T> indexer = {operand<T>(launch, at::index_q),       operand<T>(launch, at::index_k),
                          operand<T>(launch, at::index_weights), int(launch->ints[number::index_heads]),
                          int(launch->ints[number::index_dim]),  float(launch->doubles[real::index_scale])};
    klKernel<<<unsigned(rows), threads, 2 * kept * sizeof(float), streamOf(launch)>>>(
        terms, operand<float>(launch, at::difference), operand<T>(launch, at::q), operand<T>(launch, at::k), indexer,
        operand<int32_t>(launch, at::support), int(sequence), int(launch->ints[number::heads]), int(launch->ints[number::qk_dim]),
        int(kept), float(launch->doubles[real::scale]));
    if (int32_t status = launched("mg_support_kl"))
      return status;
    sumKernel<<<1, threads, 0, streamOf(launch)>>>(operand<float>(launch, at::loss), terms, rows,
                                                   launch->doubles[real::kl] / double(launch->ints[number::tokens]));
    return launched("mg_support_kl");
  });
}

int32_t mg_support_kl_grad(const MgLaunch *launch) {
  MG_ENTER(mg_support_kl_grad);
  int64_t sequence = launch->ints[number::sequence], rows = launch->ints[number::batch] * sequence, kept = launch->ints[number::kept];
  Scratch scratch(launch, at::scratch);
  if (int32_t status = scratch.check("mg_support_kl_grad"))
    return status;
  return withElement(launch, "mg_support_kl_grad",
                     {at::d_index_q, at::d_index_k, at::d_index_weights, at::index_q, at::index_k, at::index_weights}, [&](auto element) {
                       using T = decltype(element);
                       Indexer<T> indexer = {operand<T>(launch, at::index_q),
                                             operand<T>(launch, at::index_k),
                                             operand<T>(launch, at::index_weights),
                                             int(launch->ints[number::index_heads]),
                                             int(launch->ints[number::index_dim]),
                                             float(launch->doubles[real::index_scale] * launch->doubles[real::factor])};
                       const float *difference = operand<float>(launch, at::difference);
                       const int32_t *support = operand<int32_t>(launch, at::support);
                       klQueryGradKernel<<<unsigned(rows * indexer.heads), threads, kept * sizeof(float), streamOf(launch)>>>(
                           operand<T>(launch, at::d_index_q), operand<T>(launch, at::d_index_weights), difference, indexer, support,
                           int(sequence), int(kept));
                       if (int32_t status = launched("mg_support_kl_grad"))
                         return status;
                       klKeyGradKernel<<<unsigned(rows), threads, warps * indexer.dim * sizeof(float), streamOf(launch)>>>(
                           operand<T>(launch, at::d_index_k), difference, indexer, support, int(sequence), int(kept));
                       return launched("mg_support_kl_grad");
                     });
}
}
