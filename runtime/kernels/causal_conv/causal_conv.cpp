// Depthwise causal convolution with an optional bias and silu, conventions 2 and 13.2: the last tap is the current token; what is before
// the row or in another document counts as zero.
#include "runtime/core/Documents.h"
#include "runtime/core/FastMath.h"
#include "runtime/core/Launch.h"
#include "runtime/core/Scratch.h"
#include "runtime/core/ThreadPool.h"

#include <algorithm>
#include <cstring>

using namespace megacc::runtime;

namespace {

struct Sizes {
  /// Both kernels begin with the same parameters.
  explicit Sizes(const MgLaunch *launch) {
    namespace number = number_mg_causal_conv;
    batch = launch->ints[number::batch], sequence = launch->ints[number::sequence], channels = launch->ints[number::channels];
    width = launch->ints[number::taps], silu = launch->ints[number::silu];
  }
  int64_t batch, sequence, channels, width;
  bool silu;
};

/// to[tap, channel], the current token's tap first.
void reverseTaps(const Sizes &size, const float *weight, float *to) {
  for (int64_t c = 0; c < size.channels; ++c)
    for (int64_t j = 0; j < size.width; ++j)
      to[j * size.channels + c] = weight[c * size.width + size.width - 1 - j];
}

/// y of channels [begin, end) before the activation; x points to the token's row.
void filter(const Sizes &size, const float *taps, const float *bias, const float *x, int64_t count, int64_t begin, int64_t end, float *y) {
  for (int64_t c = begin; c < end; ++c)
    y[c] = bias ? bias[c] : 0.0f;
  for (int64_t j = 0; j < count; ++j)
    for (int64_t c = begin; c < end; ++c)
      y[c] += taps[j * size.channels + c] * x[c - j * size.channels];
}

} // namespace

extern "C" {

int32_t mg_causal_conv(const MgLaunch *launch) {
  MG_ENTER(mg_causal_conv);
  Sizes size(launch);
  float *y = output(launch, at::y);
  const float *x = input(launch, at::x), *bias = input(launch, at::bias);
  const int32_t *documents = integers(launch, at::documents);
  Scratch scratch(launch, at::scratch);
  float *taps = scratch.take<float>(size.width * size.channels);
  if (int32_t status = scratch.check("mg_causal_conv"))
    return status;
  reverseTaps(size, input(launch, at::weight), taps);
  parallelRanges(size.batch * size.sequence, 64, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      int64_t t = row % size.sequence;
      float *to = y + row * size.channels;
      int64_t count = countReach(documents ? documents + row - t : nullptr, size.sequence, t, -1, size.width);
      filter(size, taps, bias, x + row * size.channels, count, 0, size.channels, to);
      if (size.silu)
        for (int64_t c = 0; c < size.channels; ++c)
          to[c] = silu(to[c]);
    }
  });
  return 0;
}

int32_t mg_causal_conv_grad(const MgLaunch *launch) {
  MG_ENTER(mg_causal_conv_grad);
  Sizes size(launch);
  bool add = addsToOutput(launch, launch->ints[number::accumulate]);
  float *d_x = output(launch, at::d_x), *d_weight = output(launch, at::d_weight), *d_bias = output(launch, at::d_bias);
  const float *d_y = input(launch, at::d_y), *x = input(launch, at::x), *bias = input(launch, at::bias);
  const int32_t *documents = integers(launch, at::documents);
  Scratch scratch(launch, at::scratch);
  float *taps = scratch.take<float>(size.width * size.channels), *d_taps = scratch.take<float>(size.width * size.channels);
  if (int32_t status = scratch.check("mg_causal_conv_grad"))
    return status;
  reverseTaps(size, input(launch, at::weight), taps);
  std::memset(d_taps, 0, size.width * size.channels * sizeof(float));
  constexpr int64_t tile_channels = 32, tile_rows = 64;
  // A tile owns channels, over all tokens: its sums need no second pass.
  parallelRanges(size.channels, tile_channels, [&](int64_t begin, int64_t end) {
    std::fill(d_bias + begin, d_bias + end, 0.0f);
    for (int64_t b = 0; b < size.batch; ++b) {
      const int32_t *ids = documents ? documents + b * size.sequence : nullptr;
      int64_t first = b * size.sequence;
      // The gradient before the activation, in place of d_x, and its sums.
      for (int64_t start = 0; start < size.sequence; start += tile_rows) {
        int64_t stop = std::min(start + tile_rows, size.sequence), counts[tile_rows];
        float part[tile_channels] = {};
        for (int64_t t = start; t < stop; ++t) {
          int64_t offset = (first + t) * size.channels;
          counts[t - start] = countReach(ids, size.sequence, t, -1, size.width);
          if (size.silu)
            filter(size, taps, bias, x + offset, counts[t - start], begin, end, d_x + offset);
          for (int64_t c = begin; c < end; ++c) {
            float &d = d_x[offset + c];
            d = size.silu ? d_y[offset + c] * siluSlope(d) : d_y[offset + c];
            part[c - begin] += d;
          }
        }
        for (int64_t c = begin; c < end; ++c)
          d_bias[c] += part[c - begin];
        for (int64_t j = 0; j < size.width; ++j) {
          std::fill(part, part + tile_channels, 0.0f);
          for (int64_t t = start; t < stop; ++t)
            if (int64_t offset = (first + t) * size.channels; j < counts[t - start])
              for (int64_t c = begin; c < end; ++c)
                part[c - begin] += d_x[offset + c] * x[offset - j * size.channels + c];
          for (int64_t c = begin; c < end; ++c)
            d_taps[j * size.channels + c] += part[c - begin];
        }
      }
      // A token reads gradients at and after its own, which are still in place when it is written.
      for (int64_t t = 0; t < size.sequence; ++t) {
        int64_t count = countReach(ids, size.sequence, t, 1, size.width);
        float *to = d_x + (first + t) * size.channels;
        for (int64_t c = begin; c < end; ++c)
          to[c] *= taps[c];
        for (int64_t j = 1; j < count; ++j)
          for (int64_t c = begin; c < end; ++c)
            to[c] += taps[j * size.channels + c] * to[j * size.channels + c];
      }
    }
    for (int64_t c = begin; c < end; ++c)
      for (int64_t j = 0; j < size.width; ++j) {
        float &d = d_weight[c * size.width + size.width - 1 - j];
        d = (add ? d : 0.0f) + d_taps[j * size.channels + c];
      }
  });
  return 0;
}
}
