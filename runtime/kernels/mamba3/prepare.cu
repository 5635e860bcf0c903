// What every chunk of the Mamba-3 scan reads, computed once a launch: padded parameters, B and C after their norm, steps and decays of the
// heads, and the rotation of every token by its summed angles.
#include "runtime/kernels/mamba3/CudaScan.cuh"

#include <algorithm>

namespace megacc::cuda::mamba3 {

using namespace megacc::runtime;

int32_t readShape(const MgLaunch *launch, const char *kernel, const uint8_t *types, int first_parameter, Shape &s) {
  namespace number = number_mg_mamba3_scan;
  auto value = [&](int which) { return int(launch->ints[which]); };
  s.batch = value(number::batch), s.sequence = value(number::sequence), s.heads = value(number::heads), s.groups = value(number::groups);
  s.rank = value(number::rank), s.head_dim = value(number::head_dim), s.state = value(number::state), s.angles = value(number::angles);
  s.window = value(number::window), s.heavy = value(number::heavy), s.mimo = value(number::mimo), s.norm = value(number::out_norm);
  s.eps = float(launch->doubles[real_mg_mamba3_scan::eps]);
  if (s.rank > 8 || s.head_dim > 128 || s.state > 128 || s.state % 2)
    return mg_fail("%s: rank %d, head_dim %d, state %d; at most 8, 128 and 128 (even)", kernel, s.rank, s.head_dim, s.state);
  auto parameter = [&](int index) {
    return Parameter{launch->operands[first_parameter + index], types[first_parameter + index] == MG_BF16};
  };
  s.dt_bias = parameter(0), s.skip = parameter(1);
  for (int which : {0, 1})
    s.bias[which] = parameter(2 + which), s.norm_weight[which] = parameter(4 + which);
  int parts = 6;
  if (s.mimo)
    for (Parameter &mimo : s.mimo_parameters)
      mimo = parameter(parts++);
  if (s.norm)
    s.out_norm = parameter(parts++);
  s.cut = nullptr;
  if (parts < value(number::parts)) {
    if (types[first_parameter + parts] != MG_F32)
      return mg_fail("%s: the cut of the decay has type %d, expected f32 (%d)", kernel, int(types[first_parameter + parts]), int(MG_F32));
    s.cut = static_cast<const float *>(launch->operands[first_parameter + parts++]);
  }
  if (parts != value(number::parts))
    return mg_fail("%s: %d parameters, expected %d", kernel, value(number::parts), parts);

  s.P = s.head_dim > 64 ? 128 : 64;
  s.N = s.state > 64 || s.P == 128 ? 128 : 64;
  s.R = s.rank > 4 ? 8 : s.rank > 1 ? 4 : 1;
  s.A = (s.angles + 7) / 8 * 8;
  s.chunk = rows / s.R, s.chunks = (s.sequence + s.chunk - 1) / s.chunk;
  s.windows = (s.sequence + s.window - 1) / s.window;
  if (s.window % s.chunk || s.window > max_window)
    return mg_fail("%s: windows of %d tokens; at most %d, a multiple of its chunk of %d", kernel, s.window, max_window, s.chunk);
  s.group_heads = s.heads / s.groups;
  int inner = s.heads * s.head_dim;
  s.column_x = inner, s.column_key[0] = 2 * inner, s.column_key[1] = s.column_key[0] + s.keyColumns();
  s.column_dt = s.column_key[1] + s.keyColumns(), s.column_decay = s.column_dt + s.heads, s.column_trap = s.column_decay + s.heads;
  s.column_angle = s.column_trap + s.heads, s.width = s.column_angle + s.angles;
  s.paired = (s.head_dim | s.width) % 2 == 0;
  s.packed = s.mimo && s.state == s.N && (s.width | inner) % 4 == 0;
  return 0;
}

void takeTables(Shape &s, Scratch &scratch) {
  int64_t tokens = int64_t(s.batch) * s.sequence, vectors = int64_t(s.heads) * s.R;
  s.norm_weights = scratch.take<float>(2 * s.N), s.biases = scratch.take<__half>(2 * vectors * s.N);
  for (float **values : {&s.psi, &s.zeta, &s.phi})
    *values = scratch.take<float>(vectors * s.P);
  s.out_norms = scratch.take<float>(int64_t(s.heads) * s.P);
  s.keys = scratch.take<__half>(2 * tokens * s.groups * s.R * s.N);
  s.turn = scratch.take<float>(tokens * s.A);
  for (float **values : {&s.decay, &s.gamma, &s.weight, &s.delta})
    *values = scratch.take<float>(tokens * s.heads);
  s.rotation = scratch.take<uint2>(tokens * s.heads * s.A / 2);
}

namespace {

__device__ float softplus(float v) { return fmaxf(v, 0.0f) + log1pf(__expf(-fabsf(v))); }

/// One block per head.
__global__ void prepareParameters(Shape s) {
  int h = blockIdx.x;
  for (int which = 0; which < 2; ++which) {
    for (int i = threadIdx.x; i < s.R * s.N; i += blockDim.x) {
      int r = i / s.N, n = s.outside(i % s.N);
      s.biases[(int64_t(which) * s.heads + h) * s.R * s.N + i] =
          __float2half(n >= 0 && r < s.rank ? s.bias[which].at((int64_t(h) * s.rank + r) * s.state + n) : 0.0f);
    }
    if (h == 0)
      for (int place = threadIdx.x; place < s.N; place += blockDim.x) {
        int n = s.outside(place);
        s.norm_weights[which * s.N + place] = n >= 0 ? s.norm_weight[which].at(n) : 0.0f;
      }
  }
  float *padded[3] = {s.psi, s.zeta, s.phi};
  for (int which = 0; which < 3; ++which)
    for (int i = threadIdx.x; i < s.R * s.P; i += blockDim.x) {
      int r = i / s.P, p = i % s.P;
      bool valid = r < s.rank && p < s.head_dim;
      padded[which][int64_t(h) * s.R * s.P + i] = !valid   ? 0.0f
                                                  : s.mimo ? s.mimo_parameters[which].at((int64_t(h) * s.rank + r) * s.head_dim + p)
                                                           : 1.0f;
    }
  for (int p = threadIdx.x; p < s.P; p += blockDim.x)
    s.out_norms[h * s.P + p] = p >= s.head_dim ? 0.0f : s.norm ? s.out_norm.at(int64_t(h) * s.head_dim + p) : 1.0f;
}

/// Blocks for B or C of a batch row.
__host__ __device__ int keyBlocks(const Shape &s) { return (s.sequence * s.R + walk_warps - 1) / walk_warps; }

/// One warp per rank of a token: the RMS norms of its vectors of B or C, one per group. Lanes take neighbouring places.
template <int N> __device__ void prepareKeys(const Shape &s, int block) {
  constexpr int own = N / 32;
  int blocks = keyBlocks(s), lane = threadIdx.x & 31, vector = block % blocks * walk_warps + threadIdx.x / 32;
  int which = block / blocks % 2, b = block / blocks / 2;
  if (vector >= s.sequence * s.R)
    return;
  int r = vector % s.R, t = vector / s.R, channel[own];
  float weight[own];
#pragma unroll
  for (int k = 0; k < own; ++k) {
    channel[k] = r < s.rank ? s.outside(lane * own + k) : -1;
    weight[k] = channel[k] >= 0 ? s.norm_weights[which * N + lane * own + k] : 0.0f;
  }
  const bf16 *from = s.row(b, t) + s.column_key[which] + r * s.groups * s.state;
  __half *to = s.keys + ((int64_t(which) * s.batch + b) * s.groups * s.sequence * s.R + vector) * N + keyPlace<N>(lane * own);
  bool packed = s.packed && r < s.rank;
#pragma unroll 2
  for (int g = 0; g < s.groups; ++g) {
    float values[own], squares = 0;
    readChannels<own>(packed, from + g * s.state, channel, values);
#pragma unroll
    for (int k = 0; k < own; ++k)
      squares += values[k] * values[k];
    float scale = rsqrtf(warpSum(squares) / float(s.state) + s.eps);
    __half2 result[own / 2];
#pragma unroll
    for (int k = 0; k < own; k += 2)
      result[k / 2] = __floats2half2_rn(values[k] * scale * weight[k], values[k + 1] * scale * weight[k + 1]);
    if constexpr (own == 4)
      *reinterpret_cast<uint2 *>(to + int64_t(g) * s.sequence * s.R * N) = *reinterpret_cast<uint2 *>(result);
    else
      *reinterpret_cast<__half2 *>(to + int64_t(g) * s.sequence * s.R * N) = result[0];
  }
}

__global__ void prepareTurns(Shape s) {
  int64_t i = int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i >= int64_t(s.batch) * s.sequence * s.A)
    return;
  int64_t t = i / s.A;
  int j = i % s.A;
  s.turn[i] = j < s.angles ? tanhf(__bfloat162float(s.projection[t * s.width + s.column_angle + j])) : 0.0f;
}

__device__ float wrap(float angle) {
  const float cycle = 6.28318530717958647692f;
  return fmaf(-cycle, rintf(angle * (1.0f / cycle)), angle);
}

__device__ float2 wrap(float2 angles) { return {wrap(angles.x), wrap(angles.y)}; }

/// One block per head of a batch row: its scalars, then its angles, summed over spans of tokens. A lane takes `Own` pairs of angles.
template <int Own> __device__ void prepareHead(const Shape &s, int block) {
  __shared__ float2 span_sum[walk_spans][32];
  __shared__ int span_starts[walk_spans];
  int h = block % s.heads, b = block / s.heads, lane = threadIdx.x & 31, member = lane % 16, span_index = threadIdx.x / 16;
  int64_t first = s.token(b, h, 0);
  float step_bias = s.dt_bias.at(h);
  auto step = [&](int t) { return softplus(__bfloat162float(s.row(b, t)[s.column_dt + h]) + step_bias); };
  auto keep = [&](int t) { return sigmoid(__bfloat162float(s.row(b, t)[s.column_trap + h])); };
  for (int t = threadIdx.x; t < s.sequence; t += blockDim.x) {
    float v = __bfloat162float(s.row(b, t)[s.column_decay + h]), delta = step(t), lambda = keep(t), gamma = lambda * delta;
    float rate = s.heavy ? (v >= 0.0f ? 1.0f + v : 1.0f / (1.0f - v)) : softplus(v);
    bool last = t + 1 == s.sequence || s.startsDocument(b, t + 1);
    s.delta[first + t] = delta, s.gamma[first + t] = gamma;
    s.weight[first + t] = gamma + (last ? 0.0f : (1.0f - keep(t + 1)) * step(t + 1));
    float cut = s.cut ? s.cut[(int64_t(b) * s.sequence + t) * s.heads + h] : 0.0f;
    s.decay[first + t] = s.startsDocument(b, t) ? -INFINITY : fminf(-rate, -1e-4f) * delta * 1.44269504f - cut * 1.44269504f;
  }
  if (s.A == 0)
    return;
  __syncthreads();
  int span = (s.sequence + walk_spans - 1) / walk_spans, begin = min(s.sequence, span_index * span), end = min(s.sequence, begin + span);
  int any_start = 0, all_pairs = s.A / 2;
  const float2 *turn = reinterpret_cast<const float2 *>(s.turn) + int64_t(b) * s.sequence * all_pairs;
  // Sums the turns of a pair of angles over the span; steps and starts of 16 tokens at a time, one a lane. visit may wrap the sums.
  auto walk = [&](int pair, float2 sum, auto &&visit) {
    for (int low = begin; low < begin + span; low += 16) {
      int mine = low + member;
      float step = mine < end ? 3.14159265f * s.delta[first + mine] : 0.0f;
      uint32_t starts = __ballot_sync(0xffffffff, mine < end && isinf(s.decay[first + mine])) >> (lane & 16);
      any_start |= starts & 0xffff;
#pragma unroll 8
      for (int i = 0; i < 16; ++i) {
        float2 angles = low + i < end ? __ldg(turn + int64_t(low + i) * all_pairs + pair) : float2{};
        float own_step = __shfl_sync(0xffffffff, step, i, 16);
        bool starts_here = starts >> i & 1;
        sum = {fmaf(angles.x, own_step, starts_here ? 0.0f : sum.x), fmaf(angles.y, own_step, starts_here ? 0.0f : sum.y)};
        visit(low + i, sum);
      }
      sum = wrap(sum);
    }
    return sum;
  };
#pragma unroll
  for (int k = 0; k < Own; ++k) {
    int pair = min(member + 16 * k, all_pairs - 1);
    span_sum[span_index][pair] = walk(pair, {}, [](int, float2) {});
  }
  if (member == 0)
    span_starts[span_index] = any_start;
  __syncthreads();
#pragma unroll
  for (int k = 0; k < Own; ++k) {
    int pair = min(member + 16 * k, all_pairs - 1);
    float2 sum = {};
    for (int before = 0; before < span_index; ++before) {
      float2 more = span_sum[before][pair];
      sum = span_starts[before] ? more : float2{sum.x + more.x, sum.y + more.y};
    }
    uint2 *to = s.rotation + first * all_pairs + pair;
    walk(pair, wrap(sum), [&](int t, float2 &angles) {
      angles = wrap(angles);
      float2 sine, cosine;
      __sincosf(angles.x, &sine.x, &cosine.x), __sincosf(angles.y, &sine.y, &cosine.y);
      __half2 cosines = __floats2half2_rn(cosine.x, cosine.y), sines = __floats2half2_rn(sine.x, sine.y);
      if (t < end)
        to[int64_t(t) * all_pairs] = {reinterpret_cast<uint32_t &>(cosines), reinterpret_cast<uint32_t &>(sines)};
    });
  }
}

/// Heads wait for memory and keys for its bandwidth, so they share a launch.
template <int N, int Own> __global__ void __launch_bounds__(walk_warps * 32, 2) prepareHeadsAndKeys(Shape s) {
  int heads = s.heads * s.batch;
  if (int(blockIdx.x) < heads)
    prepareHead<Own>(s, blockIdx.x);
  else
    prepareKeys<N>(s, blockIdx.x - heads);
}

} // namespace

int32_t prepare(const Shape &s, cudaStream_t stream) {
  int64_t turns = int64_t(s.batch) * s.sequence * s.A;
  prepareParameters<<<s.heads, 256, 0, stream>>>(s);
  if (int32_t status = checkCuda("mamba3: parameters"))
    return status;
  if (turns)
    prepareTurns<<<(turns + 255) / 256, 256, 0, stream>>>(s);
  if (int32_t status = checkCuda("mamba3: angles"))
    return status;
  auto kernel = s.A > 32 ? prepareHeadsAndKeys<128, 2> : s.N == 128 ? prepareHeadsAndKeys<128, 1> : prepareHeadsAndKeys<64, 1>;
  kernel<<<s.batch *(s.heads + 2 * keyBlocks(s)), walk_warps * 32, 0, stream>>>(s);
  return checkCuda("mamba3: heads and keys");
}

} // namespace megacc::cuda::mamba3
