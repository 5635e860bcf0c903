// Mean entropy of the probabilities of attention, for people who look at a run (megacc --log-blocks): a block for each query and head.
#include "runtime/cuda/Device.cuh"

using namespace megacc::runtime;
using namespace megacc::runtime::cuda;

namespace {

constexpr int threads = 128;

struct Sizes {
  int64_t sequence, heads, kv_heads, dim, kept;
  float scale;
};

/// Sums over scores s that a thread has seen, relative to their largest: Z = sum exp(s) and sum exp(s) s.
struct Sums {
  float top = -INFINITY;
  double total = 0, weighted = 0;

  /// Makes them relative to a larger number.
  __device__ void raise(float larger) {
    if (total > 0) {
      double factor = exp(double(top) - larger);
      weighted = factor * (weighted + total * (double(top) - larger)), total *= factor;
    }
    top = larger;
  }
  __device__ void add(float score) {
    if (score > top)
      raise(score);
    double below = double(score) - top, e = exp(below);
    total += e, weighted += e > 0 ? e * below : 0.0;
  }
};

/// terms[batch * heads, sequence]: -sum p log p = log Z - sum e s / Z; NaN without a key.
template <typename T>
__global__ void entropyKernel(double *terms, const T *q, const T *k, const int32_t *documents, const int32_t *support, Sizes size) {
  extern __shared__ float query[];
  __shared__ float largest[threads / 32];
  __shared__ double shared[threads / 32];
  int64_t t = blockIdx.x, head = blockIdx.y % size.heads, first_row = blockIdx.y / size.heads * size.sequence;
  for (int64_t c = threadIdx.x; c < size.dim; c += threads)
    query[c] = toFloat(q[((first_row + t) * size.heads + head) * size.dim + c]);
  __syncthreads();
  const T *keys = k + (first_row * size.kv_heads + head / (size.heads / size.kv_heads)) * size.dim;
  Sums sums;
  auto see = [&](int64_t key) {
    float score = 0;
    for (int64_t c = 0; c < size.dim; ++c)
      score += query[c] * toFloat(keys[key * size.kv_heads * size.dim + c]);
    sums.add(size.scale * score);
  };
  if (support) {
    const int32_t *picked = support + (first_row + t) * size.kept;
    for (int64_t j = threadIdx.x; j < size.kept; j += threads)
      if (picked[j] >= 0)
        see(picked[j]);
  } else {
    const int32_t *ids = documents ? documents + first_row : nullptr;
    int64_t first = t;
    while (first > 0 && (!ids || ids[first - 1] == ids[t]))
      --first;
    for (int64_t key = first + threadIdx.x; key <= t; key += threads)
      see(key);
  }
  float top = blockMax<threads>(sums.top, largest);
  sums.raise(top);
  double total = blockSum<threads>(sums.total, shared), weighted = blockSum<threads>(sums.weighted, shared);
  if (threadIdx.x == 0)
    terms[blockIdx.y * size.sequence + t] = log(total) - weighted / total;
}

__global__ void sumTermsKernel(float *entropy, const double *terms, int64_t count, double share) {
  __shared__ double shared[threads / 32];
  double sum = blockSumOf<threads>(terms, count, shared);
  if (threadIdx.x == 0)
    *entropy = float(share * sum);
}

} // namespace

extern "C" int32_t mg_attention_entropy(const MgLaunch *launch) {
  MG_ENTER(mg_attention_entropy);
  int64_t batch = launch->ints[number::batch];
  Sizes size = {launch->ints[number::sequence], launch->ints[number::heads], launch->ints[number::kv_heads],
                launch->ints[number::qk_dim],   launch->ints[number::kept],  float(launch->doubles[real::scale])};
  int64_t count = batch * size.heads * size.sequence;
  Scratch scratch(launch, at::scratch);
  double *terms = scratch.take<double>(count);
  if (int32_t status = scratch.check("mg_attention_entropy"))
    return status;
  return withElement(launch, "mg_attention_entropy", {at::q, at::k}, [&](auto element) {
    using T = decltype(element);
    entropyKernel<<<dim3(unsigned(size.sequence), unsigned(batch * size.heads)), threads, size_t(size.dim) * sizeof(float),
                    streamOf(launch)>>>(terms, operand<T>(launch, at::q), operand<T>(launch, at::k),
                                        operand<int32_t>(launch, at::documents), operand<int32_t>(launch, at::support), size);
    if (int32_t status = launched("mg_attention_entropy"))
      return status;
    sumTermsKernel<<<1, threads, 0, streamOf(launch)>>>(operand<float>(launch, at::entropy), terms, count, launch->doubles[real::share]);
    return launched("mg_attention_entropy");
  });
}
