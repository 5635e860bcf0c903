// What follows the gradients of the chunks: sums over chunks, batch rows and heads, each in a fixed order, and the gradients of steps,
// decays, angles and of the norms of B and C.
#include "runtime/kernels/mamba3/CudaFinish.cuh"

namespace megacc::cuda::mamba3 {
namespace {

/// One thread per number: its sum over the chunks of a head; the first batch row overwrites.
__global__ void sumChunks(Shape s, const float *partial, int first_head, bool adds, float *sums) {
  int i = blockIdx.x * blockDim.x + threadIdx.x, count = parameterFloats(s);
  if (i >= count)
    return;
  const float *from = partial + int64_t(blockIdx.y) * s.chunks * count + i;
  float sum = 0;
#pragma unroll 8
  for (int c = 0; c < s.chunks; ++c)
    sum += from[int64_t(c) * count];
  float &to = sums[int64_t(first_head + blockIdx.y) * count + i];
  to = adds ? to + sum : sum;
}

/// One block per head of a batch row. d_turn holds what the rotation of each token contributes to its summed angles, d_summed becomes the
/// gradient of tanh(angle) through this head. A lane takes `Own` pairs of angles.
template <int Own>
__global__ void __launch_bounds__(walk_warps * 32)
    finishHeads(Shape s, TokenGradients to, bf16 *d_projection, float *d_dt_bias, float *d_cut) {
  __shared__ float2 span_sum[walk_spans][32];
  __shared__ float warp_sums[walk_warps];
  __shared__ int span_starts[walk_spans];
  int h = blockIdx.x, b = blockIdx.y, lane = threadIdx.x & 31, warp = threadIdx.x / 32, member = lane % 16, span_index = threadIdx.x / 16;
  int64_t first = s.token(b, h, 0);
  int span = (s.sequence + walk_spans - 1) / walk_spans, begin = min(s.sequence, span_index * span), end = min(s.sequence, begin + span);
  int all_pairs = s.A / 2, any_start = 0;
  const float2 *d_turn = reinterpret_cast<const float2 *>(to.d_turn) + first * all_pairs;
  float2 *d_summed = reinterpret_cast<float2 *>(to.d_summed) + first * all_pairs;
  const float2 *turn = reinterpret_cast<const float2 *>(s.turn) + int64_t(b) * s.sequence * all_pairs;
  // From the last token to the first, 8 at a time: visit(i, token, whether a document starts there). A token before the span is skipped.
  auto walk = [&](auto &&visit, auto &&after) {
    for (int last = end; last > end - span; last -= 8) {
      int mine = last - 1 - member % 8;
      uint32_t starts = __ballot_sync(0xffffffff, mine >= begin && isinf(s.decay[first + max(mine, 0)])) >> (lane & 16);
      any_start |= starts & 0xff;
#pragma unroll
      for (int i = 0; i < 8; ++i)
        visit(i, last - 1 - i, starts >> i & 1);
      after(last);
    }
  };
  float2 sums[Own] = {};
  walk(
      [&](int, int t, bool starts) {
#pragma unroll
        for (int k = 0; k < Own; ++k) {
          int pair = member + 16 * k;
          float2 d = t >= begin && pair < all_pairs ? __ldcg(d_turn + int64_t(t) * all_pairs + pair) : float2{};
          sums[k] = starts ? float2{} : float2{sums[k].x + d.x, sums[k].y + d.y};
        }
      },
      [](int) {});
#pragma unroll
  for (int k = 0; k < Own; ++k)
    span_sum[span_index][member + 16 * k] = sums[k];
  if (member == 0)
    span_starts[span_index] = any_start;
  __syncthreads();
#pragma unroll
  for (int k = 0; k < Own; ++k) {
    sums[k] = {};
    for (int after = walk_spans - 1; after > span_index; --after) {
      float2 more = span_sum[after][member + 16 * k];
      sums[k] = span_starts[after] ? more : float2{sums[k].x + more.x, sums[k].y + more.y};
    }
  }
  float steps[8];
  walk(
      [&](int i, int t, bool starts) {
        float delta = 3.14159265f * s.delta[first + max(t, 0)];
        steps[i] = 0;
#pragma unroll
        for (int k = 0; k < Own; ++k) {
          int pair = member + 16 * k;
          if (t >= begin && pair < all_pairs) {
            float2 d = __ldcg(d_turn + int64_t(t) * all_pairs + pair), turned = __ldg(turn + int64_t(t) * all_pairs + pair);
            sums[k] = {sums[k].x + d.x, sums[k].y + d.y};
            steps[i] += 3.14159265f *
                        ((2 * pair < s.angles ? turned.x * sums[k].x : 0.0f) + (2 * pair + 1 < s.angles ? turned.y * sums[k].y : 0.0f));
            d_summed[int64_t(t) * all_pairs + pair] = {delta * sums[k].x, delta * sums[k].y};
          }
          if (starts)
            sums[k] = {};
        }
      },
      // Sums over the 16 lanes: two of them end with each token's.
      [&](int last) {
#pragma unroll
        for (int count = 4, offset = 8; count; count >>= 1, offset >>= 1)
#pragma unroll
          for (int i = 0; i < count; ++i) {
            bool upper = lane & offset;
            steps[i] =
                select(upper, steps[i + count], steps[i]) + __shfl_xor_sync(0xffffffff, select(upper, steps[i], steps[i + count]), offset);
          }
        float step = steps[0] + __shfl_xor_sync(0xffffffff, steps[0], 1);
        int t = last - 1 - member / 2;
        if (member % 2 == 0 && t >= begin)
          to.d_delta[first + t] = step;
      });
  __syncthreads();
  float d_bias = 0, step_bias = s.dt_bias.at(h);
  for (int t = threadIdx.x; t < s.sequence; t += blockDim.x) {
    const bf16 *row = s.row(b, t);
    bf16 *d_row = d_projection + (int64_t(b) * s.sequence + t) * s.width;
    int64_t at = first + t;
    float lambda = sigmoid(__bfloat162float(row[s.column_trap + h])), delta = s.delta[at], v = __bfloat162float(row[s.column_decay + h]);
    float rate = s.heavy ? (v >= 0.0f ? 1.0f + v : 1.0f / (1.0f - v)) : fmaxf(v, 0.0f) + log1pf(__expf(-fabsf(v)));
    float slope = s.heavy ? (v >= 0.0f ? 1.0f : rate * rate) : sigmoid(v);
    float current = to.d_weight[at] + to.d_gamma[at], previous = s.startsDocument(b, t) ? 0.0f : to.d_weight[at - 1];
    float d_delta = current * lambda + previous * (1.0f - lambda) + to.d_delta[at] - fmaxf(rate, 1e-4f) * to.d_decay[at];
    float d_dt = d_delta * sigmoid(__bfloat162float(row[s.column_dt + h]) + step_bias);
    d_bias += d_dt;
    d_row[s.column_dt + h] = __float2bfloat16(d_dt);
    d_row[s.column_decay + h] = __float2bfloat16(rate >= 1e-4f ? -slope * delta * to.d_decay[at] : 0.0f);
    d_row[s.column_trap + h] = __float2bfloat16(delta * (current - previous) * lambda * (1.0f - lambda));
    if (d_cut)
      d_cut[(int64_t(b) * s.sequence + t) * s.heads + h] = -to.d_decay[at];
  }
  d_bias = warpSum(d_bias);
  if (lane == 0)
    warp_sums[warp] = d_bias;
  __syncthreads();
  if (warp == 0) {
    d_bias = warpSum(warp_sums[lane]);
    if (lane == 0)
      d_dt_bias[b * s.heads + h] = d_bias;
  }
}

/// One thread an angle of a token: its gradient summed over heads.
__global__ void finishAngles(Shape s, const float *d_summed, bf16 *d_projection) {
  int i = blockIdx.x * blockDim.x + threadIdx.x, b = blockIdx.y;
  if (i >= s.sequence * s.A || i % s.A >= s.angles)
    return;
  float sum = 0, turn = s.turn[int64_t(b) * s.sequence * s.A + i];
#pragma unroll 8
  for (int h = 0; h < s.heads; ++h)
    sum += __ldg(d_summed + s.token(b, h, 0) * s.A + i);
  d_projection[(int64_t(b) * s.sequence + i / s.A) * s.width + s.column_angle + i % s.A] = __float2bfloat16(sum * (1.0f - turn * turn));
}

/// One block per tile of tokens: gradients of B and C before their norms; warps take vectors, lanes neighbouring places. partial[tiles, 2,
/// N]: the shares of the gradients of the norms.
template <int N>
__global__ void __launch_bounds__(block_threads) finishKeys(Shape s, const float *d_keys, bf16 *d_projection, float *partial) {
  constexpr int own = N / 32;
  __shared__ float sums[block_warps][2][N];
  int lane = threadIdx.x & 31, warp = threadIdx.x / 32;
  int tokens = s.batch * s.sequence, first = blockIdx.x * token_tile, vectors = s.rank * s.groups;
  int channel[own];
#pragma unroll
  for (int k = 0; k < own; ++k)
    channel[k] = s.outside(lane * own + k);
  for (int which = 0; which < 2; ++which) {
    float weight[own], d_weight[own] = {};
#pragma unroll
    for (int k = 0; k < own; ++k)
      weight[k] = s.norm_weights[which * N + lane * own + k];
#pragma unroll 4
    for (int i = warp; i < token_tile * vectors; i += block_warps) {
      int token = first + i / vectors;
      if (token >= tokens)
        break;
      int v = i % vectors, r = v / s.groups, g = v % s.groups, b = token / s.sequence, t = token % s.sequence;
      const float *from = d_keys + ((((int64_t(which) * s.batch + b) * s.groups + g) * s.sequence + t) * s.R + r) * N + lane * own;
      int64_t at = int64_t(token) * s.width + s.column_key[which] + v * s.state;
      float key[own], d[own], squares = 0, products = 0;
      readChannels<own>(s.packed, s.projection + at, channel, key);
#pragma unroll
      for (int k = 0; k < own; k += 2) {
        float2 pair = load<float2>(from + k);
        d[k] = pair.x, d[k + 1] = pair.y;
      }
#pragma unroll
      for (int k = 0; k < own; ++k)
        squares += key[k] * key[k], products += d[k] * weight[k] * key[k];
      float scale = rsqrtf(warpSum(squares) / float(s.state) + s.eps), shift = warpSum(products) * scale * scale / float(s.state);
      alignas(8) bf16 result[own];
#pragma unroll
      for (int k = 0; k < own; ++k)
        d_weight[k] += d[k] * key[k] * scale, result[k] = __float2bfloat16(scale * (d[k] * weight[k] - key[k] * shift));
      if (s.packed && own == 4)
        *reinterpret_cast<uint2 *>(d_projection + at + channel[0]) = *reinterpret_cast<uint2 *>(result);
      else
#pragma unroll
        for (int k = 0; k < own; ++k)
          if (channel[k] >= 0)
            d_projection[at + channel[k]] = result[k];
    }
#pragma unroll
    for (int k = 0; k < own; ++k)
      sums[warp][which][lane * own + k] = d_weight[k];
  }
  __syncthreads();
  for (int i = threadIdx.x; i < 2 * N; i += blockDim.x) {
    float sum = 0;
    for (int w = 0; w < block_warps; ++w)
      sum += sums[w][i / N][i % N];
    partial[int64_t(blockIdx.x) * 2 * N + i] = sum;
  }
}

/// One block a channel: its sum over tiles.
__global__ void finishNorms(Shape s, const float *partial, int64_t tiles, ParameterGradients to) {
  __shared__ float sums[block_warps];
  int which = blockIdx.x / s.N, place = blockIdx.x % s.N, channel = s.outside(place);
  float sum = 0;
  for (int64_t tile = threadIdx.x; tile < tiles; tile += blockDim.x)
    sum += partial[(tile * 2 + which) * s.N + place];
  sum = warpSum(sum);
  if ((threadIdx.x & 31) == 0)
    sums[threadIdx.x / 32] = sum;
  __syncthreads();
  if (threadIdx.x == 0 && channel >= 0) {
    for (int w = 1; w < block_warps; ++w)
      sums[0] += sums[w];
    to.norm_weight[which][channel] = sums[0];
  }
}

/// One block per head.
__global__ void finishParameters(Shape s, const float *sums, const float *d_dt_bias, ParameterGradients to) {
  int h = blockIdx.x;
  const float *from = sums + int64_t(h) * parameterFloats(s), *rest = from + 2 * s.R * s.N;
  for (int i = threadIdx.x; i < 2 * s.rank * s.state; i += blockDim.x) {
    int which = i / (s.rank * s.state), r = i / s.state % s.rank, n = i % s.state;
    to.bias[which][(int64_t(h) * s.rank + r) * s.state + n] = from[(which * s.R + r) * s.N + s.inside(n)];
  }
  for (int i = threadIdx.x; s.mimo && i < s.rank * s.head_dim; i += blockDim.x)
    for (int which = 0; which < 3; ++which)
      to.mimo[which][int64_t(h) * s.rank * s.head_dim + i] = rest[(which * s.R + i / s.head_dim) * s.P + i % s.head_dim];
  rest += 3 * s.R * s.P;
  for (int p = threadIdx.x; s.norm && p < s.head_dim; p += blockDim.x)
    to.out_norm[h * s.head_dim + p] = rest[p];
  if (threadIdx.x == 0) {
    to.skip[h] = rest[s.P];
    float sum = 0;
    for (int b = 0; b < s.batch; ++b)
      sum += d_dt_bias[b * s.heads + h];
    to.dt_bias[h] = sum;
  }
}

} // namespace

int32_t sumPartials(const Shape &s, const float *partial, int first_head, int heads, bool adds, float *sums, cudaStream_t stream) {
  sumChunks<<<dim3((parameterFloats(s) + 127) / 128, heads), 128, 0, stream>>>(s, partial, first_head, adds, sums);
  return checkCuda("mamba3: sums over chunks");
}

int32_t finish(const Shape &s, const Finish &f, cudaStream_t stream) {
  int64_t tiles = (int64_t(s.batch) * s.sequence + token_tile - 1) / token_tile;
  (s.A > 32 ? finishHeads<2> : finishHeads<1>)<<<dim3(s.heads, s.batch), walk_warps * 32, 0, stream>>>(s, f.tokens, f.d_projection,
                                                                                                       f.d_dt_bias, f.parameters.cut);
  if (int32_t status = checkCuda("mamba3: gradients of heads"))
    return status;
  if (s.angles)
    finishAngles<<<dim3((s.sequence * s.A + 255) / 256, s.batch), 256, 0, stream>>>(s, f.tokens.d_summed, f.d_projection);
  (s.N == 128 ? finishKeys<128> : finishKeys<64>)<<<tiles, block_threads, 0, stream>>>(s, f.d_keys, f.d_projection, f.norm_partial);
  if (int32_t status = checkCuda("mamba3: gradients of B and C"))
    return status;
  finishNorms<<<2 * s.N, block_threads, 0, stream>>>(s, f.norm_partial, tiles, f.parameters);
  finishParameters<<<s.heads, 256, 0, stream>>>(s, f.sums, f.d_dt_bias, f.parameters);
  return checkCuda("mamba3: gradients of parameters");
}

} // namespace megacc::cuda::mamba3
