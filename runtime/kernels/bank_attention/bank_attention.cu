// Attention of every row to all rows of a bank, conventions 10.1. A block has some rows of one head, one after another; its scores lie in
// shared memory, a row of the bank for each thread in turn.
#include "runtime/cuda/SumPartials.cuh"

#include <algorithm>

using namespace megacc::runtime;
using namespace megacc::runtime::cuda;

namespace {

constexpr int threads = 128;
/// At most so many blocks leave sums over rows for d_k and d_v; lib/Kernels knows the same numbers.
constexpr int64_t tile_rows = 64, most_parts = 32;

struct Sizes {
  int64_t rows, bank, heads, dim, cols;
  float scale;
};

Sizes sizesOf(const MgLaunch *launch) {
  namespace number = number_mg_bank_attention;
  int64_t heads = launch->ints[number::heads], dim = launch->ints[number::dim];
  return {launch->ints[number::rows],
          launch->ints[number::bank],
          heads,
          dim,
          heads * dim,
          float(launch->doubles[real_mg_bank_attention::scale])};
}

/// p[bank] = softmax(scale q k^T) of one row and head.
template <typename T> __device__ void weigh(const Sizes &s, const T *q, const T *k, float *p, float *shared) {
  float top = -INFINITY, sum = 0;
  for (int64_t j = threadIdx.x; j < s.bank; j += threads) {
    float score = 0;
    for (int64_t c = 0; c < s.dim; ++c)
      score += toFloat(q[c]) * toFloat(k[j * s.cols + c]);
    p[j] = score * s.scale;
    top = fmaxf(top, p[j]);
  }
  top = blockMax<threads>(top, shared);
  for (int64_t j = threadIdx.x; j < s.bank; j += threads)
    sum += p[j] = __expf(p[j] - top);
  sum = blockSum<threads>(sum, shared);
  for (int64_t j = threadIdx.x; j < s.bank; j += threads)
    p[j] /= sum;
  __syncthreads();
}

template <typename T> __global__ void bankAttentionKernel(Sizes s, T *y, const T *q, const T *k, const T *v) {
  extern __shared__ float p[];
  __shared__ float shared[threads / 32];
  int64_t head = blockIdx.y * s.dim, at = blockIdx.x * s.cols + head;
  weigh(s, q + at, k + head, p, shared);
  for (int64_t c = threadIdx.x; c < s.dim; c += threads) {
    float sum = 0;
    for (int64_t j = 0; j < s.bank; ++j)
      sum += p[j] * toFloat(v[j * s.cols + head + c]);
    y[at + c] = fromFloat<T>(sum);
  }
}

/// Block (part, head) takes its share of the rows and leaves sums in partial_k and partial_v [parts, bank, cols].
template <typename T>
__global__ void bankAttentionGradKernel(Sizes s, T *d_q, float *partial_k, float *partial_v, const T *d_y, const T *q, const T *k,
                                        const T *v, int64_t part_rows) {
  extern __shared__ float p[];
  __shared__ float shared[threads / 32];
  float *d_s = p + s.bank;
  int64_t head = blockIdx.y * s.dim, begin = blockIdx.x * part_rows, end = min(begin + part_rows, s.rows);
  float *d_k = partial_k + blockIdx.x * s.bank * s.cols + head, *d_v = partial_v + blockIdx.x * s.bank * s.cols + head;
  for (int64_t i = threadIdx.x; i < s.bank * s.dim; i += threads)
    d_k[i / s.dim * s.cols + i % s.dim] = d_v[i / s.dim * s.cols + i % s.dim] = 0;
  for (int64_t row = begin; row < end; ++row) {
    int64_t at = row * s.cols + head;
    weigh(s, q + at, k + head, p, shared);
    float delta = 0;
    for (int64_t j = threadIdx.x; j < s.bank; j += threads) {
      float product = 0;
      for (int64_t c = 0; c < s.dim; ++c)
        product += toFloat(d_y[at + c]) * toFloat(v[j * s.cols + head + c]);
      d_s[j] = product;
      delta += p[j] * product;
    }
    delta = blockSum<threads>(delta, shared);
    for (int64_t j = threadIdx.x; j < s.bank; j += threads)
      d_s[j] = p[j] * (d_s[j] - delta) * s.scale;
    __syncthreads();
    for (int64_t c = threadIdx.x; c < s.dim; c += threads) {
      float sum = 0;
      for (int64_t j = 0; j < s.bank; ++j)
        sum += d_s[j] * toFloat(k[j * s.cols + head + c]);
      d_q[at + c] = fromFloat<T>(sum);
    }
    // Every thread has its own elements of the sums.
    for (int64_t i = threadIdx.x; i < s.bank * s.dim; i += threads) {
      int64_t j = i / s.dim, c = i % s.dim;
      d_k[j * s.cols + c] += d_s[j] * toFloat(q[at + c]);
      d_v[j * s.cols + c] += p[j] * toFloat(d_y[at + c]);
    }
    __syncthreads();
  }
}

template <typename T> __global__ void sumPartsKernel(T *d, const float *partial, int64_t parts, int64_t count) {
  int64_t i = int64_t(blockIdx.x) * threads + threadIdx.x;
  if (i >= count)
    return;
  float sum = 0;
  for (int64_t part = 0; part < parts; ++part)
    sum += partial[part * count + i];
  d[i] = fromFloat<T>(sum);
}

} // namespace

extern "C" {

int32_t mg_bank_attention(const MgLaunch *launch) {
  MG_ENTER(mg_bank_attention);
  Sizes s = sizesOf(launch);
  Scratch scratch(launch, at::scratch);
  if (int32_t status = scratch.check("mg_bank_attention"))
    return status;
  return withElement(launch, "mg_bank_attention", {at::y, at::q, at::k, at::v}, [&](auto element) {
    using T = decltype(element);
    bankAttentionKernel<<<dim3(unsigned(s.rows), unsigned(s.heads)), threads, s.bank * sizeof(float), streamOf(launch)>>>(
        s, operand<T>(launch, at::y), operand<T>(launch, at::q), operand<T>(launch, at::k), operand<T>(launch, at::v));
    return launched("mg_bank_attention");
  });
}

int32_t mg_bank_attention_grad(const MgLaunch *launch) {
  MG_ENTER(mg_bank_attention_grad);
  Sizes s = sizesOf(launch);
  int64_t parts = std::min(blocksOf(s.rows, tile_rows), most_parts), part_rows = blocksOf(s.rows, parts), count = s.bank * s.cols;
  Scratch scratch(launch, at::scratch);
  float *partial_k = scratch.take<float>(parts * count), *partial_v = scratch.take<float>(parts * count);
  if (int32_t status = scratch.check("mg_bank_attention_grad"))
    return status;
  return withElement(launch, "mg_bank_attention_grad", {at::d_q, at::d_k, at::d_v, at::d_y, at::q, at::k, at::v}, [&](auto element) {
    using T = decltype(element);
    bankAttentionGradKernel<<<dim3(unsigned(parts), unsigned(s.heads)), threads, 2 * s.bank * sizeof(float), streamOf(launch)>>>(
        s, operand<T>(launch, at::d_q), partial_k, partial_v, operand<T>(launch, at::d_y), operand<T>(launch, at::q),
        operand<T>(launch, at::k), operand<T>(launch, at::v), part_rows);
    if (int32_t status = launched("mg_bank_attention_grad"))
      return status;
    for (auto [to, partial] : {std::pair{at::d_k, partial_k}, {at::d_v, partial_v}}) {
      sumPartsKernel<<<unsigned(blocksOf(count, threads)), threads, 0, streamOf(launch)>>>(operand<T>(launch, to), partial, parts, count);
      if (int32_t status = launched("mg_bank_attention_grad"))
        return status;
    }
    return int32_t(0);
  });
}
}
