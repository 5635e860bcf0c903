// Mixture of depths (conventions 10.7 and 10.8): which tokens enter a block, their rows there and back, and the loss of the choice.
#include "runtime/cuda/Device.cuh"

using namespace megacc::runtime;
using namespace megacc::runtime::cuda;

namespace {

constexpr int threads = 128, select_threads = 256;

/// Integers in the order of the numbers: -0 equals +0, NaN is the least.
__device__ uint32_t orderOf(float logit) {
  if (!(logit == logit))
    return 0;
  uint32_t bits = logit == 0.0f ? 0u : __float_as_uint(logit);
  return bits >> 31 ? ~bits : bits | 0x80000000u;
}

/// A block has a row: the threshold a byte at a time, then a share of the tokens in order for each thread.
__global__ void __launch_bounds__(select_threads) selectKernel(int32_t *position, const float *logits, int64_t sequence, int64_t keep) {
  __shared__ int counts[256], above[select_threads], equal[select_threads];
  __shared__ uint32_t found;
  __shared__ int left;
  int lane = threadIdx.x;
  logits += blockIdx.x * sequence, position += blockIdx.x * sequence;
  if (lane == 0)
    found = 0, left = int(keep);
  for (int shift = 24; shift >= 0; shift -= 8) {
    counts[lane] = 0;
    __syncthreads();
    uint32_t known = shift == 24 ? 0 : ~0u << (shift + 8), so_far = found;
    for (int64_t s = lane; s < sequence; s += select_threads)
      if (uint32_t order = orderOf(logits[s]); (order & known) == so_far)
        atomicAdd(&counts[order >> shift & 255], 1);
    __syncthreads();
    if (lane == 0) {
      uint32_t byte = 255;
      for (; counts[byte] < left; --byte)
        left -= counts[byte];
      found |= byte << shift;
    }
    __syncthreads();
  }
  int64_t share = (sequence + select_threads - 1) / select_threads, begin = min(lane * share, sequence), end = min(begin + share, sequence);
  int mine_above = 0, mine_equal = 0;
  for (int64_t s = begin; s < end; ++s) {
    uint32_t order = orderOf(logits[s]);
    mine_above += order > found, mine_equal += order == found;
  }
  above[lane] = mine_above, equal[lane] = mine_equal;
  __syncthreads();
  mine_above = mine_equal = 0; // of the threads before
  for (int before = 0; before < lane; ++before)
    mine_above += above[before], mine_equal += equal[before];
  for (int64_t s = begin; s < end; ++s) {
    uint32_t order = orderOf(logits[s]);
    bool kept = order > found || (order == found && mine_equal < left);
    position[s] = kept ? mine_above + min(mine_equal, left) : -1;
    mine_above += order > found, mine_equal += order == found;
  }
}

/// A block has a token: the row of x that it comes from or goes to, negative where it is not kept.
__device__ int64_t getRow(const int32_t *position, int64_t sequence, int64_t keep) {
  int64_t t = blockIdx.x;
  return position[t] < 0 ? -1 : t / sequence * keep + position[t];
}

template <typename T> __global__ void takeKernel(T *y, const T *x, const int32_t *position, int64_t sequence, int64_t keep, int64_t cols) {
  int64_t row = getRow(position, sequence, keep);
  if (row >= 0)
    for (int64_t c = threadIdx.x; c < cols; c += threads)
      y[row * cols + c] = x[blockIdx.x * cols + c];
}

template <typename T>
__global__ void putKernel(T *y, const T *x, const float *logits, const int32_t *position, int64_t sequence, int64_t keep, int64_t cols) {
  int64_t row = getRow(position, sequence, keep);
  float factor = logits ? sigmoid(logits[blockIdx.x]) : 1.0f;
  for (int64_t c = threadIdx.x; c < cols; c += threads)
    y[blockIdx.x * cols + c] = fromFloat<T>(row < 0 ? 0.0f : factor * toFloat(x[row * cols + c]));
}

template <typename T>
__global__ void putGradKernel(T *d_x, float *d_logits, const T *d_y, const T *x, const float *logits, const int32_t *position,
                              int64_t sequence, int64_t keep, int64_t cols) {
  __shared__ float shared[threads / 32];
  int64_t row = getRow(position, sequence, keep);
  float factor = sigmoid(logits[blockIdx.x]), product = 0;
  if (row >= 0)
    for (int64_t c = threadIdx.x; c < cols; c += threads) {
      float g = toFloat(d_y[blockIdx.x * cols + c]);
      product += g * toFloat(x[row * cols + c]);
      d_x[row * cols + c] = fromFloat<T>(g * factor);
    }
  product = blockSum<threads>(product, shared);
  if (threadIdx.x == 0)
    d_logits[blockIdx.x] = product * factor * (1.0f - factor);
}

/// softplus(r) - r where kept, which is softplus(-r).
__global__ void lossKernel(float *loss, const float *logits, const int32_t *position, int64_t rows, float scale) {
  __shared__ float shared[1024 / 32];
  float sum = 0;
  for (int64_t t = threadIdx.x; t < rows; t += 1024) {
    float r = position[t] < 0 ? logits[t] : -logits[t];
    sum += fmaxf(r, 0.0f) + log1pf(expf(-fabsf(r)));
  }
  sum = blockSum<1024>(sum, shared);
  if (threadIdx.x == 0)
    *loss = sum * scale;
}

__global__ void lossGradKernel(float *d_logits, const float *logits, const int32_t *position, int64_t rows, float scale) {
  int64_t t = int64_t(blockIdx.x) * threads + threadIdx.x;
  if (t < rows)
    d_logits[t] = position[t] < 0 ? scale * sigmoid(logits[t]) : -scale * sigmoid(-logits[t]);
}

} // namespace

extern "C" {

int32_t mg_mod_select(const MgLaunch *launch) {
  MG_ENTER(mg_mod_select);
  selectKernel<<<unsigned(launch->ints[number::batch]), select_threads, 0, streamOf(launch)>>>(
      operand<int32_t>(launch, at::position), operand<float>(launch, at::logits), launch->ints[number::sequence],
      launch->ints[number::keep]);
  return launched("mg_mod_select");
}

int32_t mg_mod_take(const MgLaunch *launch) {
  MG_ENTER(mg_mod_take);
  int64_t sequence = launch->ints[number::sequence], rows = launch->ints[number::batch] * sequence;
  return withElement(launch, "mg_mod_take", {at::y, at::x}, [&](auto element) {
    using T = decltype(element);
    takeKernel<<<unsigned(rows), threads, 0, streamOf(launch)>>>(operand<T>(launch, at::y), operand<T>(launch, at::x),
                                                                 operand<int32_t>(launch, at::position), sequence,
                                                                 launch->ints[number::keep], launch->ints[number::cols]);
    return launched("mg_mod_take");
  });
}

int32_t mg_mod_put(const MgLaunch *launch) {
  MG_ENTER(mg_mod_put);
  int64_t sequence = launch->ints[number::sequence], rows = launch->ints[number::batch] * sequence;
  return withElement(launch, "mg_mod_put", {at::y, at::x}, [&](auto element) {
    using T = decltype(element);
    putKernel<<<unsigned(rows), threads, 0, streamOf(launch)>>>(operand<T>(launch, at::y), operand<T>(launch, at::x),
                                                                operand<float>(launch, at::logits), operand<int32_t>(launch, at::position),
                                                                sequence, launch->ints[number::keep], launch->ints[number::cols]);
    return launched("mg_mod_put");
  });
}

int32_t mg_mod_put_grad(const MgLaunch *launch) {
  MG_ENTER(mg_mod_put_grad);
  int64_t sequence = launch->ints[number::sequence], rows = launch->ints[number::batch] * sequence;
  return withElement(launch, "mg_mod_put_grad", {at::d_x, at::d_y, at::x}, [&](auto element) {
    using T = decltype(element);
    putGradKernel<<<unsigned(rows), threads, 0, streamOf(launch)>>>(
        operand<T>(launch, at::d_x), operand<float>(launch, at::d_logits), operand<T>(launch, at::d_y), operand<T>(launch, at::x),
        operand<float>(launch, at::logits), operand<int32_t>(launch, at::position), sequence, launch->ints[number::keep],
        launch->ints[number::cols]);
    return launched("mg_mod_put_grad");
  });
}

int32_t mg_mod_loss(const MgLaunch *launch) {
  MG_ENTER(mg_mod_loss);
  lossKernel<<<1, 1024, 0, streamOf(launch)>>>(operand<float>(launch, at::loss), operand<float>(launch, at::logits),
                                               operand<int32_t>(launch, at::position), launch->ints[number::rows],
                                               float(launch->doubles[real::aux] / double(launch->ints[number::tokens])));
  return launched("mg_mod_loss");
}

int32_t mg_mod_loss_grad(const MgLaunch *launch) {
  MG_ENTER(mg_mod_loss_grad);
  int64_t rows = launch->ints[number::rows];
  lossGradKernel<<<unsigned(blocksOf(rows, threads)), threads, 0, streamOf(launch)>>>(
      operand<float>(launch, at::d_logits), operand<float>(launch, at::logits), operand<int32_t>(launch, at::position), rows,
      float(launch->doubles[real::scale]));
  return launched("mg_mod_loss_grad");
}
}
