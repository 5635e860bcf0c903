// The gated delta rule on CUDA, conventions 19: a block has a head of a row and walks its chunks, forward and back. Formulas: see
// gated_delta.cpp. Matrices of a chunk lie in the block's part of the scratch; q, k, v and d_y are read where they are.
#include "runtime/cuda/Device.cuh"
#include "runtime/cuda/Documents.cuh"
#include "runtime/cuda/Mma.cuh"

using namespace megacc::runtime;
using namespace megacc::runtime::cuda;

namespace {

/// Threads of a block, the largest chunk, and rows of a panel, which forward substitution takes at a time.
constexpr int threads = 256, most_chunk = 128, panel = 16;

struct Sizes {
  int batch, sequence, heads, groups, key, value, chunk;
  float scale; // of beta

  __host__ __device__ int chunks() const { return (sequence + chunk - 1) / chunk; }
  __host__ __device__ int64_t tiles() const { return int64_t(batch) * heads; }
  __host__ __device__ int state() const { return key * value; }
  /// Floats of scratch of a block; lib/Kernels knows the same numbers.
  __host__ __device__ int64_t forwardRoom() const { return int64_t(chunk) * (2 * chunk + value) + state(); }
  __host__ __device__ int64_t backwardRoom() const { return int64_t(chunk) * (5 * chunk + 3 * value + 3 * key) + state(); }
};

template <typename T> struct Inputs {
  const T *q, *k, *v, *b, *a;
  const float *a_log, *dt_bias;
  const int32_t *documents;
};

/// What is known of the rows of a chunk, in shared memory.
struct Rows {
  double c[most_chunk];
  int run[most_chunk];
  float g[most_chunk], beta[most_chunk], enter[most_chunk], leave[most_chunk], unit_q[most_chunk], unit_k[most_chunk];

  /// Decay from row j to row i >= j.
  __device__ float decay(int i, int j) const { return run[i] == run[j] ? expf(float(c[i] - c[j])) : 0.0f; }
};

/// store(i, j, sum over l < depth of left(i, l) right(l, j)) for i < m, j < n by the whole block; barriers are the caller's. The same i, j
/// of two products of one m and n are the same thread's. On tensor cores every factor is the sum of two bf16 numbers, of whose four
/// products the smallest is left out: what is lost is about 2^-16 of a term.
template <bool on_tensor_cores, typename Left, typename Right, typename Store>
__device__ void product(int m, int n, int depth, Left left, Right right, Store store) {
  if constexpr (!on_tensor_cores) {
    for (int e = threadIdx.x; e < m * n; e += threads) {
      int i = e / n, j = e % n;
      float sum = 0;
      for (int l = 0; l < depth; ++l)
        sum = fmaf(left(i, l), right(l, j), sum);
      store(i, j, sum);
    }
  } else {
    auto cut = [](float low, float high, uint32_t &rough, uint32_t &rest) {
      rough = packBf16(low, high);
      float2 kept = unpackBf16(rough);
      rest = packBf16(low - kept.x, high - kept.y);
    };
    int lane = threadIdx.x % 32, row = lane / 4, col = lane % 4 * 2, across = (n + 31) / 32, tiles = (m + 31) / 32 * across;
    for (int tile = threadIdx.x / 32; tile < tiles; tile += threads / 32) {
      int i0 = tile / across * 32, j0 = tile % across * 32;
      float sum[2][4][4] = {};
      for (int l0 = 0; l0 < depth; l0 += 16) {
        auto leftAt = [&](int i, int l) { return i < m && l < depth ? left(i, l) : 0.0f; };
        auto rightAt = [&](int l, int j) { return l < depth && j < n ? right(l, j) : 0.0f; };
        uint32_t a[2][4], a_rest[2][4];
#pragma unroll
        for (int half = 0; half < 2; ++half)
#pragma unroll
          for (int part = 0; part < 4; ++part) {
            int i = i0 + 16 * half + row + part % 2 * 8, l = l0 + col + part / 2 * 8;
            cut(leftAt(i, l), leftAt(i, l + 1), a[half][part], a_rest[half][part]);
          }
#pragma unroll
        for (int block = 0; block < 4; ++block) {
          uint32_t b[2], b_rest[2];
#pragma unroll
          for (int part = 0; part < 2; ++part) {
            int l = l0 + col + part * 8, j = j0 + 8 * block + row;
            cut(rightAt(l, j), rightAt(l + 1, j), b[part], b_rest[part]);
          }
#pragma unroll
          for (int half = 0; half < 2; ++half) {
            multiplyBf16(sum[half][block], a[half], b_rest[0], b_rest[1]);
            multiplyBf16(sum[half][block], a_rest[half], b[0], b[1]);
            multiplyBf16(sum[half][block], a[half], b[0], b[1]);
          }
        }
      }
#pragma unroll
      for (int half = 0; half < 2; ++half)
#pragma unroll
        for (int block = 0; block < 4; ++block)
#pragma unroll
          for (int part = 0; part < 4; ++part) {
            int i = i0 + 16 * half + row + part / 2 * 8, j = j0 + 8 * block + col + part % 2;
            if (i < m && j < n)
              store(i, j, sum[half][block][part]);
          }
    }
  }
}

/// One chunk of one head: its rows, and their elements.
template <typename T> struct Chunk {
  const Sizes &size;
  const Inputs<T> &in;
  const Rows &rows;
  int head;
  int64_t first; // row of the tensors
  int tokens;
  float query_scale;

  __device__ int64_t keyAt(int i) const { return ((first + i) * size.groups + head / (size.heads / size.groups)) * size.key; }
  __device__ int64_t headAt(int i) const { return (first + i) * size.heads + head; }
  __device__ float q(int i, int n) const { return toFloat(in.q[keyAt(i) + n]) * rows.unit_q[i] * query_scale; }
  __device__ float k(int i, int n) const { return toFloat(in.k[keyAt(i) + n]) * rows.unit_k[i]; }
  __device__ float v(int i, int p) const { return toFloat(in.v[headAt(i) * size.value + p]); }
};

/// Fills `rows` for a chunk of tile = (row, head), between barriers.
template <typename T> __device__ Chunk<T> fetch(Rows &rows, const Sizes &size, const Inputs<T> &in, int tile, int chunk) {
  int head = tile % size.heads, begin = chunk * size.chunk, thread = threadIdx.x, row = tile / size.heads;
  Chunk<T> to = {
      size, in, rows, head, int64_t(row) * size.sequence + begin, min(size.chunk, size.sequence - begin), rsqrtf(float(size.key))};
  float rate = expf(in.a_log[head]), dt_bias = in.dt_bias[head];
  __syncthreads();
  if (thread < to.tokens) {
    float x = toFloat(in.a[to.headAt(thread)]) + dt_bias;
    rows.g[thread] = -rate * (fmaxf(x, 0.0f) + log1pf(expf(-fabsf(x))));
    rows.beta[thread] = size.scale * sigmoid(toFloat(in.b[to.headAt(thread)]));
  }
  for (int i = thread / 32; i < to.tokens; i += threads / 32) {
    float q_square = 0, k_square = 0;
    for (int n = thread % 32; n < size.key; n += 32) {
      float q = toFloat(in.q[to.keyAt(i) + n]), k = toFloat(in.k[to.keyAt(i) + n]);
      q_square = fmaf(q, q, q_square), k_square = fmaf(k, k, k_square);
    }
    q_square = warpSum(q_square), k_square = warpSum(k_square);
    if (thread % 32 == 0)
      rows.unit_q[i] = rsqrtf(q_square + 1e-6f), rows.unit_k[i] = rsqrtf(k_square + 1e-6f);
  }
  __syncthreads();
  if (thread == 0) {
    const int32_t *documents = in.documents ? in.documents + int64_t(row) * size.sequence : nullptr;
    double sum = 0;
    int run = 0;
    for (int i = 0; i < to.tokens; ++i) {
      run += startsDocument(documents, begin + i);
      rows.c[i] = sum += rows.g[i], rows.run[i] = run;
    }
  }
  __syncthreads();
  if (thread < to.tokens) {
    rows.enter[thread] = rows.run[thread] == 0 ? expf(float(rows.c[thread])) : 0.0f;
    rows.leave[thread] = rows.decay(to.tokens - 1, thread);
  }
  __syncthreads();
  return to;
}

/// x[tokens, value] = (1 + a)^-1 x, a(i, l) under the diagonal. Begins after a barrier, ends with one.
template <bool on_tensor_cores, typename A> __device__ void substitute(int tokens, int value, A a, float *x) {
  for (int begin = 0; begin < tokens; begin += panel) {
    int end = min(begin + panel, tokens);
    if (begin) {
      product<on_tensor_cores>(
          end - begin, value, begin, [&](int i, int l) { return a(begin + i, l); }, [&](int l, int j) { return x[l * value + j]; },
          [&](int i, int j, float sum) { x[(begin + i) * value + j] -= sum; });
      __syncthreads();
    }
    for (int j = threadIdx.x; j < value; j += threads) {
      float column[panel];
#pragma unroll
      for (int i = 0; i < panel; ++i) {
        if (begin + i < end) {
          column[i] = x[(begin + i) * value + j];
#pragma unroll
          for (int l = 0; l < i; ++l)
            column[i] = fmaf(-a(begin + i, begin + l), column[l], column[i]);
          x[(begin + i) * value + j] = column[i];
        }
      }
    }
    __syncthreads();
  }
}

/// x = (1 + a)^-T x, from the last panel to the first.
template <bool on_tensor_cores, typename A> __device__ void substituteBack(int tokens, int value, A a, float *x) {
  for (int begin = (tokens - 1) / panel * panel; begin >= 0; begin -= panel) {
    int end = min(begin + panel, tokens);
    if (end < tokens) {
      product<on_tensor_cores>(
          end - begin, value, tokens - end, [&](int i, int l) { return a(end + l, begin + i); },
          [&](int l, int j) { return x[(end + l) * value + j]; }, [&](int i, int j, float sum) { x[(begin + i) * value + j] -= sum; });
      __syncthreads();
    }
    for (int j = threadIdx.x; j < value; j += threads) {
      float column[panel];
#pragma unroll
      for (int i = panel - 1; i >= 0; --i) {
        column[i] = 0;
        if (begin + i < end) {
          column[i] = x[(begin + i) * value + j];
#pragma unroll
          for (int l = i + 1; l < panel; ++l)
            if (begin + l < end)
              column[i] = fmaf(-a(begin + l, begin + i), column[l], column[i]);
          x[(begin + i) * value + j] = column[i];
        }
      }
    }
    __syncthreads();
  }
}

/// y and states may be null.
template <typename T> __global__ void __launch_bounds__(threads, 1) deltaKernel(T *y, T *states, Inputs<T> in, Sizes size, float *room) {
  constexpr bool fast = sizeof(T) == 2;
  __shared__ Rows rows;
  int tile = blockIdx.x, C = size.chunk, V = size.value;
  float *KD = room + tile * size.forwardRoom(), *QK = KD + C * C, *U = QK + C * C, *S = U + C * V;
  for (int e = threadIdx.x; e < size.state(); e += threads)
    S[e] = 0;
  for (int chunk = 0; chunk < size.chunks(); ++chunk) {
    Chunk<T> c = fetch(rows, size, in, tile, chunk);
    if (states)
      for (int e = threadIdx.x; e < size.state(); e += threads)
        states[(int64_t(tile) * size.chunks() + chunk) * size.state() + e] = fromFloat<T>(S[e]);
    auto k = [&](int i, int n) { return c.k(i, n); };
    auto kTurned = [&](int n, int j) { return c.k(j, n); };
    product<fast>(c.tokens, c.tokens, size.key, k, kTurned,
                  [&](int i, int j, float sum) { KD[i * C + j] = j < i ? sum * rows.decay(i, j) : 0.0f; });
    product<fast>(
        c.tokens, V, size.key, k, [&](int n, int p) { return S[n * V + p]; },
        [&](int i, int p, float sum) { U[i * V + p] = rows.beta[i] * (c.v(i, p) - rows.enter[i] * sum); });
    if (y)
      product<fast>(
          c.tokens, c.tokens, size.key, [&](int i, int n) { return c.q(i, n); }, kTurned,
          [&](int i, int j, float sum) { QK[i * C + j] = j <= i ? sum * rows.decay(i, j) : 0.0f; });
    __syncthreads();
    substitute<fast>(c.tokens, V, [&](int i, int l) { return rows.beta[i] * KD[i * C + l]; }, U);
    if (y) {
      product<fast>(
          c.tokens, V, size.key + c.tokens,
          [&](int i, int l) { return l < size.key ? rows.enter[i] * c.q(i, l) : QK[i * C + l - size.key]; },
          [&](int l, int p) { return l < size.key ? S[l * V + p] : U[(l - size.key) * V + p]; },
          [&](int i, int p, float sum) { y[c.headAt(i) * V + p] = fromFloat<T>(sum); });
      __syncthreads();
    }
    float last = rows.enter[c.tokens - 1];
    product<fast>(
        size.key, V, c.tokens, [&](int n, int l) { return rows.leave[l] * c.k(l, n); }, [&](int l, int p) { return U[l * V + p]; },
        [&](int n, int p, float sum) { S[n * V + p] = last * S[n * V + p] + sum; });
  }
}

/// Through the length: as storeKey() of the CPU, one row a warp; `y` and `d` are of element n.
template <typename T, typename Y, typename D> __device__ void storeKey(int key, float unit, float factor, Y y, D d, T *to) {
  float along = 0;
  for (int n = threadIdx.x % 32; n < key; n += 32)
    along = fmaf(y(n), d(n), along);
  along = __fdividef(warpSum(along), factor);
  for (int n = threadIdx.x % 32; n < key; n += 32)
    to[n] = fromFloat<T>(unit * (factor * d(n) - along * y(n)));
}

/// d_q and d_k [T, heads, key] are those of every head; sums[tile, 2] = its d_a_log and d_dt_bias.
template <typename T>
__global__ void __launch_bounds__(threads, 1) deltaGradKernel(T *d_q, T *d_k, T *d_v, T *d_b, T *d_a, float *sums, const T *d_y,
                                                              const T *states, Inputs<T> in, Sizes size, float *room) {
  constexpr bool fast = sizeof(T) == 2;
  __shared__ Rows rows;
  __shared__ float d_beta[most_chunk], d_g[most_chunk], through_enter[most_chunk], through_leave[most_chunk], partial[threads / 32];
  int tile = blockIdx.x, C = size.chunk, V = size.value, K = size.key, thread = threadIdx.x, lane = thread % 32, warp = thread / 32;
  float *KD = room + tile * size.backwardRoom(), *QK = KD + C * C, *dA = QK + C * C, *dQK = dA + C * C, *crossing = dQK + C * C;
  float *X = crossing + C * C, *U = X + C * V, *dR = U + C * V, *dQ = dR + C * V, *reads = dQ + C * K, *writes = reads + C * K;
  float *dS = writes + C * K;
  float rate = expf(in.a_log[tile % size.heads]), dt_bias = in.dt_bias[tile % size.heads];
  double sum_a_log = 0, sum_dt_bias = 0; // of thread 0
  for (int e = thread; e < size.state(); e += threads)
    dS[e] = 0;
  for (int chunk = size.chunks() - 1; chunk >= 0; --chunk) {
    Chunk<T> c = fetch(rows, size, in, tile, chunk);
    const T *before = states + (int64_t(tile) * size.chunks() + chunk) * size.state();
    int n = c.tokens;
    float last = rows.enter[n - 1];
    auto q = [&](int i, int j) { return c.q(i, j); };
    auto k = [&](int i, int j) { return c.k(i, j); };
    auto kTurned = [&](int l, int j) { return c.k(j, l); };
    auto E = [&](int i, int p) { return toFloat(d_y[c.headAt(i) * V + p]); };
    auto S = [&](int l, int p) { return toFloat(before[l * V + p]); };
    auto STurned = [&](int p, int l) { return toFloat(before[l * V + p]); };
    auto UTurned = [&](int p, int j) { return U[j * V + p]; };
    auto A = [&](int i, int l) { return rows.beta[i] * KD[i * C + l]; };

    // The chunk again.
    product<fast>(n, n, K, k, kTurned, [&](int i, int j, float sum) { KD[i * C + j] = j < i ? sum * rows.decay(i, j) : 0.0f; });
    product<fast>(n, n, K, q, kTurned, [&](int i, int j, float sum) { QK[i * C + j] = j <= i ? sum * rows.decay(i, j) : 0.0f; });
    product<fast>(n, V, K, k, S, [&](int i, int p, float sum) {
      float x = c.v(i, p) - rows.enter[i] * sum;
      X[i * V + p] = x, U[i * V + p] = rows.beta[i] * x;
    });
    __syncthreads();
    substitute<fast>(n, V, A, U);

    // dU, then dR.
    product<fast>(
        n, V, n + K, [&](int i, int l) { return l < n ? QK[l * C + i] : rows.leave[i] * c.k(i, l - n); },
        [&](int l, int p) { return l < n ? E(l, p) : dS[(l - n) * V + p]; }, [&](int i, int p, float sum) { dR[i * V + p] = sum; });
    __syncthreads();
    substituteBack<fast>(n, V, A, dR);
    for (int e = thread; e < n * V; e += threads)
      d_v[c.headAt(e / V) * V + e % V] = fromFloat<T>(rows.beta[e / V] * dR[e]);

    // dA and d(Q K^T); `crossing` of a row and a column before it is what their product says of the decay between them.
    product<fast>(
        n, n, V, [&](int i, int p) { return dR[i * V + p]; }, UTurned,
        [&](int i, int j, float sum) {
          dA[i * C + j] = j < i ? -sum * rows.decay(i, j) : 0.0f;
          crossing[i * C + j] = j < i ? sum * KD[i * C + j] : 0.0f;
        });
    __syncthreads();
    for (int i = warp; i < n; i += threads / 32) {
      float sum = 0;
      for (int p = lane; p < V; p += 32)
        sum = fmaf(dR[i * V + p], X[i * V + p], sum);
      for (int j = lane; j < i; j += 32)
        sum -= crossing[i * C + j];
      sum = warpSum(sum);
      if (lane == 0)
        d_beta[i] = sum;
    }
    __syncthreads();
    product<fast>(n, n, V, E, UTurned, [&](int i, int j, float sum) {
      dQK[i * C + j] = j <= i ? sum * rows.decay(i, j) : 0.0f;
      crossing[i * C + j] = j < i ? sum * QK[i * C + j] - rows.beta[i] * crossing[i * C + j] : 0.0f;
    });
    product<fast>(n, K, V, E, STurned, [&](int i, int j, float sum) { dQ[i * K + j] = rows.enter[i] * sum; });
    product<fast>(
        n, K, V, [&](int i, int p) { return rows.beta[i] * dR[i * V + p]; }, STurned,
        [&](int i, int j, float sum) { reads[i * K + j] = -rows.enter[i] * sum; });
    product<fast>(
        n, K, V, [&](int i, int p) { return U[i * V + p]; }, [&](int p, int j) { return dS[j * V + p]; },
        [&](int i, int j, float sum) { writes[i * K + j] = rows.leave[i] * sum; });
    __syncthreads();

    // d_g[i]: all pairs of a row from i on and a column before i.
    if (thread < n) {
      float sum = 0;
      for (int j = 0; j < thread; ++j)
        crossing[thread * C + j] = sum += crossing[thread * C + j];
    }
    for (int i = warp; i < n; i += threads / 32) {
      float enter = 0, leave = 0;
      for (int j = lane; j < K; j += 32) {
        enter += c.q(i, j) * dQ[i * K + j] + c.k(i, j) * reads[i * K + j];
        leave = fmaf(c.k(i, j), writes[i * K + j], leave);
      }
      enter = warpSum(enter), leave = warpSum(leave);
      if (lane == 0)
        through_enter[i] = enter, through_leave[i] = leave;
    }
    float passing = 0;
    for (int e = thread; e < size.state(); e += threads)
      passing = fmaf(dS[e], toFloat(before[e]), passing);
    passing = last * blockSum<threads>(passing, partial);
    if (thread < n) {
      float sum = 0;
      for (int i = thread; thread && i < n; ++i)
        sum += crossing[i * C + thread - 1];
      d_g[thread] = sum;
    }
    product<fast>(n, K, n, [&](int i, int l) { return dQK[i * C + l]; }, k, [&](int i, int j, float sum) { dQ[i * K + j] += sum; });
    product<fast>(
        n, K, n, [&](int i, int l) { return rows.beta[i] * dA[i * C + l]; }, k, [&](int i, int j, float sum) { reads[i * K + j] += sum; });
    product<fast>(
        n, K, 2 * n, [&](int i, int l) { return l < n ? rows.beta[l] * dA[l * C + i] : dQK[(l - n) * C + i]; },
        [&](int l, int j) { return l < n ? c.k(l, j) : c.q(l - n, j); }, [&](int i, int j, float sum) { writes[i * K + j] += sum; });
    __syncthreads();
    if (thread == 0) {
      float behind = 0;
      for (int i = 0; i < n; ++i) {
        d_g[i] += passing;
        passing += through_leave[i];
      }
      for (int i = n - 1; i >= 0; --i) {
        behind += through_enter[i];
        d_g[i] += behind;
        sum_a_log += double(d_g[i]) * rows.g[i];
        sum_dt_bias -= d_g[i] * rate * sigmoid(toFloat(in.a[c.headAt(i)]) + dt_bias);
      }
    }
    for (int i = warp; i < n; i += threads / 32) {
      storeKey(
          K, rows.unit_q[i], c.query_scale, [&](int j) { return c.q(i, j); }, [&](int j) { return dQ[i * K + j]; }, d_q + c.headAt(i) * K);
      storeKey(
          K, rows.unit_k[i], 1.0f, [&](int j) { return c.k(i, j); }, [&](int j) { return reads[i * K + j] + writes[i * K + j]; },
          d_k + c.headAt(i) * K);
    }
    __syncthreads();
    if (thread < n) {
      float x = toFloat(in.a[c.headAt(thread)]) + dt_bias, beta = rows.beta[thread];
      d_a[c.headAt(thread)] = fromFloat<T>(-d_g[thread] * rate * sigmoid(x));
      d_b[c.headAt(thread)] = fromFloat<T>(d_beta[thread] * beta * (1.0f - __fdividef(beta, size.scale)));
    }

    // The gradient of the state before the chunk.
    product<fast>(
        K, V, 2 * n, [&](int j, int l) { return l < n ? rows.enter[l] * c.q(l, j) : -rows.enter[l - n] * c.k(l - n, j); },
        [&](int l, int p) { return l < n ? E(l, p) : rows.beta[l - n] * dR[(l - n) * V + p]; },
        [&](int j, int p, float sum) { dS[j * V + p] = last * dS[j * V + p] + sum; });
  }
  if (thread == 0)
    sums[2 * tile] = float(sum_a_log), sums[2 * tile + 1] = float(sum_dt_bias);
}

/// d[T, groups, key] = sum of every group's heads of shares[T, heads, key], for d_q and, in the second row of blocks, d_k.
template <typename T>
__global__ void sumMembersKernel(T *d_q, T *d_k, const T *q_shares, const T *k_shares, int64_t count, int key, int members) {
  int64_t index = int64_t(blockIdx.x) * threads + threadIdx.x;
  if (index >= count)
    return;
  const T *from = (blockIdx.y ? k_shares : q_shares) + index / key * members * key + index % key;
  float sum = 0;
  for (int member = 0; member < members; ++member)
    sum += toFloat(from[int64_t(member) * key]);
  (blockIdx.y ? d_k : d_q)[index] = fromFloat<T>(sum);
}

/// d_a_log and d_dt_bias, added over rows of the batch.
__global__ void sumRowsKernel(float *d_a_log, float *d_dt_bias, const float *sums, Sizes size) {
  int head = blockIdx.x * threads + threadIdx.x;
  if (head >= size.heads)
    return;
  float a_log = 0, dt_bias = 0;
  for (int b = 0; b < size.batch; ++b) {
    int64_t tile = int64_t(b) * size.heads + head;
    a_log += sums[2 * tile], dt_bias += sums[2 * tile + 1];
  }
  d_a_log[head] = a_log, d_dt_bias[head] = dt_bias;
}

/// Both kernels have the same integers, and the same operands from q on.
Sizes readSizes(const MgLaunch *launch) {
  namespace number = number_mg_gated_delta;
  auto integer = [&](int index) { return int(launch->ints[index]); };
  return {integer(number::batch), integer(number::sequence), integer(number::heads), integer(number::key_heads),
          integer(number::key),   integer(number::value),    integer(number::chunk), integer(number::neg_eigval) ? 2.0f : 1.0f};
}

template <typename T> Inputs<T> readInputs(const MgLaunch *launch, int first) {
  namespace at = at_mg_gated_delta;
  auto find = [&](int index) { return operand<T>(launch, first + index - at::q); };
  return {find(at::q),
          find(at::k),
          find(at::v),
          find(at::b),
          find(at::a),
          operand<float>(launch, first + at::a_log - at::q),
          operand<float>(launch, first + at::dt_bias - at::q),
          operand<int32_t>(launch, first + at::documents - at::q)};
}

int32_t checkChunk(const char *kernel, const Sizes &size) {
  if (size.chunk > most_chunk)
    return mg_fail("%s: chunk is %d, at most %d; fix: a smaller chunk", kernel, size.chunk, most_chunk);
  return 0;
}

} // namespace

extern "C" {

int32_t mg_gated_delta(const MgLaunch *launch) {
  MG_ENTER(mg_gated_delta);
  Sizes size = readSizes(launch);
  if (int32_t status = checkChunk("mg_gated_delta", size))
    return status;
  Scratch scratch(launch, at::scratch);
  float *room = scratch.take<float>(size.tiles() * size.forwardRoom());
  if (int32_t status = scratch.check("mg_gated_delta"))
    return status;
  return withElement(launch, "mg_gated_delta", {at::y, at::states, at::q, at::k, at::v, at::b, at::a}, [&](auto element) {
    using T = decltype(element);
    deltaKernel<<<unsigned(size.tiles()), threads, 0, streamOf(launch)>>>(operand<T>(launch, at::y), operand<T>(launch, at::states),
                                                                          readInputs<T>(launch, at::q), size, room);
    return launched("mg_gated_delta");
  });
}

int32_t mg_gated_delta_grad(const MgLaunch *launch) {
  MG_ENTER(mg_gated_delta_grad);
  static_assert(at::documents - at::q == at_mg_gated_delta::documents - at_mg_gated_delta::q);
  Sizes size = readSizes(launch);
  if (int32_t status = checkChunk("mg_gated_delta_grad", size))
    return status;
  return withElement(
      launch, "mg_gated_delta_grad", {at::d_q, at::d_k, at::d_v, at::d_b, at::d_a, at::d_y, at::states, at::q, at::k, at::v, at::b, at::a},
      [&](auto element) {
        using T = decltype(element);
        Inputs<T> in = readInputs<T>(launch, at::q);
        T *states = operand<T>(launch, at::states), *d_q = operand<T>(launch, at::d_q), *d_k = operand<T>(launch, at::d_k);
        int64_t rows = int64_t(size.batch) * size.sequence, all_states = size.tiles() * size.chunks() * size.state();
        bool shares = size.heads != size.groups;
        Scratch scratch(launch, at::scratch);
        float *room = scratch.take<float>(size.tiles() * size.backwardRoom());
        float *sums = scratch.take<float>(size.tiles() * 2);
        T *q_shares = shares ? scratch.take<T>(rows * size.heads * size.key) : d_q;
        T *k_shares = shares ? scratch.take<T>(rows * size.heads * size.key) : d_k;
        T *again = states ? nullptr : scratch.take<T>(all_states);
        if (int32_t status = scratch.check("mg_gated_delta_grad"))
          return status;
        cudaStream_t stream = streamOf(launch);
        unsigned tiles = unsigned(size.tiles());
        if (again) {
          deltaKernel<<<tiles, threads, 0, stream>>>(static_cast<T *>(nullptr), again, in, size, room);
          states = again;
        }
        deltaGradKernel<<<tiles, threads, 0, stream>>>(q_shares, k_shares, operand<T>(launch, at::d_v), operand<T>(launch, at::d_b),
                                                       operand<T>(launch, at::d_a), sums, operand<T>(launch, at::d_y), states, in, size,
                                                       room);
        if (shares) {
          int64_t count = rows * size.groups * size.key;
          sumMembersKernel<<<dim3(unsigned(blocksOf(count, threads)), 2), threads, 0, stream>>>(d_q, d_k, q_shares, k_shares, count,
                                                                                                size.key, size.heads / size.groups);
        }
        sumRowsKernel<<<unsigned(blocksOf(size.heads, threads)), threads, 0, stream>>>(operand<float>(launch, at::d_a_log),
                                                                                       operand<float>(launch, at::d_dt_bias), sums, size);
        return launched("mg_gated_delta_grad");
      });
}
}
