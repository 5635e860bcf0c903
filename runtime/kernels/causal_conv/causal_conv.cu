// Depthwise causal convolution with an optional bias and silu, conventions 2 and 13.2: the last tap is the current token; what is before
// the row or in another document counts as zero. A thread walks along a tile of tokens with a few channels in registers.
#include "runtime/cuda/Documents.cuh"
#include "runtime/cuda/SumPartials.cuh"

using namespace megacc::runtime;
using namespace megacc::runtime::cuda;

namespace {

constexpr int threads = 128;
/// Tokens of a tile, forward and backward; lib/Kernels knows the second, and the most taps.
constexpr int forward_tile = 16, backward_tile = 32, most_taps = 16;

struct Sizes {
  int64_t batch, sequence, channels, taps;
  bool silu;
  __host__ __device__ int64_t tiles(int64_t tile) const { return batch * ((sequence + tile - 1) / tile); }
};

/// `width` neighbouring channels as they lie in memory.
template <typename T, int width> struct Few;
template <> struct Few<float, 1> {
  float raw;
  __device__ void widen(float (&to)[1]) const { to[0] = raw; }
  __device__ static Few narrow(const float (&from)[1]) { return {from[0]}; }
};
template <> struct Few<float, 2> {
  float2 raw;
  __device__ void widen(float (&to)[2]) const { to[0] = raw.x, to[1] = raw.y; }
  __device__ static Few narrow(const float (&from)[2]) { return {{from[0], from[1]}}; }
};
template <> struct Few<bf16, 1> {
  bf16 raw;
  __device__ void widen(float (&to)[1]) const { to[0] = toFloat(raw); }
  __device__ static Few narrow(const float (&from)[1]) { return {fromFloat<bf16>(from[0])}; }
};
template <> struct Few<bf16, 2> {
  uint32_t raw;
  __device__ void widen(float (&to)[2]) const { to[0] = __uint_as_float(raw << 16), to[1] = __uint_as_float(raw & 0xffff0000u); }
  __device__ static Few narrow(const float (&from)[2]) { return {pairOf(from[0], from[1])}; }
};

/// Tokens that a thread reads at a time, while it works on as many before.
constexpr int ahead = 4;

/// What a thread works on: its channels, the tokens [begin, end) of its tile, and the filter with the current token's tap first; taps that
/// the filter does not have are 0.
template <typename T, int width, int taps> struct Strip {
  using Piece = Few<T, width>;

  __device__ Strip(const Sizes &size, const T *x, const T *weight, const T *bias, const int32_t *ids, int tile_rows)
      : known(int(size.taps)) {
    uint32_t units = uint32_t(size.channels / width), index = blockIdx.x * threads + threadIdx.x;
    tile = index / units;
    channel = index % units * width;
    is_there = tile < size.tiles(tile_rows);
    if (!is_there)
      return;
    int in_row = int((size.sequence + tile_rows - 1) / tile_rows), sequence = int(size.sequence);
    begin = int(tile % in_row) * tile_rows;
    end = min(begin + tile_rows, sequence);
    last = sequence;
    documents = ids ? ids + int64_t(tile / in_row) * sequence : nullptr;
    offset = (int64_t(tile / in_row) * sequence + begin) * size.channels + channel;
    stride = size.channels / width;
    auto *from = reinterpret_cast<const Piece *>(x + offset);
#pragma unroll
    for (int j = 0; j < taps; ++j) {
      if (j < known - 1 && j < begin)
        from[-(j + 1) * stride].widen(window[j]);
      else
#pragma unroll
        for (int c = 0; c < width; ++c)
          window[j][c] = 0;
#pragma unroll
      for (int c = 0; c < width; ++c)
        factor[j][c] = j < known ? toFloat(weight[(channel + c) * known + known - 1 - j]) : 0.0f;
    }
#pragma unroll
    for (int c = 0; c < width; ++c)
      shift[c] = bias ? toFloat(bias[channel + c]) : 0.0f;
    count = begin > 0 ? int(countReach(documents, sequence, begin - 1, -1, known)) : 0;
  }

  /// Reads `ahead` tokens from t on, as far as they are before `stop`.
  __device__ void read(Piece (&to)[ahead], const T *tensor, int t, int stop) const {
    auto *from = reinterpret_cast<const Piece *>(tensor + offset);
#pragma unroll
    for (int i = 0; i < ahead; ++i)
      if (t + i < stop)
        to[i] = from[(t + i - begin) * stride];
  }

  /// Makes token t the newest of the window; `count` says how many tokens it sees, itself included.
  __device__ void advance(const Piece &value, int t) {
#pragma unroll
    for (int j = taps - 1; j > 0; --j)
#pragma unroll
      for (int c = 0; c < width; ++c)
        window[j][c] = window[j - 1][c];
    value.widen(window[0]);
    count = startsDocument(documents, t) ? 1 : min(count + 1, known);
  }

  __device__ void filter(float (&y)[width]) const {
#pragma unroll
    for (int c = 0; c < width; ++c) {
      y[c] = shift[c];
#pragma unroll
      for (int j = 0; j < taps; ++j)
        if (j < count)
          y[c] = fmaf(factor[j][c], window[j][c], y[c]);
    }
  }

  bool is_there;
  int known, tile, channel, begin, end, last, count;
  int64_t offset, stride;
  const int32_t *documents;
  float factor[taps][width], shift[width], window[taps][width];
};

template <typename T, int width, int taps>
__global__ void __launch_bounds__(threads) convKernel(T *__restrict__ y, const T *__restrict__ x, const T *__restrict__ weight,
                                                      const T *__restrict__ bias, const int32_t *__restrict__ ids, Sizes size) {
  using Piece = Few<T, width>;
  Strip<T, width, taps> strip(size, x, weight, bias, ids, forward_tile);
  if (!strip.is_there)
    return;
  auto *to = reinterpret_cast<Piece *>(y + strip.offset);
  Piece coming[ahead];
  strip.read(coming, x, strip.begin, strip.end);
  for (int start = strip.begin; start < strip.end; start += ahead) {
    Piece now[ahead];
#pragma unroll
    for (int i = 0; i < ahead; ++i)
      now[i] = coming[i];
    strip.read(coming, x, start + ahead, strip.end);
#pragma unroll
    for (int i = 0; i < ahead; ++i) {
      if (start + i >= strip.end)
        break;
      float out[width];
      strip.advance(now[i], start + i);
      strip.filter(out);
      if (size.silu)
#pragma unroll
        for (int c = 0; c < width; ++c)
          out[c] *= sigmoid(out[c]);
      *to = Piece::narrow(out);
      to += strip.stride;
    }
  }
}

/// Each token's gradient before the activation goes to the tokens it saw; the sums for weight and bias of a tile become a partial row.
template <typename T, int width, int taps>
__global__ void __launch_bounds__(threads)
    convGradKernel(T *__restrict__ d_x, float *__restrict__ partial_weight, float *__restrict__ partial_bias, const T *__restrict__ d_y,
                   const T *__restrict__ x, const T *__restrict__ weight, const T *__restrict__ bias, const int32_t *__restrict__ ids,
                   Sizes size) {
  using Piece = Few<T, width>;
  Strip<T, width, taps> strip(size, x, weight, bias, ids, backward_tile);
  if (!strip.is_there)
    return;
  float d_factor[taps][width] = {}, d_shift[width] = {}, pending[taps][width] = {};
  int lag = strip.known - 1, stop = min(strip.end + lag, strip.last);
  auto *to = reinterpret_cast<Piece *>(d_x + strip.offset);
  Piece coming_x[ahead], coming_y[ahead];
  strip.read(coming_x, x, strip.begin, stop);
  strip.read(coming_y, d_y, strip.begin, stop);
  // pending[j]: what token t - j has received so far. It is complete once token t - j + lag is through, or the row is over.
  for (int start = strip.begin; start < strip.end + lag; start += ahead) {
    Piece now_x[ahead], now_y[ahead];
#pragma unroll
    for (int i = 0; i < ahead; ++i)
      now_x[i] = coming_x[i], now_y[i] = coming_y[i];
    strip.read(coming_x, x, start + ahead, stop);
    strip.read(coming_y, d_y, start + ahead, stop);
#pragma unroll
    for (int i = 0; i < ahead; ++i) {
      int t = start + i;
#pragma unroll
      for (int j = taps - 1; j > 0; --j)
#pragma unroll
        for (int c = 0; c < width; ++c)
          pending[j][c] = pending[j - 1][c];
      float gradient[width], value[width];
#pragma unroll
      for (int c = 0; c < width; ++c)
        pending[0][c] = 0;
      if (t < stop) {
        strip.advance(now_x[i], t);
        now_y[i].widen(gradient);
        if (size.silu) {
          strip.filter(value);
#pragma unroll
          for (int c = 0; c < width; ++c) {
            float s = sigmoid(value[c]);
            gradient[c] *= s + value[c] * s * (1.0f - s);
          }
        }
        // Tokens beyond the tile give to its own, but belong to the next tile's sums.
        float mine = t < strip.end ? 1.0f : 0.0f;
#pragma unroll
        for (int c = 0; c < width; ++c) {
          float summed = mine * gradient[c];
          d_shift[c] += summed;
#pragma unroll
          for (int j = 0; j < taps; ++j)
            if (j < strip.count) {
              pending[j][c] = fmaf(strip.factor[j][c], gradient[c], pending[j][c]);
              d_factor[j][c] = fmaf(summed, strip.window[j][c], d_factor[j][c]);
            }
        }
      }
      if (t - lag >= strip.begin && t - lag < strip.end) {
#pragma unroll
        for (int c = 0; c < width; ++c) {
          value[c] = 0;
#pragma unroll
          for (int j = 0; j < taps; ++j)
            value[c] = j == lag ? pending[j][c] : value[c];
        }
        *to = Piece::narrow(value);
        to += strip.stride;
      }
    }
  }
#pragma unroll
  for (int c = 0; c < width; ++c) {
    partial_bias[strip.tile * size.channels + strip.channel + c] = d_shift[c];
#pragma unroll
    for (int j = 0; j < taps; ++j)
      if (j < strip.known)
        partial_weight[(strip.tile * size.taps + j) * size.channels + strip.channel + c] = d_factor[j][c];
  }
}

/// Sums come tap by tap, the current token's first; the weight has the taps of a channel side by side, the current token's last.
struct TapPlace {
  int channels, taps;
  __device__ int operator()(int col) const { return col % channels * taps + taps - 1 - col / channels; }
};

/// Calls body with channels per thread and taps (at least as many as the filter has).
template <typename Body> int32_t withShape(const Sizes &size, bool wide, Body &&body) {
  if (size.taps > 4)
    return body(std::integral_constant<int, 1>(), std::integral_constant<int, most_taps>());
  if (wide)
    return body(std::integral_constant<int, 2>(), std::integral_constant<int, 4>());
  return body(std::integral_constant<int, 1>(), std::integral_constant<int, 4>());
}

int32_t refuseTaps(const char *kernel, int64_t taps) {
  return mg_fail("%s: taps is %lld, at most %d; fix: a shorter filter", kernel, (long long)taps, most_taps);
}

} // namespace

extern "C" {

int32_t mg_causal_conv(const MgLaunch *launch) {
  MG_ENTER(mg_causal_conv);
  Sizes size = {launch->ints[number::batch], launch->ints[number::sequence], launch->ints[number::channels], launch->ints[number::taps],
                launch->ints[number::silu] != 0};
  if (size.taps > most_taps)
    return refuseTaps("mg_causal_conv", size.taps);
  if (int32_t status = Scratch(launch, at::scratch).check("mg_causal_conv"))
    return status;
  return withElement(launch, "mg_causal_conv", {at::y, at::x, at::weight, at::bias}, [&](auto element) {
    using T = decltype(element);
    T *y = operand<T>(launch, at::y), *x = operand<T>(launch, at::x), *weight = operand<T>(launch, at::weight);
    return withShape(size, areAligned({y, x}) && size.channels % 2 == 0, [&](auto width, auto taps) {
      unsigned blocks = unsigned(blocksOf(size.tiles(forward_tile) * (size.channels / width()), threads));
      convKernel<T, width(), taps()><<<blocks, threads, 0, streamOf(launch)>>>(y, x, weight, operand<T>(launch, at::bias),
                                                                               operand<int32_t>(launch, at::documents), size);
      return launched("mg_causal_conv");
    });
  });
}

int32_t mg_causal_conv_grad(const MgLaunch *launch) {
  MG_ENTER(mg_causal_conv_grad);
  Sizes size = {launch->ints[number::batch], launch->ints[number::sequence], launch->ints[number::channels], launch->ints[number::taps],
                launch->ints[number::silu] != 0};
  bool add = addsToOutput(launch, launch->ints[number::accumulate]);
  if (size.taps > most_taps)
    return refuseTaps("mg_causal_conv_grad", size.taps);
  int64_t tiles = size.tiles(backward_tile);
  Scratch scratch(launch, at::scratch);
  float *partial_weight = scratch.take<float>(tiles * size.taps * size.channels),
        *partial_bias = scratch.take<float>(tiles * size.channels);
  if (int32_t status = scratch.check("mg_causal_conv_grad"))
    return status;
  int32_t status = withElement(launch, "mg_causal_conv_grad", {at::d_x, at::d_y, at::x, at::weight, at::bias}, [&](auto element) {
    using T = decltype(element);
    T *d_x = operand<T>(launch, at::d_x), *d_y = operand<T>(launch, at::d_y), *x = operand<T>(launch, at::x);
    return withShape(size, areAligned({d_x, d_y, x}) && size.channels % 2 == 0, [&](auto width, auto taps) {
      unsigned blocks = unsigned(blocksOf(tiles * (size.channels / width()), threads));
      convGradKernel<T, width(), taps()>
          <<<blocks, threads, 0, streamOf(launch)>>>(d_x, partial_weight, partial_bias, d_y, x, operand<T>(launch, at::weight),
                                                     operand<T>(launch, at::bias), operand<int32_t>(launch, at::documents), size);
      return launched("mg_causal_conv_grad");
    });
  });
  if (status)
    return status;
  if ((status = sumPartials(launch, "mg_causal_conv_grad", partial_weight, tiles, size.taps * size.channels, add,
                            operand<float>(launch, at::d_weight), TapPlace{int(size.channels), int(size.taps)})))
    return status;
  return sumPartials(launch, "mg_causal_conv_grad", partial_bias, tiles, size.channels, false, operand<float>(launch, at::d_bias));
}
}
