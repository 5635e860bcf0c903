// The last steps of the Mamba-3 scan's backward.
#pragma once
#include "runtime/kernels/mamba3/CudaScan.cuh"

namespace megacc::cuda::mamba3 {

/// Per token of every head: gradients of s, gamma and the decay, of the step through the angles, and [.., A] of the rotation and of the
/// summed angles.
struct TokenGradients {
  float *d_weight, *d_gamma, *d_decay, *d_delta, *d_turn, *d_summed;
};

/// The gradients of the parameters, null where there is none.
struct ParameterGradients {
  float *dt_bias, *skip, *bias[2], *norm_weight[2], *mimo[3], *out_norm;
  float *cut; // [batch, sequence, heads]
};

struct Finish {
  TokenGradients tokens;
  const float *d_keys;             // [2, batch, groups, sequence, R, N]
  const float *sums;               // [heads, parameterFloats]
  float *d_dt_bias, *norm_partial; // scratch [batch, heads], [tiles of tokens, 2, N]
  bf16 *d_projection;
  ParameterGradients parameters;
};

/// sums of some heads (+)= what the chunks of one batch row contribute.
int32_t sumPartials(const Shape &shape, const float *partial, int first_head, int heads, bool adds, float *sums, cudaStream_t stream);
/// Everything but the gradients of z and x.
int32_t finish(const Shape &shape, const Finish &finish, cudaStream_t stream);

} // namespace megacc::cuda::mamba3
