// Causal attention whose scores get a bias, simply: a block takes a query and head, or in the backward a key and key-value head; a warp
// takes keys, or queries, by turns. The bias of two chunks is looked up in tables made once a launch; their gradients are summed query by
// query, then over the tokens of a chunk in their order.
#include "runtime/cuda/Device.cuh"

using namespace megacc::runtime;
using namespace megacc::runtime::cuda;

namespace {

constexpr int threads = 128, warps = threads / 32, max_dim = 256, own_cols = max_dim / threads;

struct Shape {
  int batch, sequence, heads, kv_heads, qk_dim, v_dim, relations, chunks;
  float scale;
  float *tables; // [batch, heads, chunks, chunks]
  const int32_t *chunk;
  const int32_t *first_keys; // [batch, sequence], null: every key from 0 on

  explicit Shape(const MgLaunch *launch) {
    namespace number = number_mg_biased_attention;
    auto value = [&](int which) { return int(launch->ints[which]); };
    batch = value(number::batch), sequence = value(number::sequence), heads = value(number::heads), kv_heads = value(number::kv_heads);
    qk_dim = value(number::qk_dim), v_dim = value(number::v_dim), relations = value(number::relations), chunks = value(number::chunks);
    scale = float(launch->doubles[real_mg_biased_attention::scale]);
  }
  __host__ __device__ int64_t tableSize() const { return int64_t(chunks) * chunks; }
  __host__ __device__ int64_t rows() const { return int64_t(batch) * sequence; }
  __device__ int group() const { return heads / kv_heads; }
  __device__ int firstKey(int b, int t) const { return first_keys ? first_keys[int64_t(b) * sequence + t] : 0; }
  /// Of a head of row b, between tokens t and s.
  __device__ float bias(int b, int h, int t, int s) const {
    const int32_t *own = chunk + int64_t(b) * sequence;
    int i = own[t], j = own[s];
    return i >= 0 && i < chunks && j >= 0 && j < chunks ? tables[(int64_t(b) * heads + h) * tableSize() + int64_t(i) * chunks + j] : 0.0f;
  }
  __device__ int64_t query(int b, int t, int h) const { return (int64_t(b) * sequence + t) * heads + h; }
  __device__ int64_t key(int b, int t, int kv) const { return (int64_t(b) * sequence + t) * kv_heads + kv; }
  /// Of statistics [batch, heads, sequence].
  __device__ int64_t statistic(int b, int h, int t) const { return (int64_t(b) * heads + h) * sequence + t; }
};

/// x . y by a warp, the same bits in every lane.
template <typename T> __device__ float dot(const T *x, const T *y, int width) {
  float sum = 0;
  for (int c = threadIdx.x % 32; c < width; c += 32)
    sum += toFloat(x[c]) * toFloat(y[c]);
  return warpSum(sum);
}

__global__ void findFirstKeys(const int32_t *documents, int sequence, int64_t rows, int32_t *first) {
  int64_t row = int64_t(blockIdx.x) * threads + threadIdx.x;
  if (row >= rows)
    return;
  int t = int(row % sequence);
  while (t > 0 && documents[row / sequence * sequence + t - 1] == documents[row])
    --t;
  first[row] = t;
}

__global__ void fillTables(Shape s, const float *weight, const int32_t *bits) {
  int64_t at = int64_t(blockIdx.x) * threads + threadIdx.x, head = at / s.tableSize();
  if (head >= int64_t(s.batch) * s.heads)
    return;
  int32_t held = bits[head / s.heads * s.tableSize() + at % s.tableSize()];
  float sum = 0;
  for (int r = 0; r < s.relations; ++r)
    sum += held >> r & 1 ? weight[head % s.heads * s.relations + r] : 0.0f;
  s.tables[at] = sum;
}

/// y and lse, either null where it is not wanted.
template <typename T>
__global__ void __launch_bounds__(threads) forwardKernel(Shape s, T *y, float *lse, const T *q, const T *k, const T *v) {
  __shared__ float p[threads], shared[warps];
  int h = blockIdx.x % s.heads, t = blockIdx.x / s.heads % s.sequence, b = int(blockIdx.x / s.heads / s.sequence), kv = h / s.group();
  const T *own_q = q + s.query(b, t, h) * s.qk_dim;
  float largest = -INFINITY, sum = 0, result[own_cols] = {};
  for (int begin = s.firstKey(b, t); begin <= t; begin += threads) {
    int count = min(threads, t + 1 - begin);
    p[threadIdx.x] = -INFINITY;
    __syncthreads();
    for (int j = threadIdx.x / 32; j < count; j += warps) {
      float product = dot(own_q, k + s.key(b, begin + j, kv) * s.qk_dim, s.qk_dim);
      if (threadIdx.x % 32 == 0)
        p[j] = product * s.scale + s.bias(b, h, t, begin + j);
    }
    __syncthreads();
    float score = p[threadIdx.x], top = fmaxf(largest, blockMax<threads>(score, shared)), shrink = __expf(largest - top);
    score = __expf(score - top);
    p[threadIdx.x] = score;
    sum = sum * shrink + blockSum<threads>(score, shared);
    largest = top;
#pragma unroll
    for (int i = 0; i < own_cols; ++i) {
      int c = threadIdx.x + i * threads;
      if (!y || c >= s.v_dim)
        continue;
      result[i] *= shrink;
      for (int j = 0; j < count; ++j)
        result[i] += p[j] * toFloat(v[s.key(b, begin + j, kv) * s.v_dim + c]);
    }
    __syncthreads();
  }
#pragma unroll
  for (int i = 0; i < own_cols; ++i)
    if (int c = threadIdx.x + i * threads; y && c < s.v_dim)
      y[s.query(b, t, h) * s.v_dim + c] = fromFloat<T>(result[i] / sum);
  if (lse && threadIdx.x == 0)
    lse[s.statistic(b, h, t)] = largest + __logf(sum);
}

/// d_q; delta [batch, heads, sequence], the sum of d_y y; and the gradients of the scores of each query, summed over the keys of a chunk:
/// chunk_sums [batch, heads, sequence, chunks].
template <typename T>
__global__ void __launch_bounds__(threads) queryGradKernel(Shape s, T *d_q, float *delta, float *chunk_sums, const T *d_y, const T *y,
                                                           const float *lse, const T *q, const T *k, const T *v) {
  extern __shared__ float sums[]; // [chunks]
  __shared__ float d_scores[threads], shared[warps];
  __shared__ int32_t key_chunk[threads];
  int h = blockIdx.x % s.heads, t = blockIdx.x / s.heads % s.sequence, b = int(blockIdx.x / s.heads / s.sequence), kv = h / s.group();
  const T *own_q = q + s.query(b, t, h) * s.qk_dim, *own_d_y = d_y + s.query(b, t, h) * s.v_dim;
  float own_delta = 0, own_lse = lse[s.statistic(b, h, t)], result[own_cols] = {};
  for (int c = threadIdx.x; c < s.v_dim; c += threads)
    own_delta += toFloat(own_d_y[c]) * toFloat(y[s.query(b, t, h) * s.v_dim + c]);
  own_delta = blockSum<threads>(own_delta, shared);
  if (threadIdx.x == 0)
    delta[s.statistic(b, h, t)] = own_delta;
  for (int c = threadIdx.x; c < s.chunks; c += threads)
    sums[c] = 0;
  for (int begin = s.firstKey(b, t); begin <= t; begin += threads) {
    int count = min(threads, t + 1 - begin);
    if (int(threadIdx.x) < count)
      key_chunk[threadIdx.x] = s.chunk[int64_t(b) * s.sequence + begin + threadIdx.x];
    for (int j = threadIdx.x / 32; j < count; j += warps) {
      float product = dot(own_q, k + s.key(b, begin + j, kv) * s.qk_dim, s.qk_dim);
      float d_p = dot(own_d_y, v + s.key(b, begin + j, kv) * s.v_dim, s.v_dim);
      if (threadIdx.x % 32 == 0)
        d_scores[j] = __expf(product * s.scale + s.bias(b, h, t, begin + j) - own_lse) * (d_p - own_delta);
    }
    __syncthreads();
    for (int c = threadIdx.x; c < s.chunks; c += threads)
      for (int j = 0; j < count; ++j)
        sums[c] += key_chunk[j] == c ? d_scores[j] : 0.0f;
#pragma unroll
    for (int i = 0; i < own_cols; ++i)
      if (int c = threadIdx.x + i * threads; c < s.qk_dim)
        for (int j = 0; j < count; ++j)
          result[i] += d_scores[j] * toFloat(k[s.key(b, begin + j, kv) * s.qk_dim + c]);
    __syncthreads();
  }
#pragma unroll
  for (int i = 0; i < own_cols; ++i)
    if (int c = threadIdx.x + i * threads; c < s.qk_dim)
      d_q[s.query(b, t, h) * s.qk_dim + c] = fromFloat<T>(result[i] * s.scale);
  for (int c = threadIdx.x; c < s.chunks; c += threads)
    chunk_sums[s.statistic(b, h, t) * s.chunks + c] = sums[c];
}

/// d_k and d_v of a key: over the query heads of its key-value head, then the queries that see it, in order.
template <typename T>
__global__ void __launch_bounds__(threads)
    keyGradKernel(Shape s, T *d_k, T *d_v, const T *d_y, const float *delta, const float *lse, const T *q, const T *k, const T *v) {
  __shared__ float p[threads], d_scores[threads];
  int kv = blockIdx.x % s.kv_heads, at = blockIdx.x / s.kv_heads % s.sequence, b = int(blockIdx.x / s.kv_heads / s.sequence);
  const T *own_k = k + s.key(b, at, kv) * s.qk_dim, *own_v = v + s.key(b, at, kv) * s.v_dim;
  float sum_k[own_cols] = {}, sum_v[own_cols] = {};
  for (int h = kv * s.group(); h < (kv + 1) * s.group(); ++h)
    for (int begin = at; begin < s.sequence && s.firstKey(b, begin) <= at; begin += threads) {
      int count = min(threads, s.sequence - begin);
      for (int i = threadIdx.x / 32; i < count; i += warps) {
        int t = begin + i;
        bool sees = s.firstKey(b, t) <= at;
        float product = sees ? dot(q + s.query(b, t, h) * s.qk_dim, own_k, s.qk_dim) : 0.0f;
        float d_p = sees ? dot(d_y + s.query(b, t, h) * s.v_dim, own_v, s.v_dim) : 0.0f;
        if (threadIdx.x % 32 == 0) {
          p[i] = sees ? __expf(product * s.scale + s.bias(b, h, t, at) - lse[s.statistic(b, h, t)]) : 0.0f;
          d_scores[i] = sees ? p[i] * (d_p - delta[s.statistic(b, h, t)]) : 0.0f;
        }
      }
      __syncthreads();
#pragma unroll
      for (int i = 0; i < own_cols; ++i) {
        int c = threadIdx.x + i * threads;
        for (int j = 0; j < count; ++j) {
          if (c < s.qk_dim)
            sum_k[i] += d_scores[j] * toFloat(q[s.query(b, begin + j, h) * s.qk_dim + c]);
          if (c < s.v_dim)
            sum_v[i] += p[j] * toFloat(d_y[s.query(b, begin + j, h) * s.v_dim + c]);
        }
      }
      __syncthreads();
    }
#pragma unroll
  for (int i = 0; i < own_cols; ++i) {
    int c = threadIdx.x + i * threads;
    if (c < s.qk_dim)
      d_k[s.key(b, at, kv) * s.qk_dim + c] = fromFloat<T>(sum_k[i] * s.scale);
    if (c < s.v_dim)
      d_v[s.key(b, at, kv) * s.v_dim + c] = fromFloat<T>(sum_v[i]);
  }
}

/// A block per head of a batch row, a thread per chunk of keys: d_tables[i, j] sums the queries of chunk i in their order.
__global__ void tableGradKernel(Shape s, float *d_tables, const float *chunk_sums) {
  int h = blockIdx.x % s.heads, b = blockIdx.x / s.heads;
  float *table = d_tables + int64_t(blockIdx.x) * s.tableSize();
  for (int j = threadIdx.x; j < s.chunks; j += threads) {
    for (int i = 0; i < s.chunks; ++i)
      table[int64_t(i) * s.chunks + j] = 0;
    for (int t = 0; t < s.sequence; ++t)
      if (int i = s.chunk[int64_t(b) * s.sequence + t]; i >= 0 && i < s.chunks)
        table[int64_t(i) * s.chunks + j] += chunk_sums[s.statistic(b, h, t) * s.chunks + j];
  }
}

/// A block per weight.
__global__ void weightGradKernel(Shape s, float *d_weight, const float *d_tables, const int32_t *bits) {
  __shared__ float shared[warps];
  int h = blockIdx.x / s.relations, r = blockIdx.x % s.relations;
  float sum = 0;
  for (int b = 0; b < s.batch; ++b)
    for (int64_t i = threadIdx.x; i < s.tableSize(); i += threads)
      if (bits[b * s.tableSize() + i] >> r & 1)
        sum += d_tables[(int64_t(b) * s.heads + h) * s.tableSize() + i];
  sum = blockSum<threads>(sum, shared);
  if (threadIdx.x == 0)
    d_weight[blockIdx.x] = sum;
}

/// The tables of a launch and the first keys of its queries.
int32_t prepare(const MgLaunch *launch, const char *kernel, Shape &s, int32_t *first, const float *weight, const int32_t *bits,
                const int32_t *documents) {
  if (s.qk_dim > max_dim || s.v_dim > max_dim)
    return mg_fail("%s: qk_dim is %d and v_dim %d, at most %d", kernel, s.qk_dim, s.v_dim, max_dim);
  cudaStream_t stream = streamOf(launch);
  s.first_keys = documents ? first : nullptr;
  if (documents)
    findFirstKeys<<<unsigned(blocksOf(s.rows(), threads)), threads, 0, stream>>>(documents, s.sequence, s.rows(), first);
  fillTables<<<unsigned(blocksOf(int64_t(s.batch) * s.heads * s.tableSize(), threads)), threads, 0, stream>>>(s, weight, bits);
  return launched(kernel);
}

} // namespace

extern "C" {

int32_t mg_biased_attention(const MgLaunch *launch) {
  MG_ENTER(mg_biased_attention);
  Shape s(launch);
  const int32_t *documents = integers(launch, at::documents);
  Scratch scratch(launch, at::scratch);
  s.tables = scratch.take<float>(int64_t(s.batch) * s.heads * s.tableSize()), s.chunk = integers(launch, at::chunk);
  int32_t *first = documents ? scratch.take<int32_t>(s.rows()) : nullptr;
  if (int32_t status = scratch.check("mg_biased_attention"))
    return status;
  if (int32_t status = prepare(launch, "mg_biased_attention", s, first, input(launch, at::weight), integers(launch, at::bits), documents))
    return status;
  return withElement(launch, "mg_biased_attention", {at::y, at::q, at::k, at::v}, [&](auto element) {
    using T = decltype(element);
    forwardKernel<T><<<unsigned(s.rows() * s.heads), threads, 0, streamOf(launch)>>>(s, operand<T>(launch, at::y), output(launch, at::lse),
                                                                                     operand<T>(launch, at::q), operand<T>(launch, at::k),
                                                                                     operand<T>(launch, at::v));
    return launched("mg_biased_attention");
  });
}

int32_t mg_biased_attention_grad(const MgLaunch *launch) {
  MG_ENTER(mg_biased_attention_grad);
  Shape s(launch);
  const int32_t *documents = integers(launch, at::documents), *bits = integers(launch, at::bits);
  int64_t head_rows = s.rows() * s.heads, tables = int64_t(s.batch) * s.heads * s.tableSize();
  Scratch scratch(launch, at::scratch);
  s.tables = scratch.take<float>(tables), s.chunk = integers(launch, at::chunk);
  int32_t *first = documents ? scratch.take<int32_t>(s.rows()) : nullptr;
  float *d_tables = scratch.take<float>(tables), *chunk_sums = scratch.take<float>(head_rows * s.chunks);
  float *delta = scratch.take<float>(head_rows);
  const float *lse = input(launch, at::lse);
  float *own_lse = lse ? nullptr : scratch.take<float>(head_rows);
  if (int32_t status = scratch.check("mg_biased_attention_grad"))
    return status;
  if (int32_t status = prepare(launch, "mg_biased_attention_grad", s, first, input(launch, at::weight), bits, documents))
    return status;
  cudaStream_t stream = streamOf(launch);
  return withElement(
      launch, "mg_biased_attention_grad", {at::d_q, at::d_k, at::d_v, at::d_y, at::y, at::q, at::k, at::v}, [&](auto element) {
        using T = decltype(element);
        const T *q = operand<T>(launch, at::q), *k = operand<T>(launch, at::k), *v = operand<T>(launch, at::v);
        const T *d_y = operand<T>(launch, at::d_y), *y = operand<T>(launch, at::y);
        if (own_lse)
          forwardKernel<T><<<unsigned(head_rows), threads, 0, stream>>>(s, static_cast<T *>(nullptr), own_lse, q, k, v);
        const float *statistics = own_lse ? own_lse : lse;
        queryGradKernel<T><<<unsigned(head_rows), threads, s.chunks * sizeof(float), stream>>>(s, operand<T>(launch, at::d_q), delta,
                                                                                               chunk_sums, d_y, y, statistics, q, k, v);
        keyGradKernel<T><<<unsigned(s.rows() * s.kv_heads), threads, 0, stream>>>(
            s, operand<T>(launch, at::d_k), operand<T>(launch, at::d_v), d_y, delta, statistics, q, k, v);
        tableGradKernel<<<unsigned(s.batch * s.heads), threads, 0, stream>>>(s, d_tables, chunk_sums);
        weightGradKernel<<<unsigned(s.heads * s.relations), threads, 0, stream>>>(s, output(launch, at::d_weight), d_tables, bits);
        return launched("mg_biased_attention_grad");
      });
}
}
