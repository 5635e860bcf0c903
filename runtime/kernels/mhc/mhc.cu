// A residual of several streams (conventions 10.4 to 10.6): what a block reads of them, and how it writes them. A block has a token.
#include "runtime/cuda/SumPartials.cuh"

#include <algorithm>

using namespace megacc::runtime;
using namespace megacc::runtime::cuda;

namespace {

constexpr int threads = 128, most_streams = 16, most_iterations = 64, most_logits = most_streams * (most_streams + 2);
/// Blocks of the backward, each of which leaves a sum for the bias; lib/Kernels knows the number.
constexpr int64_t most_partials = 528;

/// In shared memory: softmax(pre), 2 sigmoid(post), res, and what the iterations divided by.
struct Maps {
  float l[most_logits], sums[2 * most_iterations][most_streams], warps[threads / 32];
};

/// Divides `count` terms, `stride` apart, by their sum, which is returned. One thread.
__device__ float divideBySum(float *terms, int count, int stride) {
  float sum = 0;
#pragma unroll 1
  for (int i = 0; i < count; ++i)
    sum += terms[i * stride];
#pragma unroll 1
  for (int i = 0; i < count; ++i)
    terms[i * stride] /= sum;
  return sum;
}

/// e^(term - the largest term). One thread.
__device__ void exponentiate(float *terms, int count, int stride) {
  float largest = -INFINITY;
#pragma unroll 1
  for (int i = 0; i < count; ++i)
    largest = fmaxf(largest, terms[i * stride]);
#pragma unroll 1
  for (int i = 0; i < count; ++i)
    terms[i * stride] = expf(terms[i * stride] - largest);
}

/// The maps of one token; returns 1 / sqrt(mean(x^2) + eps). Every thread of the block calls it.
template <typename T>
__device__ float computeMaps(Maps &maps, const T *x, const T *logits, const float *bias, int n, int64_t width, int iterations, float eps) {
  float square = 0;
  for (int64_t i = threadIdx.x; i < width; i += threads)
    square += toFloat(x[i]) * toFloat(x[i]);
  float rstd = 1.0f / sqrtf(blockSum<threads>(square, maps.warps) / float(width) + eps);
  for (int r = threadIdx.x; r < n * (n + 2); r += threads)
    maps.l[r] = toFloat(logits[r]) * rstd + bias[r];
  __syncthreads();
  float *res = maps.l + 2 * n;
  int i = threadIdx.x;
  if (i < n)
    exponentiate(res + i, n, n); // the columns are divided first, so each may have a largest element of its own
  else if (i < 2 * n)
    maps.l[i] = 2.0f / (1.0f + expf(-maps.l[i]));
  else if (i == 2 * n) {
    exponentiate(maps.l, n, 1);
    divideBySum(maps.l, n, 1);
  }
  for (int iteration = 0; iteration < 2 * iterations; ++iteration) {
    __syncthreads();
    if (i < n)
      maps.sums[iteration][i] = iteration % 2 ? divideBySum(res + i * n, n, 1) : divideBySum(res + i, n, n);
  }
  __syncthreads();
  return rstd;
}

template <typename T>
__global__ void __launch_bounds__(threads)
    readKernel(T *u, float *maps, const T *x, const T *logits, const float *bias, int n, int64_t cols, int iterations, float eps) {
  __shared__ Maps of;
  int64_t t = blockIdx.x, kept = n * (n + 1);
  x += t * n * cols;
  computeMaps(of, x, logits + t * n * (n + 2), bias, n, n * cols, iterations, eps);
  for (int r = threadIdx.x; r < kept; r += threads)
    maps[t * kept + r] = of.l[n + r];
  for (int64_t c = threadIdx.x; c < cols; c += threads) {
    float sum = 0;
    for (int i = 0; i < n; ++i)
      sum += of.l[i] * toFloat(x[i * cols + c]);
    u[t * cols + c] = fromFloat<T>(sum);
  }
}

/// Turns the gradient of terms that were divided by their sum into that of the terms before, and the terms into those. One thread.
__device__ void undoDivision(float *terms, float *gradient, float sum, int count, int stride) {
  float mean = 0;
#pragma unroll 1
  for (int i = 0; i < count; ++i)
    mean += gradient[i * stride] * terms[i * stride];
  for (int i = 0; i < count; ++i) {
    gradient[i * stride] = (gradient[i * stride] - mean) / sum;
    terms[i * stride] *= sum;
  }
}

template <typename T>
__global__ void __launch_bounds__(threads)
    readGradKernel(T *d_x, T *d_logits, float *partial, const T *d_u, const float *d_maps, const T *x, const T *logits, const float *bias,
                   const T *addend, int64_t rows, int n, int64_t cols, int iterations, float eps) {
  __shared__ Maps of;
  __shared__ float gradient[most_logits], pre[most_streams], sums[most_logits];
  int64_t all = n * (n + 2), kept = n * (n + 1), width = n * cols;
  int lane = threadIdx.x;
  for (int r = lane; r < all; r += threads)
    sums[r] = 0;
  for (int64_t t = blockIdx.x; t < rows; t += gridDim.x) {
    float rstd = computeMaps(of, x + t * width, logits + t * all, bias, n, width, iterations, eps);
    for (int r = lane; r < kept; r += threads)
      gradient[n + r] = d_maps[t * kept + r];
    for (int i = 0; i < n; ++i) {
      float product = 0;
      for (int64_t c = lane; c < cols; c += threads)
        product += toFloat(d_u[t * cols + c]) * toFloat(x[t * width + i * cols + c]);
      product = blockSum<threads>(product, of.warps);
      if (lane == 0)
        gradient[i] = product, pre[i] = of.l[i];
    }
    __syncthreads();
    float *res = of.l + 2 * n, *d_res = gradient + 2 * n;
    if (lane == 0)
      undoDivision(of.l, gradient, 1.0f, n, 1); // of a softmax: the exponentials may have any scale
    else if (lane >= n && lane < 2 * n)
      gradient[lane] *= of.l[lane] * (1.0f - 0.5f * of.l[lane]);
    for (int iteration = 2 * iterations - 1; iteration >= 0; --iteration) {
      __syncthreads();
      if (lane < n) {
        int first = iteration % 2 ? lane * n : lane;
        undoDivision(res + first, d_res + first, of.sums[iteration][lane], n, iteration % 2 ? 1 : n);
      }
    }
    __syncthreads();
    float d_rstd = 0;
#pragma unroll 1
    for (int r = lane; r < all; r += threads) {
      float g = r >= n && r < 2 * n ? gradient[r] : gradient[r] * of.l[r];
      sums[r] += g;
      d_rstd += g * toFloat(logits[t * all + r]);
      d_logits[t * all + r] = fromFloat<T>(g * rstd);
    }
    float through_mean = -blockSum<threads>(d_rstd, of.warps) * rstd * rstd * rstd / float(width);
#pragma unroll 1
    for (int64_t c = lane; c < cols; c += threads)
#pragma unroll 1
      for (int i = 0; i < n; ++i) {
        int64_t at = t * width + i * cols + c;
        float value = pre[i] * toFloat(d_u[t * cols + c]) + through_mean * toFloat(x[at]);
        d_x[at] = fromFloat<T>(addend ? value + toFloat(addend[at]) : value);
      }
    __syncthreads();
  }
  for (int r = lane; r < all; r += threads)
    partial[blockIdx.x * all + r] = sums[r];
}

template <typename T>
__global__ void __launch_bounds__(threads) writeKernel(T *y, const T *x, const T *v, const float *maps, int n, int64_t cols) {
  int64_t t = blockIdx.x;
  const float *post = maps + t * n * (n + 1), *res = post + n;
  for (int64_t c = threadIdx.x; c < cols; c += threads)
    for (int j = 0; j < n; ++j) {
      float sum = post[j] * toFloat(v[t * cols + c]);
      for (int i = 0; i < n; ++i)
        sum += res[j * n + i] * toFloat(x[(t * n + i) * cols + c]);
      y[(t * n + j) * cols + c] = fromFloat<T>(sum);
    }
}

/// d_x may stand where d_y does: sums over columns come first, then each thread reads all streams of a column before it writes them.
template <typename T>
__global__ void __launch_bounds__(threads)
    writeGradKernel(T *d_x, T *d_v, float *d_maps, const T *d_y, const T *x, const T *v, const float *maps, int n, int64_t cols) {
  int64_t t = blockIdx.x;
  const float *post = maps + t * n * (n + 1), *res = post + n;
  d_y += t * n * cols, d_x += t * n * cols, x += t * n * cols, v += t * cols;
  for (int r = threadIdx.x / 32; r < n * (n + 1); r += threads / 32) {
    int j = r < n ? r : (r - n) / n;
    const T *other = r < n ? v : x + (r - n) % n * cols;
    float product = 0;
    for (int64_t c = threadIdx.x % 32; c < cols; c += 32)
      product += toFloat(d_y[j * cols + c]) * toFloat(other[c]);
    product = warpSum(product);
    if (threadIdx.x % 32 == 0)
      d_maps[t * n * (n + 1) + r] = product;
  }
  __syncthreads();
  for (int64_t c = threadIdx.x; c < cols; c += threads) {
    float g[most_streams], sum = 0;
#pragma unroll
    for (int j = 0; j < most_streams; ++j) {
      g[j] = j < n ? toFloat(d_y[j * cols + c]) : 0.0f;
      sum += j < n ? post[j] * g[j] : 0.0f;
    }
    d_v[t * cols + c] = fromFloat<T>(sum);
    for (int i = 0; i < n; ++i) {
      sum = 0;
#pragma unroll
      for (int j = 0; j < most_streams; ++j)
        sum += j < n ? res[j * n + i] * g[j] : 0.0f;
      d_x[i * cols + c] = fromFloat<T>(sum);
    }
  }
}

int32_t checkSizes(const char *kernel, int64_t streams, int64_t iterations) {
  if (streams <= most_streams && iterations <= most_iterations)
    return 0;
  return mg_fail("%s: %lld streams and %lld iterations, at most %d and %d; fix: compile the declaration again", kernel, (long long)streams,
                 (long long)iterations, most_streams, most_iterations);
}

} // namespace

extern "C" {

int32_t mg_mhc_read(const MgLaunch *launch) {
  MG_ENTER(mg_mhc_read);
  int64_t rows = launch->ints[number::rows], streams = launch->ints[number::streams], iterations = launch->ints[number::iterations];
  if (int32_t status = checkSizes("mg_mhc_read", streams, iterations))
    return status;
  return withElement(launch, "mg_mhc_read", {at::u, at::x, at::logits}, [&](auto element) {
    using T = decltype(element);
    readKernel<<<unsigned(rows), threads, 0, streamOf(launch)>>>(
        operand<T>(launch, at::u), operand<float>(launch, at::maps), operand<T>(launch, at::x), operand<T>(launch, at::logits),
        operand<float>(launch, at::bias), int(streams), launch->ints[number::cols], int(iterations), float(launch->doubles[real::eps]));
    return launched("mg_mhc_read");
  });
}

int32_t mg_mhc_read_grad(const MgLaunch *launch) {
  MG_ENTER(mg_mhc_read_grad);
  int64_t rows = launch->ints[number::rows], streams = launch->ints[number::streams], iterations = launch->ints[number::iterations];
  int64_t all = streams * (streams + 2), partials = std::min(rows, most_partials);
  bool add = addsToOutput(launch, launch->ints[number::accumulate]);
  if (int32_t status = checkSizes("mg_mhc_read_grad", streams, iterations))
    return status;
  Scratch scratch(launch, at::scratch);
  float *partial = scratch.take<float>(partials * all);
  if (int32_t status = scratch.check("mg_mhc_read_grad"))
    return status;
  return withElement(launch, "mg_mhc_read_grad", {at::d_x, at::d_logits, at::d_u, at::x, at::logits, at::addend}, [&](auto element) {
    using T = decltype(element);
    readGradKernel<<<unsigned(partials), threads, 0, streamOf(launch)>>>(
        operand<T>(launch, at::d_x), operand<T>(launch, at::d_logits), partial, operand<T>(launch, at::d_u),
        operand<float>(launch, at::d_maps), operand<T>(launch, at::x), operand<T>(launch, at::logits), operand<float>(launch, at::bias),
        operand<T>(launch, at::addend), rows, int(streams), launch->ints[number::cols], int(iterations), float(launch->doubles[real::eps]));
    int32_t status = launched("mg_mhc_read_grad");
    return status ? status : sumPartials(launch, "mg_mhc_read_grad", partial, partials, all, add, operand<float>(launch, at::d_bias));
  });
}

int32_t mg_mhc_write(const MgLaunch *launch) {
  MG_ENTER(mg_mhc_write);
  return withElement(launch, "mg_mhc_write", {at::y, at::x, at::v}, [&](auto element) {
    using T = decltype(element);
    writeKernel<<<unsigned(launch->ints[number::rows]), threads, 0, streamOf(launch)>>>(
        operand<T>(launch, at::y), operand<T>(launch, at::x), operand<T>(launch, at::v), operand<float>(launch, at::maps),
        int(launch->ints[number::streams]), launch->ints[number::cols]);
    return launched("mg_mhc_write");
  });
}

int32_t mg_mhc_write_grad(const MgLaunch *launch) {
  MG_ENTER(mg_mhc_write_grad);
  if (int32_t status = checkSizes("mg_mhc_write_grad", launch->ints[number::streams], 1))
    return status;
  return withElement(launch, "mg_mhc_write_grad", {at::d_x, at::d_v, at::d_y, at::x, at::v}, [&](auto element) {
    using T = decltype(element);
    writeGradKernel<<<unsigned(launch->ints[number::rows]), threads, 0, streamOf(launch)>>>(
        operand<T>(launch, at::d_x), operand<T>(launch, at::d_v), operand<float>(launch, at::d_maps), operand<T>(launch, at::d_y),
        operand<T>(launch, at::x), operand<T>(launch, at::v), operand<float>(launch, at::maps), int(launch->ints[number::streams]),
        launch->ints[number::cols]);
    return launched("mg_mhc_write_grad");
  });
}
}
