// The M2RNN recurrence, conventions section 9: per batch row and head, with a state h[key, value],
//   z = tanh(h W + k v^T), h <- f h + (1-f) z, y = h^T q, f = exp(-exp(A_log) softplus(f_in + dt_bias)).
// Rows of h never meet but in y. A tile is one batch row and head.
#pragma once
#include "runtime/cuda/Device.cuh"
#include "runtime/cuda/Documents.cuh"

namespace megacc::runtime::cuda::m2rnn {

/// Sizes of the fast kernels: a window of tokens is as long as the interval between stored states.
inline constexpr int fast_key = 64, fast_value = 16, window = 16;

struct Sizes {
  int batch, sequence, heads, key, value, interval;
  __host__ __device__ int tiles() const { return batch * heads; }
  __host__ __device__ int blocks() const { return (sequence + interval - 1) / interval; }
  /// Shares of d_q and d_k come in groups of eight tokens, whole windows of them.
  __host__ __device__ int groups() const { return (sequence + window - 1) / window * (window / 8); }
  bool isFast(uint8_t type) const { return type == MG_BF16 && key == fast_key && value == fast_value && interval == window; }
  /// Warps that leave a part of d_state_weight each.
  int weightParts(uint8_t type) const { return isFast(type) ? fast_key / 16 : 1; }
};

template <typename T> struct Inputs {
  const T *q, *k, *v, *f, *weight;
  const float *a_log, *dt_bias;
  const int32_t *documents;
};

/// f = keep, 1 - f = take (from the exponent: f may be close to 1), the exponent, and its slope by f_in.
struct Decay {
  __device__ Decay(float f_in, float rate, float dt_bias) {
    float x = f_in + dt_bias, e = expf(-fabsf(x));
    exponent = rate * (fmaxf(x, 0.0f) + log1pf(e));
    keep = expf(-exponent);
    take = -expm1f(-exponent);
    slope = rate * (x >= 0 ? 1.0f : e) / (1.0f + e);
  }
  float exponent, keep, take, slope;
};

/// What the gradient leaves in scratch: shares[tile, groups, key, 8] of d_q and d_k, weight[tile, parts, value, value] of d_state_weight,
/// and sums[tile, 2] of d_a_log and d_dt_bias.
template <typename T> struct Shares {
  T *q, *k;
  float *weight, *sums;
};

/// y and states may be null.
int32_t scanFast(const MgLaunch *launch, const Sizes &size, const Inputs<bf16> &in, bf16 *y, bf16 *states);
int32_t scanGradFast(const MgLaunch *launch, const Sizes &size, const Inputs<bf16> &in, const bf16 *d_y, const bf16 *states, bf16 *d_v,
                     bf16 *d_f, const Shares<bf16> &shares);

} // namespace megacc::runtime::cuda::m2rnn
