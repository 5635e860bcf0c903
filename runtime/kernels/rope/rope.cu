// Rotary position embedding, conventions 5.2: pairs channel j with j + width/2, angle position * theta^(-2j/width).
#include "runtime/cuda/Device.cuh"

using namespace megacc::runtime;
using namespace megacc::runtime::cuda;

namespace {

constexpr int threads = 128;

/// The channels of a head: [0, offset) and [offset + 2 half, head_dim) stay, the pairs between turn.
struct Channels {
  int heads, head_dim, offset, half;
};

/// A block has one position of all batch rows, whose angles it computes once. A thread's unit is a pack of channels: of the pairs' first
/// half, which brings its second half along, or of those that stay. Units of other sizes than a pack end at the borders.
template <typename T>
__global__ void ropeKernel(T *y, const T *x, int rows, int sequence, Channels channels, double sign, double theta, bool wide) {
  extern __shared__ float2 turn[];
  int half = channels.half, position = blockIdx.x;
  for (int j = threadIdx.x; j < half; j += threads) {
    double angle = position * pow(theta, -double(j) / half), s, c;
    sincos(angle, &s, &c);
    turn[j] = {float(c), float(sign * s)};
  }
  __syncthreads();
  constexpr int size = Pack<T>::size;
  int before = (channels.offset + size - 1) / size, pairs = (half + size - 1) / size, end = channels.offset + 2 * half;
  int after = (channels.head_dim - end + size - 1) / size;
  int units = y == x ? pairs : before + pairs + after, in_row = units * channels.heads;
  for (int index = threadIdx.x; index < rows / sequence * in_row; index += threads) {
    int batch = index / in_row, head = index % in_row / units, unit = index % units;
    int64_t base = ((int64_t(batch) * sequence + position) * channels.heads + head) * channels.head_dim;
    if (unit < pairs) {
      int j = unit * size, left = half - j;
      int64_t at = base + channels.offset + j;
      Pack<T> a = loadPack(x + at, left, wide), b = loadPack(x + at + half, left, wide);
#pragma unroll
      for (int i = 0; i < size; ++i) {
        float2 angle = turn[min(j + i, half - 1)];
        float first = a[i], second = b[i];
        a[i] = first * angle.x - second * angle.y;
        b[i] = first * angle.y + second * angle.x;
      }
      storePack(y + at, a, left, wide);
      storePack(y + at + half, b, left, wide);
      continue;
    }
    bool is_before = unit < pairs + before;
    int channel = is_before ? (unit - pairs) * size : end + (unit - pairs - before) * size;
    int left = (is_before ? channels.offset : channels.head_dim) - channel;
    storePack(y + base + channel, loadPack(x + base + channel, left, wide), left, wide);
  }
}

} // namespace

extern "C" int32_t mg_rope(const MgLaunch *launch) {
  MG_ENTER(mg_rope);
  int64_t rows = launch->ints[number::rows], sequence = launch->ints[number::sequence];
  Channels channels = {int(launch->ints[number::heads]), int(launch->ints[number::head_dim]), int(launch->ints[number::offset]),
                       int(launch->ints[number::width] / 2)};
  double sign = launch->ints[number::inverse] ? -1.0 : 1.0;
  return withElement(launch, "mg_rope", {at::y, at::x}, [&](auto element) {
    using T = decltype(element);
    T *y = operand<T>(launch, at::y), *x = operand<T>(launch, at::x);
    bool wide = areAligned({y, x}) && channels.head_dim % Pack<T>::size == 0 && channels.offset % Pack<T>::size == 0 &&
                channels.half % Pack<T>::size == 0;
    ropeKernel<<<unsigned(sequence), threads, channels.half * sizeof(float2), streamOf(launch)>>>(y, x, int(rows), int(sequence), channels, sign,
                                                                                                 launch->doubles[real::theta], wide);
    return launched("mg_rope");
  });
}
