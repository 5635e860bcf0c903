// Elementwise kernels: addition, copies, accumulation and activations (conventions 5.4).
#include "runtime/cuda/Device.cuh"

#include <algorithm>
#include <type_traits>

using namespace megacc::runtime;
using namespace megacc::runtime::cuda;

namespace {

constexpr int threads = 256;

enum Activation : int64_t { gelu, gelu_tanh, relu2, swiglu };

template <typename T> __global__ void addKernel(T *y, const T *a, const T *b, int64_t count, bool wide) {
  int64_t at = (int64_t(blockIdx.x) * threads + threadIdx.x) * Pack<T>::size, left = count - at;
  if (left <= 0)
    return;
  Pack<T> sum = loadPack(a + at, left, wide), other = loadPack(b + at, left, wide);
#pragma unroll
  for (int i = 0; i < Pack<T>::size; ++i)
    sum[i] += other[i];
  storePack(y + at, sum, left, wide);
}

template <typename To, typename From> __global__ void convertKernel(To *y, const From *x, int64_t count) {
  int64_t at = int64_t(blockIdx.x) * threads + threadIdx.x;
  if (at < count)
    y[at] = fromFloat<To>(toFloat(x[at]));
}

/// Eight elements per thread: one pack of bf16, two of f32.
template <typename T> __global__ void accumulateKernel(float *sum, const T *x, int64_t count, float scale, bool add, bool wide) {
  int64_t at = (int64_t(blockIdx.x) * threads + threadIdx.x) * 8, left = count - at;
  if (left <= 0)
    return;
  float values[8];
#pragma unroll
  for (int part = 0; part < 8; part += Pack<T>::size) {
    Pack<T> pack = loadPack(x + at + part, left - part, wide);
#pragma unroll
    for (int i = 0; i < Pack<T>::size; ++i)
      values[part + i] = scale * pack[i];
  }
#pragma unroll
  for (int part = 0; part < 8; part += 4) {
    Pack<float> pack = add ? loadPack(sum + at + part, left - part, wide) : Pack<float>{};
#pragma unroll
    for (int i = 0; i < 4; ++i)
      pack[i] += values[part + i];
    storePack(sum + at + part, pack, left - part, wide);
  }
}

/// Terms of one launch; their addresses travel with it.
struct Terms {
  static constexpr int most = 256;
  const float *parts[most];
  int count;
};

__global__ void accumulateTermsKernel(float *sum, Terms terms, float scale, bool add) {
  float total = 0;
  for (int i = 0; i < terms.count; ++i)
    total += *terms.parts[i];
  *sum = (add ? *sum : 0.0f) + scale * total;
}

/// The distribution function of the standard normal and its density; Abramowitz and Stegun 26.2.17, within 7.5e-8.
__device__ void normal(float x, float &cdf, float &density) {
  float t = __fdividef(1.0f, fmaf(0.2316419f, fabsf(x), 1.0f));
  density = 0.39894228f * __expf(-0.5f * x * x);
  float r = fmaf(t, fmaf(t, fmaf(t, fmaf(t, 1.330274429f, -1.821255978f), 1.781477937f), -0.356563782f), 0.319381530f);
  float tail = density * t * r;
  cdf = x < 0 ? tail : 1.0f - tail;
}

/// Value and slope of the activations of one input. gelu_tanh: 0.5 x (1 + tanh u) = x sigmoid(2 u), u = sqrt(2/pi) (x + 0.044715 x^3).
template <int kind> __device__ float activate(float x) {
  if constexpr (kind == gelu) {
    float cdf, density;
    normal(x, cdf, density);
    return x * cdf;
  } else if constexpr (kind == gelu_tanh) {
    return x * sigmoid(x * (1.5957691f + 0.071354816f * x * x));
  } else {
    return x > 0 ? x * x : 0.0f * x;
  }
}

template <int kind> __device__ float slope(float x) {
  if constexpr (kind == gelu) {
    float cdf, density;
    normal(x, cdf, density);
    return cdf + x * density;
  } else if constexpr (kind == gelu_tanh) {
    float s = sigmoid(x * (1.5957691f + 0.071354816f * x * x));
    return s + x * s * (1.0f - s) * (1.5957691f + 3.0f * 0.071354816f * x * x);
  } else {
    return x > 0 ? 2.0f * x : 0.0f * x;
  }
}

/// A thread's pack of a row of `width` columns: its row, first column, and how many columns are left.
template <typename T> struct RowPack {
  __device__ RowPack(int64_t rows, int64_t width) {
    uint32_t packs = uint32_t((width + Pack<T>::size - 1) / Pack<T>::size);
    uint32_t index = blockIdx.x * threads + threadIdx.x;
    row = index / packs;
    col = int64_t(index % packs) * Pack<T>::size;
    left = row < rows ? width - col : 0;
  }
  int64_t row, col, left;
};

/// A pack of a row's inputs, and what its activation makes of it; swiglu has a second input `width` further.
template <int kind, typename T> struct Activated {
  __device__ Activated(const T *x, int64_t width, int64_t left, bool wide) : in(loadPack(x, left, wide)) {
    if constexpr (kind == swiglu)
      up = loadPack(x + width, left, wide);
  }
  __device__ float value(int i) const {
    if constexpr (kind == swiglu)
      return in[i] * sigmoid(in[i]) * up[i];
    else
      return activate<kind>(in[i]);
  }
  /// The inputs become their gradients.
  __device__ void differentiate(int i, float gradient) {
    if constexpr (kind == swiglu) {
      float s = sigmoid(in[i]), silu = in[i] * s;
      in[i] = gradient * up[i] * (s + silu * (1.0f - s));
      up[i] = gradient * silu;
    } else {
      in[i] = gradient * slope<kind>(in[i]);
    }
  }
  __device__ void store(T *to, int64_t width, int64_t left, bool wide) const {
    storePack(to, in, left, wide);
    if constexpr (kind == swiglu)
      storePack(to + width, up, left, wide);
  }
  Pack<T> in, up;
};

/// y = scale[row] f(x); without scales they are 1.
template <int kind, typename T>
__global__ void activationKernel(T *y, const T *x, const float *scale, int64_t rows, int64_t width, bool wide) {
  RowPack<T> at(rows, width);
  if (!at.left)
    return;
  Activated<kind, T> activated(x + at.row * width * (kind == swiglu ? 2 : 1) + at.col, width, at.left, wide);
  const float factor = scale ? scale[at.row] : 1.0f;
  Pack<T> pack;
#pragma unroll
  for (int i = 0; i < Pack<T>::size; ++i)
    pack[i] = factor * activated.value(i);
  storePack(y + at.row * width + at.col, pack, at.left, wide);
}

/// d_x = d_y f'(x)
template <int kind, typename T>
__global__ void activationGradKernel(T *d_x, const T *d_y, const T *x, int64_t rows, int64_t width, bool wide) {
  RowPack<T> at(rows, width);
  if (!at.left)
    return;
  const int64_t from = at.row * width * (kind == swiglu ? 2 : 1) + at.col;
  Activated<kind, T> activated(x + from, width, at.left, wide);
  const Pack<T> gradient = loadPack(d_y + at.row * width + at.col, at.left, wide);
#pragma unroll
  for (int i = 0; i < Pack<T>::size; ++i)
    activated.differentiate(i, gradient[i]);
  activated.store(d_x + from, width, at.left, wide);
}

/// d_x = scale[row] d_y f'(x), d_scale[row] = sum of d_y f(x); a warp per row.
template <int kind, typename T>
__global__ void __launch_bounds__(threads) scaledActivationGradKernel(T *d_x, float *d_scale, const T *d_y, const T *x, const float *scale,
                                                                      int64_t rows, int64_t width, bool wide) {
  const int64_t row = int64_t(blockIdx.x) * (threads / 32) + threadIdx.x / 32, from = row * width * (kind == swiglu ? 2 : 1);
  if (row >= rows)
    return;
  float sum = 0;
  const float factor = scale[row];
  for (int64_t col = threadIdx.x % 32 * Pack<T>::size; col < width; col += 32 * Pack<T>::size) {
    const int64_t left = width - col;
    Activated<kind, T> activated(x + from + col, width, left, wide);
    const Pack<T> gradient = loadPack(d_y + row * width + col, left, wide);
#pragma unroll
    for (int i = 0; i < Pack<T>::size; ++i) {
      if (i < left)
        sum += gradient[i] * activated.value(i);
      activated.differentiate(i, factor * gradient[i]);
    }
    activated.store(d_x + from + col, width, left, wide);
  }
  for (int offset = 16; offset; offset /= 2)
    sum += __shfl_xor_sync(~0u, sum, offset);
  if (threadIdx.x % 32 == 0)
    d_scale[row] = sum;
}

/// Calls launch(std::integral_constant<int, kind>()).
template <typename Launch> void withActivation(int64_t kind, Launch &&launch) {
  if (kind == gelu)
    launch(std::integral_constant<int, gelu>());
  else if (kind == gelu_tanh)
    launch(std::integral_constant<int, gelu_tanh>());
  else if (kind == relu2)
    launch(std::integral_constant<int, relu2>());
  else
    launch(std::integral_constant<int, swiglu>());
}

/// Blocks for one pack of T a thread.
template <typename T> unsigned packBlocks(int64_t count) { return unsigned(blocksOf(count, int64_t(threads) * Pack<T>::size)); }
template <typename T> unsigned rowPackBlocks(int64_t rows, int64_t width) {
  return unsigned(blocksOf(rows * blocksOf(width, Pack<T>::size), threads));
}

} // namespace

extern "C" {

int32_t mg_add(const MgLaunch *launch) {
  MG_ENTER(mg_add);
  int64_t count = launch->ints[number::count];
  return withElement(launch, "mg_add", {at::y, at::a, at::b}, [&](auto element) {
    using T = decltype(element);
    T *y = operand<T>(launch, at::y), *a = operand<T>(launch, at::a), *b = operand<T>(launch, at::b);
    addKernel<<<packBlocks<T>(count), threads, 0, streamOf(launch)>>>(y, a, b, count, areAligned({y, a, b}));
    return launched("mg_add");
  });
}

// Also changes the type, bf16 to f32 or back.
int32_t mg_copy(const MgLaunch *launch) {
  MG_ENTER(mg_copy);
  int64_t count = launch->ints[number::count];
  void *y = launch->operands[at::y], *x = launch->operands[at::x];
  cudaStream_t stream = streamOf(launch);
  if (launch->types[at::y] == launch->types[at::x])
    return y == x ? 0 : check(cudaMemcpyAsync(y, x, size_t(launch->bytes[at::y]), cudaMemcpyDeviceToDevice, stream), "mg_copy");
  unsigned blocks = unsigned(blocksOf(count, threads));
  if (launch->types[at::y] == MG_F32 && launch->types[at::x] == MG_BF16)
    convertKernel<<<blocks, threads, 0, stream>>>(operand<float>(launch, at::y), operand<bf16>(launch, at::x), count);
  else if (launch->types[at::y] == MG_BF16 && launch->types[at::x] == MG_F32)
    convertKernel<<<blocks, threads, 0, stream>>>(operand<bf16>(launch, at::y), operand<float>(launch, at::x), count);
  else
    return mg_fail("mg_copy: cannot copy type %d to type %d; fix: f32 (%d) and bf16 (%d), or equal types", int(launch->types[at::x]),
                   int(launch->types[at::y]), int(MG_F32), int(MG_BF16));
  return launched("mg_copy");
}

int32_t mg_accumulate(const MgLaunch *launch) {
  MG_ENTER(mg_accumulate);
  int64_t count = launch->ints[number::count];
  float *sum = operand<float>(launch, at::sum), scale = float(launch->doubles[real::scale]);
  bool add = addsToOutput(launch, launch->ints[number::accumulate]);
  return withElement(launch, "mg_accumulate", {at::x}, [&](auto element) {
    using T = decltype(element);
    T *x = operand<T>(launch, at::x);
    accumulateKernel<<<unsigned(blocksOf(count, threads * 8)), threads, 0, streamOf(launch)>>>(sum, x, count, scale, add,
                                                                                               areAligned({sum, x}));
    return launched("mg_accumulate");
  });
}

int32_t mg_accumulate_terms(const MgLaunch *launch) {
  MG_ENTER(mg_accumulate_terms);
  int64_t parts = launch->ints[number::parts];
  float *sum = operand<float>(launch, at::sum), scale = float(launch->doubles[real::scale]);
  bool add = addsToOutput(launch, launch->ints[number::accumulate]);
  for (int64_t begin = 0; begin == 0 || begin < parts; begin += Terms::most, add = true) {
    Terms terms = {{}, int(std::min<int64_t>(parts - begin, Terms::most))};
    for (int i = 0; i < terms.count; ++i)
      terms.parts[i] = operand<float>(launch, at::part + begin + i);
    accumulateTermsKernel<<<1, 1, 0, streamOf(launch)>>>(sum, terms, scale, add);
    if (int32_t status = launched("mg_accumulate_terms"))
      return status;
  }
  return 0;
}

int32_t mg_fill_zero(const MgLaunch *launch) {
  MG_ENTER(mg_fill_zero);
  if (addsToOutput(launch, launch->ints[number::accumulate]))
    return 0;
  return check(cudaMemsetAsync(launch->operands[at::y], 0, size_t(launch->bytes[at::y]), streamOf(launch)), "mg_fill_zero");
}

int32_t mg_activation(const MgLaunch *launch) {
  MG_ENTER(mg_activation);
  int64_t rows = launch->ints[number::rows], width = launch->ints[number::width], kind = launch->ints[number::kind];
  if (kind < gelu || kind > swiglu)
    return mg_fail("mg_activation: unknown kind %ld; fix: 0 to 3", long(kind));
  return withElement(launch, "mg_activation", {at::y, at::x}, [&](auto element) {
    using T = decltype(element);
    T *y = operand<T>(launch, at::y), *x = operand<T>(launch, at::x);
    bool wide = areAligned({y, x}) && width % Pack<T>::size == 0;
    withActivation(kind, [&](auto k) {
      activationKernel<k>
          <<<rowPackBlocks<T>(rows, width), threads, 0, streamOf(launch)>>>(y, x, operand<float>(launch, at::scale), rows, width, wide);
    });
    return launched("mg_activation");
  });
}

// d_x may take the place of an operand: a thread reads before it writes, and only its own elements.
int32_t mg_activation_grad(const MgLaunch *launch) {
  MG_ENTER(mg_activation_grad);
  int64_t rows = launch->ints[number::rows], width = launch->ints[number::width], kind = launch->ints[number::kind];
  if (kind < gelu || kind > swiglu)
    return mg_fail("mg_activation_grad: unknown kind %ld; fix: 0 to 3", long(kind));
  return withElement(launch, "mg_activation_grad", {at::d_x, at::d_y, at::x}, [&](auto element) {
    using T = decltype(element);
    T *d_x = operand<T>(launch, at::d_x), *d_y = operand<T>(launch, at::d_y), *x = operand<T>(launch, at::x);
    const float *scale = operand<float>(launch, at::scale);
    cudaStream_t stream = streamOf(launch);
    bool wide = areAligned({d_x, d_y, x}) && width % Pack<T>::size == 0;
    withActivation(kind, [&](auto k) {
      if (scale)
        scaledActivationGradKernel<k><<<unsigned(blocksOf(rows, threads / 32)), threads, 0, stream>>>(
            d_x, operand<float>(launch, at::d_scale), d_y, x, scale, rows, width, wide);
      else
        activationGradKernel<k><<<rowPackBlocks<T>(rows, width), threads, 0, stream>>>(d_x, d_y, x, rows, width, wide);
    });
    return launched("mg_activation_grad");
  });
}
}
