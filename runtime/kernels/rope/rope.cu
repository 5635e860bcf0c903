// Rotary position embedding, conventions 5.2: pairs channel j with j + width/2, angle position * theta^(-2j/width).
#include "runtime/cuda/Device.cuh"

using namespace megacc::runtime;
using namespace megacc::runtime::cuda;

namespace {

constexpr int threads = 128;

/// The channels of a head: [0, offset) and [offset + 2 half, head_dim) stay, of the pairs between the first `turned` turn.
struct Channels {
  int heads, head_dim, offset, half, turned;
};

/// A block has one position of all batch rows, whose angles it computes once. A thread's unit is a pack of channels: of the pairs' first
/// half, which brings its second half along, then of those that stay. Units that end at a border are shorter unless `wide`.
template <typename T, bool wide>
__global__ void __launch_bounds__(threads)
    ropeKernel(T *y, const T *x, int batch, int sequence, Channels channels, double sign, double theta) {
  extern __shared__ float2 turn[];
  int half = channels.half, position = blockIdx.x, lines = batch * channels.heads;
  for (int j = threadIdx.x; j < half; j += threads) {
    double angle = position * pow(theta, -double(j) / half), s, c;
    sincos(angle, &s, &c);
    turn[j] = j < channels.turned ? float2{float(c), float(sign * s)} : float2{1.0f, 0.0f};
  }
  // Where the head of a line, a batch row and head, begins.
  auto place = [&](int line) {
    int row = line / channels.heads, head = line % channels.heads;
    return ((int64_t(row) * sequence + position) * channels.heads + head) * channels.head_dim;
  };
  constexpr int size = Pack<T>::size;
  int before = (channels.offset + size - 1) / size, pairs = (half + size - 1) / size, end = channels.offset + 2 * half;
  int stay = y == x ? 0 : before + (channels.head_dim - end + size - 1) / size;
#pragma unroll 4
  for (int index = threadIdx.x; index < lines * stay; index += threads) {
    int unit = index % stay, channel = unit < before ? unit * size : end + (unit - before) * size;
    int left = wide ? size : (unit < before ? channels.offset : channels.head_dim) - channel;
    int64_t at = place(index / stay) + channel;
    storePack(y + at, loadPack(x + at, left, wide), left, wide);
  }
  __syncthreads();
#pragma unroll 2
  for (int index = threadIdx.x; index < lines * pairs; index += threads) {
    int j = index % pairs * size, left = wide ? size : half - j;
    int64_t at = place(index / pairs) + channels.offset + j;
    Pack<T> a = loadPack(x + at, left, wide), b = loadPack(x + at + half, left, wide);
#pragma unroll
    for (int i = 0; i < size; ++i) {
      float2 angle = turn[wide ? j + i : min(j + i, half - 1)];
      float first = a[i], second = b[i];
      a[i] = first * angle.x - second * angle.y;
      b[i] = first * angle.y + second * angle.x;
    }
    storePack(y + at, a, left, wide);
    storePack(y + at + half, b, left, wide);
  }
}

/// Both kernels.
int32_t rotate(const MgLaunch *launch, const char *kernel, int64_t turned) {
  namespace number = number_mg_rope;
  namespace at = at_mg_rope;
  int64_t rows = launch->ints[number::rows], sequence = launch->ints[number::sequence];
  Channels channels = {int(launch->ints[number::heads]), int(launch->ints[number::head_dim]), int(launch->ints[number::offset]),
                       int(launch->ints[number::width] / 2), int(turned)};
  double sign = launch->ints[number::inverse] ? -1.0 : 1.0;
  return withElement(launch, kernel, {at::y, at::x}, [&](auto element) {
    using T = decltype(element);
    T *y = operand<T>(launch, at::y), *x = operand<T>(launch, at::x);
    bool wide = areAligned({y, x}) && channels.head_dim % Pack<T>::size == 0 && channels.offset % Pack<T>::size == 0 &&
                channels.half % Pack<T>::size == 0;
    return withFlag(wide, [&](auto is_wide) {
      ropeKernel<T, is_wide()><<<unsigned(sequence), threads, channels.half * sizeof(float2), streamOf(launch)>>>(
          y, x, int(rows / sequence), int(sequence), channels, sign, launch->doubles[real_mg_rope::theta]);
      return launched(kernel);
    });
  });
}

} // namespace

extern "C" {

int32_t mg_rope(const MgLaunch *launch) {
  MG_ENTER(mg_rope);
  return rotate(launch, "mg_rope", launch->ints[number::width] / 2);
}

int32_t mg_partial_rope(const MgLaunch *launch) {
  MG_ENTER(mg_partial_rope);
  return rotate(launch, "mg_partial_rope", launch->ints[number::pairs]);
}
}
