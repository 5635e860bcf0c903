// Entry points of the M2RNN recurrence on CUDA: the choice of kernels, and the sums over heads and batch rows in their order.
#include "runtime/kernels/m2rnn/plain.cuh"

using namespace megacc::runtime;
using namespace megacc::runtime::cuda;
using namespace megacc::runtime::cuda::m2rnn;

namespace {

constexpr int threads = 128;

/// The eight tokens of a group, one row of q or k a thread: their shares added over the heads.
template <typename T> __global__ void sumHeadsKernel(T *d_q, T *d_k, Shares<T> shares, Sizes size) {
  int64_t index = int64_t(blockIdx.x) * threads + threadIdx.x, group = index / size.key, b = group / size.groups();
  int i = int(index % size.key), begin = int(group % size.groups()) * 8;
  if (b >= size.batch)
    return;
  const T *from = (blockIdx.y ? shares.k : shares.q) + ((b * size.heads * size.groups() + begin / 8) * size.key + i) * 8;
  float sum[8] = {};
#pragma unroll 4
  for (int head = 0; head < size.heads; ++head, from += int64_t(size.groups()) * size.key * 8)
#pragma unroll
    for (int part = 0; part < 8; part += Pack<T>::size) {
      Pack<T> pack = loadPack(from + part, 8, true);
#pragma unroll
      for (int s = 0; s < Pack<T>::size; ++s)
        sum[part + s] += pack[s];
    }
  T *to = blockIdx.y ? d_k : d_q;
#pragma unroll
  for (int s = 0; s < 8; ++s)
    if (begin + s < size.sequence)
      to[(b * size.sequence + begin + s) * size.key + i] = fromFloat<T>(sum[s]);
}

/// d_state_weight, d_a_log and d_dt_bias of one head, added over batch rows.
template <typename T>
__global__ void sumBatchKernel(float *d_weight, float *d_a_log, float *d_dt_bias, Shares<T> shares, Sizes size, int parts, bool add) {
  int head = blockIdx.x, square = size.value * size.value;
  for (int e = threadIdx.x; e < square; e += threads) {
    float sum = 0;
    for (int b = 0; b < size.batch; ++b)
      for (int part = 0; part < parts; ++part)
        sum += shares.weight[((int64_t(b) * size.heads + head) * parts + part) * square + e];
    float &to = d_weight[int64_t(head) * square + e];
    to = add ? to + sum : sum;
  }
  if (threadIdx.x < 2) {
    float sum = 0;
    for (int b = 0; b < size.batch; ++b)
      sum += shares.sums[2 * (int64_t(b) * size.heads + head) + threadIdx.x];
    (threadIdx.x ? d_dt_bias : d_a_log)[head] = sum;
  }
}

int32_t checkSizes(const char *kernel, const Sizes &size) {
  if (size.key > plain_most || size.value > plain_most)
    return mg_fail("%s: key is %d and value %d, at most %d each; fix: a smaller state", kernel, size.key, size.value, plain_most);
  return 0;
}

int32_t refuseAlignment(const char *kernel) {
  return mg_fail("%s: an operand does not start at a multiple of 16 bytes; fix: compile the declaration again", kernel);
}

template <typename T>
int32_t scanPlain(const MgLaunch *launch, const char *kernel, const Sizes &size, const Inputs<T> &in, T *y, T *states, float *norms) {
  size_t bytes = size_t(size.value * size.value + 2 * size.key * size.value) * sizeof(float);
  if (int32_t status = check(cudaFuncSetAttribute(plainScanKernel<T>, cudaFuncAttributeMaxDynamicSharedMemorySize, int(bytes)), kernel))
    return status;
  plainScanKernel<<<unsigned(size.tiles()), plain_threads, bytes, streamOf(launch)>>>(y, states, norms, in, size);
  return launched(kernel);
}

template <typename T> int32_t scan(const MgLaunch *launch, const Sizes &size, const Inputs<T> &in, T *y, T *states) {
  if constexpr (sizeof(T) == 2)
    if (size.isFast(MG_BF16)) {
      if (!areAligned({y, states, in.q, in.k, in.v, in.weight}))
        return refuseAlignment("mg_m2rnn_scan");
      return scanFast(launch, size, in, y, states);
    }
  return scanPlain(launch, "mg_m2rnn_scan", size, in, y, states, nullptr);
}

__global__ void meanKernel(float *norm, const float *norms, int64_t count, float share) {
  __shared__ float sums[threads / 32];
  float sum = blockSumOf<threads>(norms, count, sums);
  if (threadIdx.x == 0)
    *norm = share * sum;
}

} // namespace

extern "C" {

int32_t mg_m2rnn_scan(const MgLaunch *launch) {
  MG_ENTER(mg_m2rnn_scan);
  auto integer = [&](int index) { return int(launch->ints[index]); };
  Sizes size = {integer(number::batch), integer(number::sequence), integer(number::heads),
                integer(number::key),   integer(number::value),    integer(number::interval)};
  if (int32_t status = checkSizes("mg_m2rnn_scan", size))
    return status;
  if (int32_t status = Scratch(launch, at::scratch).check("mg_m2rnn_scan"))
    return status;
  return withElement(launch, "mg_m2rnn_scan", {at::y, at::states, at::q, at::k, at::v, at::f, at::state_weight}, [&](auto element) {
    using T = decltype(element);
    Inputs<T> in = {operand<T>(launch, at::q),
                    operand<T>(launch, at::k),
                    operand<T>(launch, at::v),
                    operand<T>(launch, at::f),
                    operand<T>(launch, at::state_weight),
                    operand<float>(launch, at::a_log),
                    operand<float>(launch, at::dt_bias),
                    operand<int32_t>(launch, at::documents)};
    return scan(launch, size, in, operand<T>(launch, at::y), operand<T>(launch, at::states));
  });
}

int32_t mg_m2rnn_state_norm(const MgLaunch *launch) {
  MG_ENTER(mg_m2rnn_state_norm);
  auto integer = [&](int index) { return int(launch->ints[index]); };
  Sizes size = {integer(number::batch), integer(number::sequence), integer(number::heads),
                integer(number::key),   integer(number::value),    integer(number::interval)};
  if (int32_t status = checkSizes("mg_m2rnn_state_norm", size))
    return status;
  Scratch scratch(launch, at::scratch);
  float *norms = scratch.take<float>(size.tiles());
  if (int32_t status = scratch.check("mg_m2rnn_state_norm"))
    return status;
  return withElement(launch, "mg_m2rnn_state_norm", {at::q, at::k, at::v, at::f, at::state_weight}, [&](auto element) {
    using T = decltype(element);
    Inputs<T> in = {operand<T>(launch, at::q),
                    operand<T>(launch, at::k),
                    operand<T>(launch, at::v),
                    operand<T>(launch, at::f),
                    operand<T>(launch, at::state_weight),
                    operand<float>(launch, at::a_log),
                    operand<float>(launch, at::dt_bias),
                    operand<int32_t>(launch, at::documents)};
    if (int32_t status = scanPlain<T>(launch, "mg_m2rnn_state_norm", size, in, nullptr, nullptr, norms))
      return status;
    meanKernel<<<1, threads, 0, streamOf(launch)>>>(operand<float>(launch, at::norm), norms, size.tiles(),
                                                    float(launch->doubles[real::share]));
    return launched("mg_m2rnn_state_norm");
  });
}

int32_t mg_m2rnn_scan_grad(const MgLaunch *launch) {
  MG_ENTER(mg_m2rnn_scan_grad);
  auto integer = [&](int index) { return int(launch->ints[index]); };
  Sizes size = {integer(number::batch), integer(number::sequence), integer(number::heads),
                integer(number::key),   integer(number::value),    integer(number::interval)};
  if (int32_t status = checkSizes("mg_m2rnn_scan_grad", size))
    return status;
  bool add = addsToOutput(launch, launch->ints[number::accumulate]);
  return withElement(
      launch, "mg_m2rnn_scan_grad", {at::d_q, at::d_k, at::d_v, at::d_f, at::d_y, at::states, at::q, at::k, at::v, at::f, at::state_weight},
      [&](auto element) {
        using T = decltype(element);
        uint8_t type = launch->types[at::q];
        Inputs<T> in = {operand<T>(launch, at::q),
                        operand<T>(launch, at::k),
                        operand<T>(launch, at::v),
                        operand<T>(launch, at::f),
                        operand<T>(launch, at::state_weight),
                        operand<float>(launch, at::a_log),
                        operand<float>(launch, at::dt_bias),
                        operand<int32_t>(launch, at::documents)};
        T *states = operand<T>(launch, at::states), *d_v = operand<T>(launch, at::d_v), *d_f = operand<T>(launch, at::d_f);
        T *d_y = operand<T>(launch, at::d_y);
        int64_t tiles = size.tiles(), state = int64_t(size.key) * size.value, square = int64_t(size.value) * size.value;
        int parts = size.weightParts(type);
        Scratch scratch(launch, at::scratch);
        Shares<T> shares;
        shares.q = scratch.take<T>(tiles * size.groups() * size.key * 8);
        shares.k = scratch.take<T>(tiles * size.groups() * size.key * 8);
        shares.weight = scratch.take<float>(tiles * parts * square);
        shares.sums = scratch.take<float>(tiles * 2);
        float *room = size.isFast(type) ? nullptr : scratch.take<float>(tiles * (2 * size.interval + 1) * state);
        T *again = states ? nullptr : scratch.take<T>(tiles * size.blocks() * state);
        if (int32_t status = scratch.check("mg_m2rnn_scan_grad"))
          return status;
        if (again) {
          if (int32_t status = scan(launch, size, in, static_cast<T *>(nullptr), again))
            return status;
          states = again;
        }
        auto walkBack = [&]() -> int32_t {
          if constexpr (sizeof(T) == 2)
            if (size.isFast(type)) {
              if (!areAligned({d_v, d_y, states, in.q, in.k, in.v, in.weight}))
                return refuseAlignment("mg_m2rnn_scan_grad");
              return scanGradFast(launch, size, in, d_y, states, d_v, d_f, shares);
            }
          int bytes = int((2 * square + 2 * state) * int64_t(sizeof(float)));
          if (int32_t status = check(cudaFuncSetAttribute(plainScanGradKernel<T>, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes),
                                     "mg_m2rnn_scan_grad"))
            return status;
          plainScanGradKernel<<<unsigned(tiles), plain_threads, bytes, streamOf(launch)>>>(d_v, d_f, shares, room, d_y, states, in, size);
          return launched("mg_m2rnn_scan_grad");
        };
        if (int32_t status = walkBack())
          return status;
        dim3 blocks(unsigned(blocksOf(int64_t(size.batch) * size.groups() * size.key, threads)), 2);
        sumHeadsKernel<<<blocks, threads, 0, streamOf(launch)>>>(operand<T>(launch, at::d_q), operand<T>(launch, at::d_k), shares, size);
        sumBatchKernel<<<unsigned(size.heads), threads, 0, streamOf(launch)>>>(
            operand<float>(launch, at::d_state_weight), operand<float>(launch, at::d_a_log), operand<float>(launch, at::d_dt_bias), shares,
            size, parts, add);
        return launched("mg_m2rnn_scan_grad");
      });
}
}
