// The recurrence for any key and value up to 64, one block per tile: the plain counterpart of the fast kernels.
#pragma once
#include "runtime/kernels/m2rnn/M2rnn.cuh"

namespace megacc::runtime::cuda::m2rnn {

inline constexpr int plain_most = 64, plain_threads = 256;

/// One token in shared memory, for all threads of the block.
struct PlainToken {
  float q[plain_most], k[plain_most], v[plain_most], d_y[plain_most];
};

template <typename T>
__device__ void fetchToken(PlainToken &to, const Sizes &size, const Inputs<T> &in, const T *d_y, int head, int64_t row) {
  for (int i = threadIdx.x; i < size.key; i += plain_threads) {
    to.q[i] = toFloat(in.q[row * size.key + i]);
    to.k[i] = toFloat(in.k[row * size.key + i]);
  }
  for (int j = threadIdx.x; j < size.value; j += plain_threads) {
    to.v[j] = toFloat(in.v[(row * size.heads + head) * size.value + j]);
    to.d_y[j] = d_y ? toFloat(d_y[(row * size.heads + head) * size.value + j]) : 0.0f;
  }
}

/// next = keep h + take z; z unless null. A barrier before and after is the caller's.
__device__ inline void plainStep(const Sizes &size, const PlainToken &token, const Decay &decay, const float *weight, const float *h,
                                 float *next, float *z) {
  for (int e = threadIdx.x; e < size.key * size.value; e += plain_threads) {
    int i = e / size.value, j = e % size.value;
    float sum = token.k[i] * token.v[j];
    for (int l = 0; l < size.value; ++l)
      sum = fmaf(h[i * size.value + l], weight[l * size.value + j], sum);
    float squashed = tanhf(sum);
    next[e] = decay.keep * h[e] + decay.take * squashed;
    if (z)
      z[e] = squashed;
  }
}

/// y, states and the norms of the last states of the tiles may be null.
template <typename T>
__global__ void __launch_bounds__(plain_threads) plainScanKernel(T *y, T *states, float *norms, Inputs<T> in, Sizes size) {
  extern __shared__ float memory[];
  __shared__ PlainToken token;
  __shared__ float sums[plain_threads / 32];
  int count = size.key * size.value, square = size.value * size.value, head = blockIdx.x % size.heads;
  int64_t first = int64_t(blockIdx.x / size.heads) * size.sequence;
  const int32_t *documents = in.documents ? in.documents + first : nullptr;
  float *weight = memory, *h = weight + square, *next = h + count, rate = expf(in.a_log[head]);
  for (int e = threadIdx.x; e < square; e += plain_threads)
    weight[e] = toFloat(in.weight[head * square + e]);
  for (int e = threadIdx.x; e < count; e += plain_threads)
    h[e] = 0;
  for (int t = 0; t < size.sequence; ++t) {
    int64_t row = first + t;
    __syncthreads();
    if (states && t % size.interval == 0)
      for (int e = threadIdx.x; e < count; e += plain_threads)
        states[(int64_t(blockIdx.x) * size.blocks() + t / size.interval) * count + e] = fromFloat<T>(h[e]);
    if (t > 0 && startsDocument(documents, t))
      for (int e = threadIdx.x; e < count; e += plain_threads)
        h[e] = 0;
    fetchToken(token, size, in, static_cast<const T *>(nullptr), head, row);
    __syncthreads();
    plainStep(size, token, Decay(toFloat(in.f[row * size.heads + head]), rate, in.dt_bias[head]), weight, h, next, nullptr);
    __syncthreads();
    float *swap = h;
    h = next, next = swap;
    if (y)
      for (int j = threadIdx.x; j < size.value; j += plain_threads) {
        float sum = 0;
        for (int i = 0; i < size.key; ++i)
          sum = fmaf(token.q[i], h[i * size.value + j], sum);
        y[(row * size.heads + head) * size.value + j] = fromFloat<T>(sum);
      }
  }
  if (!norms)
    return;
  float squares = 0;
  for (int e = threadIdx.x; e < count; e += plain_threads)
    squares += h[e] * h[e];
  squares = blockSum<plain_threads>(squares, sums);
  if (threadIdx.x == 0)
    norms[blockIdx.x] = sqrtf(squares);
}

/// Formulas: see scan_grad_fast.cu. `room` of a tile: the states before each token of a block of time and after the last, then z.
template <typename T>
__global__ void __launch_bounds__(plain_threads)
    plainScanGradKernel(T *d_v, T *d_f, Shares<T> shares, float *room, const T *d_y, const T *states, Inputs<T> in, Sizes size) {
  extern __shared__ float memory[];
  __shared__ PlainToken token;
  __shared__ float sums[plain_threads / 32];
  int count = size.key * size.value, square = size.value * size.value, head = int(blockIdx.x) % size.heads, thread = threadIdx.x;
  int64_t tile = blockIdx.x, first = int64_t(int(blockIdx.x) / size.heads) * size.sequence;
  const int32_t *documents = in.documents ? in.documents + first : nullptr;
  float *weight = memory, *d_weight = weight + square, *adjoint = d_weight + square, *x = adjoint + count;
  float *before = room + tile * (2 * size.interval + 1) * count, *squashed = before + (size.interval + 1) * count;
  float rate = expf(in.a_log[head]), dt_bias = in.dt_bias[head], sum_a_log = 0, sum_dt_bias = 0;
  for (int e = thread; e < square; e += plain_threads) {
    weight[e] = toFloat(in.weight[head * square + e]);
    d_weight[e] = 0;
  }
  for (int e = thread; e < count; e += plain_threads)
    adjoint[e] = 0;
  for (int block = size.blocks() - 1; block >= 0; --block) {
    int begin = block * size.interval, steps = min(size.interval, size.sequence - begin);
    for (int e = thread; e < count; e += plain_threads)
      before[e] = toFloat(states[(tile * size.blocks() + block) * count + e]);
    // States before each token; where a document starts, what is stored is the state before it, and zeros are used instead.
    for (int s = 0; s < steps; ++s) {
      float *h = before + s * count;
      __syncthreads();
      for (int e = thread; e < count; e += plain_threads)
        x[e] = begin + s > 0 && startsDocument(documents, begin + s) ? 0.0f : h[e];
      fetchToken(token, size, in, static_cast<const T *>(nullptr), head, first + begin + s);
      __syncthreads();
      plainStep(size, token, Decay(toFloat(in.f[(first + begin + s) * size.heads + head]), rate, dt_bias), weight, x, h + count,
                squashed + s * count);
    }
    for (int s = steps - 1; s >= 0; --s) {
      int64_t row = first + begin + s, group = ((tile * size.groups() + (begin + s) / 8) * size.key) * 8 + (begin + s) % 8;
      const float *h = before + s * count, *z = squashed + s * count;
      bool resets = begin + s > 0 && startsDocument(documents, begin + s);
      Decay decay(toFloat(in.f[row * size.heads + head]), rate, dt_bias);
      __syncthreads();
      fetchToken(token, size, in, d_y, head, row);
      __syncthreads();
      float through_decay = 0;
      for (int e = thread; e < count; e += plain_threads) {
        float a = adjoint[e] + token.q[e / size.value] * token.d_y[e % size.value];
        adjoint[e] = a;
        x[e] = decay.take * a * (1.0f - z[e] * z[e]);
        through_decay += a * ((resets ? 0.0f : h[e]) - z[e]);
      }
      through_decay = blockSum<plain_threads>(through_decay, sums);
      if (thread == 0) {
        float d_exponent = -through_decay * decay.keep, d_input = d_exponent * decay.slope;
        d_f[row * size.heads + head] = fromFloat<T>(d_input);
        sum_a_log += d_exponent * decay.exponent;
        sum_dt_bias += d_input;
      }
      for (int i = thread; i < size.key; i += plain_threads) {
        float q = 0, k = 0;
        for (int j = 0; j < size.value; ++j) {
          q = fmaf(h[count + i * size.value + j], token.d_y[j], q);
          k = fmaf(x[i * size.value + j], token.v[j], k);
        }
        shares.q[group + i * 8] = fromFloat<T>(q);
        shares.k[group + i * 8] = fromFloat<T>(k);
      }
      for (int j = thread; j < size.value; j += plain_threads) {
        float sum = 0;
        for (int i = 0; i < size.key; ++i)
          sum = fmaf(x[i * size.value + j], token.k[i], sum);
        d_v[(row * size.heads + head) * size.value + j] = fromFloat<T>(sum);
      }
      for (int e = thread; e < square && !resets; e += plain_threads) {
        float sum = 0;
        for (int i = 0; i < size.key; ++i)
          sum = fmaf(h[i * size.value + e / size.value], x[i * size.value + e % size.value], sum);
        d_weight[e] += sum;
      }
      for (int e = thread; e < count; e += plain_threads) {
        float sum = decay.keep * adjoint[e];
        for (int j = 0; j < size.value; ++j)
          sum = fmaf(x[e / size.value * size.value + j], weight[e % size.value * size.value + j], sum);
        adjoint[e] = resets ? 0.0f : sum;
      }
    }
    __syncthreads();
  }
  for (int e = thread; e < square; e += plain_threads)
    shares.weight[tile * square + e] = d_weight[e];
  if (thread == 0) {
    shares.sums[2 * tile] = sum_a_log;
    shares.sums[2 * tile + 1] = sum_dt_bias;
  }
}

} // namespace megacc::runtime::cuda::m2rnn
