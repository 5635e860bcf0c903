// Between tokens and rows sorted by expert: copies of the tokens, sums of what the experts make of them (fp32, picks in order), and the
// weights of picks. Rows move in words of 16 bytes where their length allows.
#include "runtime/cuda/Launching.cuh"

using namespace megacc::runtime;
using namespace megacc::runtime::cuda;

namespace {

constexpr int threads = 128;
constexpr int batch = 4; // words that a thread loads before it stores the first

/// Some neighbouring channels: 8 in a word of 16 bytes, or one.
template <int width> struct Word;
template <> struct Word<8> {
  using Type = uint4;
  static __device__ void unpack(uint4 word, float (&value)[8]) {
    const Pack<bf16> pack = cuda::unpack(word, bf16());
#pragma unroll
    for (int i = 0; i < 8; ++i)
      value[i] = pack[i];
  }
  static __device__ uint4 pack(const float (&value)[8]) {
    return {pairOf(value[0], value[1]), pairOf(value[2], value[3]), pairOf(value[4], value[5]), pairOf(value[6], value[7])};
  }
};
template <> struct Word<1> {
  using Type = bf16;
  static __device__ void unpack(bf16 word, float (&value)[1]) { value[0] = __bfloat162float(word); }
  static __device__ bf16 pack(const float (&value)[1]) { return __float2bfloat16(value[0]); }
};

/// A block per token; `words` of a row.
template <int width>
__global__ void __launch_bounds__(threads)
    dispatch(typename Word<width>::Type *rows, const typename Word<width>::Type *x, const int32_t *position, const int32_t *offsets,
             int64_t tokens, int words, int kept, int experts) {
  const int64_t t = blockIdx.x;
  for (int first = threadIdx.x; first < words; first += threads * batch) {
    typename Word<width>::Type word[batch];
#pragma unroll
    for (int i = 0; i < batch; ++i)
      if (first + threads * i < words)
        word[i] = x[t * words + first + threads * i];
    for (int k = 0; k < kept; ++k)
      if (int64_t row = position[t * kept + k]; row >= 0)
#pragma unroll
        for (int i = 0; i < batch; ++i)
          if (first + threads * i < words)
            rows[row * words + first + threads * i] = word[i];
  }
  clearTail<typename Word<width>::Type>(rows, offsets[experts], tokens * kept, words, t * threads + threadIdx.x, tokens * threads);
}

template <int width>
__global__ void __launch_bounds__(threads) combine(typename Word<width>::Type *y, const typename Word<width>::Type *rows,
                                                   const int32_t *position, const typename Word<width>::Type *addend, int words, int kept) {
  const int64_t t = blockIdx.x;
  for (int j = threadIdx.x; j < words; j += threads) {
    float sum[width] = {};
    if (addend)
      Word<width>::unpack(addend[t * words + j], sum);
#pragma unroll 4
    for (int k = 0; k < kept; ++k) {
      const int64_t row = position[t * kept + k];
      if (row < 0)
        continue;
      float value[width];
      Word<width>::unpack(rows[row * words + j], value);
#pragma unroll
      for (int i = 0; i < width; ++i)
        sum[i] += value[i];
    }
    y[t * words + j] = Word<width>::pack(sum);
  }
}

__global__ void __launch_bounds__(threads)
    dispatchWeights(float *rows, const float *weights, const int32_t *position, const int32_t *offsets, int64_t picks, int experts) {
  const int64_t pick = int64_t(blockIdx.x) * threads + threadIdx.x;
  if (pick >= picks)
    return;
  if (const int32_t row = position[pick]; row >= 0)
    rows[row] = weights[pick];
  if (pick >= offsets[experts])
    rows[pick] = 0;
}

__global__ void __launch_bounds__(threads)
    dispatchWeightsGrad(float *d_weights, const float *d_rows, const int32_t *position, int64_t picks) {
  const int64_t pick = int64_t(blockIdx.x) * threads + threadIdx.x;
  if (pick < picks)
    d_weights[pick] = position[pick] < 0 ? 0.0f : d_rows[position[pick]];
}

/// Calls launch(std::integral_constant<int, width>()) with the widest words that rows of `cols` channels allow.
template <typename Launch> int32_t withWidth(const char *kernel, int64_t cols, Launch &&launch) {
  if (cols % 8 == 0)
    launch(std::integral_constant<int, 8>());
  else
    launch(std::integral_constant<int, 1>());
  return launched(kernel);
}

} // namespace

extern "C" {

int32_t mg_moe_dispatch(const MgLaunch *launch) {
  MG_ENTER(mg_moe_dispatch);
  MG_TYPE("mg_moe_dispatch", rows, MG_BF16);
  MG_TYPE("mg_moe_dispatch", x, MG_BF16);
  const int64_t tokens = launch->ints[number::tokens], cols = launch->ints[number::cols];
  return withWidth("mg_moe_dispatch", cols, [&](auto width) {
    using T = typename Word<width>::Type;
    dispatch<width><<<unsigned(tokens), threads, 0, streamOf(launch)>>>(
        operand<T>(launch, at::rows), operand<T>(launch, at::x), integers(launch, at::position), integers(launch, at::offsets), tokens,
        int(cols / width), int(launch->ints[number::kept]), int(launch->ints[number::experts]));
  });
}

int32_t mg_moe_combine(const MgLaunch *launch) {
  MG_ENTER(mg_moe_combine);
  MG_TYPE("mg_moe_combine", y, MG_BF16);
  MG_TYPE("mg_moe_combine", rows, MG_BF16);
  if (launch->operands[at::addend])
    MG_TYPE("mg_moe_combine", addend, MG_BF16);
  const int64_t tokens = launch->ints[number::tokens], cols = launch->ints[number::cols];
  return withWidth("mg_moe_combine", cols, [&](auto width) {
    using T = typename Word<width>::Type;
    combine<width><<<unsigned(tokens), threads, 0, streamOf(launch)>>>(operand<T>(launch, at::y), operand<T>(launch, at::rows),
                                                                       integers(launch, at::position), operand<T>(launch, at::addend),
                                                                       int(cols / width), int(launch->ints[number::kept]));
  });
}

int32_t mg_moe_dispatch_weights(const MgLaunch *launch) {
  MG_ENTER(mg_moe_dispatch_weights);
  const int64_t picks = launch->ints[number::picks];
  dispatchWeights<<<unsigned(blocksOf(picks, threads)), threads, 0, streamOf(launch)>>>(
      operand<float>(launch, at::rows), operand<float>(launch, at::weights), integers(launch, at::position), integers(launch, at::offsets),
      picks, int(launch->ints[number::experts]));
  return launched("mg_moe_dispatch_weights");
}

int32_t mg_moe_dispatch_weights_grad(const MgLaunch *launch) {
  MG_ENTER(mg_moe_dispatch_weights_grad);
  const int64_t picks = launch->ints[number::picks];
  dispatchWeightsGrad<<<unsigned(blocksOf(picks, threads)), threads, 0, streamOf(launch)>>>(
      operand<float>(launch, at::d_weights), operand<float>(launch, at::d_rows), integers(launch, at::position), picks);
  return launched("mg_moe_dispatch_weights_grad");
}
}
