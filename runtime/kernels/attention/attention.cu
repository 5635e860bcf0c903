// Causal attention on CUDA: entry points and what runs once a launch before the kernels of forward.cu and backward.cu.
#include "runtime/cuda/TensorMap.h"
#include "runtime/kernels/attention/Attention.cuh"

using namespace megacc::runtime;
using namespace megacc::runtime::attention;
using cuda::bf16;

namespace megacc::runtime::attention {

int32_t describeSource(Source &source, const Problem &p, const void *data, int heads, int dim, bool bulk) {
  source.data = static_cast<const bf16 *>(data), source.sequence = p.sequence, source.heads = heads, source.dim = dim;
  source.own_panels = 1 << 16, source.wide = dim % 8 == 0 && cuda::areAligned({data});
  return bulk ? describeHeads(&source.map, data, p.batch, p.sequence, heads, dim, dim, box_rows) : 0;
}

int32_t describeSources(Source &keys, Source &values, const Problem &p, const KeysAndValues &kv, bool bulk) {
  if (p.shared_dim == 0) {
    int32_t status = describeSource(keys, p, kv.k, p.kv_heads, p.qk_dim, bulk);
    return status ? status : describeSource(values, p, kv.v, p.kv_heads, p.v_dim, bulk);
  }
  const int own = p.qk_dim - p.shared_dim, stride = own + p.v_dim;
  if (!bulk || own % panel_cols || own <= 0)
    return mg_fail(
        "attention: packed keys of %d channels beside %d shared ones and values of %d; fix: own channels in multiples of %d, the "
        "others of 8",
        own, p.shared_dim, p.v_dim, panel_cols);
  keys.own_panels = own / panel_cols, values.own_panels = 1 << 16;
  if (int32_t status = describeHeads(&keys.map, kv.k, p.batch, p.sequence, p.kv_heads, own, stride, box_rows))
    return status;
  if (int32_t status = describeHeads(&keys.shared, kv.k_shared, p.batch, p.sequence, 1, p.shared_dim, p.shared_dim, box_rows))
    return status;
  return describeHeads(&values.map, kv.k + own, p.batch, p.sequence, p.kv_heads, p.v_dim, stride, box_rows);
}

int32_t countBlocks(int &blocks, const Order &order) {
  int device = 0;
  if (int32_t status = cuda::check(cudaGetDevice(&device), "attention"))
    return status;
  if (int32_t status = cuda::check(cudaDeviceGetAttribute(&blocks, cudaDevAttrMultiProcessorCount, device), "attention"))
    return status;
  blocks = std::min(blocks, order.tiles * order.heads);
  return 0;
}

} // namespace megacc::runtime::attention

namespace {

constexpr int scan_threads = 1024;

/// first[t] = start of the run of equal ids that holds t; one block per row of the batch.
__global__ void __launch_bounds__(scan_threads) findFirstKeys(const int32_t *documents, int sequence, int32_t *first) {
  __shared__ int32_t warp_last[scan_threads / 32];
  documents += int64_t(blockIdx.x) * sequence, first += int64_t(blockIdx.x) * sequence;
  int32_t before = 0; // the latest start so far
  for (int begin = 0; begin < sequence; begin += scan_threads) {
    int t = begin + threadIdx.x, lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    int32_t start = t > 0 && t < sequence && documents[t] != documents[t - 1] ? t : 0;
    for (int distance = 1; distance < 32; distance *= 2) {
      int32_t other = __shfl_up_sync(0xffffffffu, start, distance);
      start = lane >= distance ? max(start, other) : start;
    }
    if (lane == 31)
      warp_last[warp] = start;
    __syncthreads();
    int32_t latest = before;
    for (int i = 0; i < scan_threads / 32; ++i) {
      if (i == warp)
        start = max(start, latest);
      latest = max(latest, warp_last[i]);
    }
    before = latest;
    if (t < sequence)
      first[t] = start;
    __syncthreads();
  }
}

constexpr int term_threads = 256, lanes_a_row = 8;

/// The terms of all rows of queries; a row of `padded` places, those behind the end of the sequence without weight.
__global__ void __launch_bounds__(term_threads) findTerms(const bf16 *d_y, const bf16 *y, const float *lse, int sequence, int padded,
                                                          int heads, int v_dim, bool wide, int64_t rows, RowTerms *terms) {
  int64_t at = int64_t(blockIdx.x) * (term_threads / lanes_a_row) + threadIdx.x / lanes_a_row; // [batch, padded, heads]
  int64_t batch = at / (int64_t(padded) * heads);
  int t = int(at / heads % padded), head = int(at % heads), lane = threadIdx.x % lanes_a_row;
  bool is_there = at < rows && t < sequence;
  float sum = 0;
  if (is_there)
    for (int c = 8 * lane; c < v_dim; c += 8 * lanes_a_row) {
      int64_t begin = ((batch * sequence + t) * heads + head) * v_dim + c;
      auto a = cuda::loadPack(d_y + begin, v_dim - c, wide), b = cuda::loadPack(y + begin, v_dim - c, wide);
#pragma unroll
      for (int i = 0; i < 8; ++i)
        sum += a[i] * b[i];
    }
#pragma unroll
  for (int distance = lanes_a_row / 2; distance > 0; distance /= 2)
    sum += __shfl_xor_sync(0xffffffffu, sum, distance);
  if (lane == 0 && at < rows) {
    int64_t row = batch * heads + head;
    terms[row * padded + t] = is_there ? RowTerms{lse[row * sequence + t] * 1.4426950408889634f, sum} : RowTerms{INFINITY, 0};
  }
}

/// Both kernels have the same parameters. Returns 0, or records what cannot be served.
int32_t readProblem(Problem &p, const MgLaunch *launch, const char *kernel, std::initializer_list<int> operands) {
  namespace number = number_mg_attention;
  for (int index : operands)
    if (launch->types[index] != MG_BF16 && launch->types[index] != MG_ABSENT)
      return mg_fail("%s: operand %d has type %d; fix: bf16 (%d)", kernel, index, int(launch->types[index]), int(MG_BF16));
  p.batch = int(launch->ints[number::batch]), p.sequence = int(launch->ints[number::sequence]), p.heads = int(launch->ints[number::heads]);
  p.kv_heads = int(launch->ints[number::kv_heads]), p.qk_dim = int(launch->ints[number::qk_dim]),
  p.v_dim = int(launch->ints[number::v_dim]), p.shared_dim = int(launch->ints[number::shared_dim]);
  p.scale = float(launch->doubles[real_mg_attention::scale]), p.stream = cuda::streamOf(launch), p.first_keys = nullptr;
  if (p.qk_dim > 256 || p.v_dim > 256)
    return mg_fail("%s: qk_dim is %d and v_dim %d, at most 256", kernel, p.qk_dim, p.v_dim);
  if (!(p.scale > 0))
    return mg_fail("%s: scale is %g; fix: a positive one", kernel, p.scale);
  return 0;
}

int32_t findDocuments(Problem &p, const int32_t *documents, int32_t *first, const char *kernel) {
  if (!documents)
    return 0;
  findFirstKeys<<<p.batch, scan_threads, 0, p.stream>>>(documents, p.sequence, first);
  p.first_keys = first;
  return cuda::launched(kernel);
}

} // namespace

extern "C" {

int32_t mg_attention(const MgLaunch *launch) {
  MG_ENTER(mg_attention);
  Problem p;
  if (int32_t status = readProblem(p, launch, "mg_attention", {at::y, at::q, at::k, at::k_shared, at::v}))
    return status;
  const int32_t *documents = integers(launch, at::documents);
  Scratch scratch(launch, at::scratch);
  int32_t *first = documents ? scratch.take<int32_t>(int64_t(p.batch) * p.sequence) : nullptr;
  if (int32_t status = scratch.check("mg_attention"))
    return status;
  if (int32_t status = findDocuments(p, documents, first, "mg_attention"))
    return status;
  KeysAndValues kv = {cuda::operand<bf16>(launch, at::k), cuda::operand<bf16>(launch, at::k_shared), cuda::operand<bf16>(launch, at::v)};
  return runForward(p, cuda::operand<bf16>(launch, at::y), output(launch, at::lse), cuda::operand<bf16>(launch, at::q), kv);
}

int32_t mg_attention_grad(const MgLaunch *launch) {
  MG_ENTER(mg_attention_grad);
  Problem p;
  if (int32_t status = readProblem(p, launch, "mg_attention_grad",
                                   {at::d_q, at::d_k, at::d_k_shared, at::d_v, at::d_y, at::y, at::q, at::k, at::k_shared, at::v}))
    return status;
  const int32_t *documents = integers(launch, at::documents);
  const float *lse = input(launch, at::lse);
  int64_t head_rows = int64_t(p.batch) * p.heads, terms_count = head_rows * p.padded();
  Scratch scratch(launch, at::scratch);
  RowTerms *terms = scratch.take<RowTerms>(terms_count);
  int32_t *first = documents ? scratch.take<int32_t>(int64_t(p.batch) * p.sequence) : nullptr;
  float *own_lse = lse ? nullptr : scratch.take<float>(head_rows * p.sequence);
  if (int32_t status = scratch.check("mg_attention_grad"))
    return status;
  if (int32_t status = findDocuments(p, documents, first, "mg_attention_grad"))
    return status;
  const bf16 *q = cuda::operand<bf16>(launch, at::q);
  KeysAndValues kv = {cuda::operand<bf16>(launch, at::k), cuda::operand<bf16>(launch, at::k_shared), cuda::operand<bf16>(launch, at::v)};
  const bf16 *d_y = cuda::operand<bf16>(launch, at::d_y), *y = cuda::operand<bf16>(launch, at::y);
  if (own_lse) {
    if (int32_t status = runForward(p, /*y=*/nullptr, own_lse, q, kv))
      return status;
    lse = own_lse;
  }
  bool wide = p.v_dim % 8 == 0 && cuda::areAligned({d_y, y});
  findTerms<<<unsigned(cuda::blocksOf(terms_count, term_threads / lanes_a_row)), term_threads, 0, p.stream>>>(
      d_y, y, lse, p.sequence, p.padded(), p.heads, p.v_dim, wide, terms_count, terms);
  if (int32_t status = cuda::launched("mg_attention_grad"))
    return status;
  return runBackward(p, {cuda::operand<bf16>(launch, at::d_q), cuda::operand<bf16>(launch, at::d_k),
                         cuda::operand<bf16>(launch, at::d_k_shared), cuda::operand<bf16>(launch, at::d_v), d_y, q, kv, terms});
}
}
