// Forward attention: a block has 64 queries a consumer warp group and goes over tiles of keys with an online softmax; one more warp group
// brings the tiles. The scores of the next tile are computed while the weights of this one meet their values.
#include "runtime/kernels/attention/Attention.cuh"

namespace megacc::runtime::attention {

namespace {

template <int qk, int v, bool bulk> struct ForwardTile {
  static constexpr int consumers = v == 64 && bulk ? 3 : 2, queries = 64 * consumers, keys = v <= 128 ? 128 : 64, stages = 2;
  static constexpr int threads = 128 * (consumers + 1);
  static constexpr int consumer_registers = consumers == 3 ? 160 : 232, producer_registers = consumers == 3 ? 32 : 40;
  static constexpr int q_bytes = queries * qk * 2, k_bytes = keys * qk * 2, v_bytes = keys * v * 2;
  static constexpr int shared_bytes = 1024 + q_bytes + stages * (k_bytes + v_bytes) + 8 * (2 + 4 * stages);
};

struct ForwardArguments {
  Source q, k, v;
  Sink y;
  float *lse;
  const int32_t *first_keys;
  Order order;
  int heads, group, sequence; // group: query heads of a key head
  float scale_log2;           // scale / ln 2
};

/// Scores of keys that a query may not see become -infinity. `row`: of the thread's first query.
template <int n> __device__ __forceinline__ void maskScores(float (&scores)[n], int2 first, int row, int key) {
#pragma unroll
  for (int i = 0; i < n; ++i) {
    int h = i / 2 % 2, at = key + i / 4 * 8 + i % 2;
    if (at > row + 8 * h || at < (h ? first.y : first.x))
      scores[i] = -INFINITY;
  }
}

/// Scores become weights exp(scores - largest); `sum` and `largest` (of scores before the scale) go on, `shrink` is what older sums lose.
template <int n>
__device__ __forceinline__ void softmaxStep(float (&scores)[n], float (&largest)[2], float (&sum)[2], float (&shrink)[2],
                                            float scale_log2) {
#pragma unroll
  for (int h = 0; h < 2; ++h) {
    float top = largest[h];
#pragma unroll
    for (int i = 2 * h; i < n; i += 4)
      top = fmaxf(top, fmaxf(scores[i], scores[i + 1]));
    top = fmaxf(top, __shfl_xor_sync(0xffffffffu, top, 1));
    top = fmaxf(top, __shfl_xor_sync(0xffffffffu, top, 2));
    // A row that has seen no key yet has nothing to shrink.
    float base = top == -INFINITY ? 0.0f : top * scale_log2;
    shrink[h] = exp2Fast(largest[h] * scale_log2 - base);
    largest[h] = top;
    float total = 0;
#pragma unroll
    for (int i = 2 * h; i < n; i += 4) {
      scores[i] = exp2Fast(scores[i] * scale_log2 - base);
      scores[i + 1] = exp2Fast(scores[i + 1] * scale_log2 - base);
      total += scores[i] + scores[i + 1];
    }
    sum[h] = sum[h] * shrink[h] + total;
  }
}

/// Queries of one head, and the tiles of keys that they see.
struct Work {
  int all_head, batch, head, first_query, first_tile, end_tile;
};

template <typename Tile> __device__ bool findWork(Work &work, const ForwardArguments &a, int turn) {
  int rank;
  if (!a.order.find(turn, work.all_head, rank))
    return false;
  work.batch = work.all_head / a.heads, work.head = work.all_head % a.heads;
  work.first_query = (a.order.tiles - 1 - rank) * Tile::queries;
  work.first_tile = a.first_keys ? a.first_keys[work.batch * a.sequence + work.first_query] / Tile::keys : 0;
  work.end_tile = (min(work.first_query + Tile::queries, a.sequence) - 1) / Tile::keys + 1;
  return true;
}

template <int qk, int v, bool bulk>
__global__ void __launch_bounds__(ForwardTile<qk, v, bulk>::threads, 1) forwardKernel(const __grid_constant__ ForwardArguments a) {
  using Tile = ForwardTile<qk, v, bulk>;
  constexpr int stages = Tile::stages, keys = Tile::keys;
  extern __shared__ char shared_memory[];
  uint32_t shared_q = (sharedAddress(shared_memory) + 1023) / 1024 * 1024;
  uint32_t shared_k = shared_q + Tile::q_bytes, shared_v = shared_k + stages * Tile::k_bytes, full_q = shared_v + stages * Tile::v_bytes;
  uint32_t empty_q = full_q + 8, full_k = empty_q + 8, full_v = full_k + 8 * stages, empty_k = full_v + 8 * stages,
           empty_v = empty_k + 8 * stages;
  if (threadIdx.x == 0) {
    constexpr int fillers = bulk ? 1 : 128, readers = 4 * Tile::consumers;
    initializeBarrier(full_q, fillers), initializeBarrier(empty_q, readers);
    for (int i = 0; i < stages; ++i) {
      initializeBarrier(full_k + 8 * i, fillers), initializeBarrier(full_v + 8 * i, fillers);
      initializeBarrier(empty_k + 8 * i, readers), initializeBarrier(empty_v + 8 * i, readers);
    }
    fenceBarriers();
  }
  __syncthreads();
  Work work;
  if (threadIdx.x < 128) {
    giveRegisters<Tile::producer_registers>();
    if (bulk && threadIdx.x > 0)
      return;
    Place<stages> place;
    for (int turn = 0; findWork<Tile>(work, a, turn); ++turn) {
      int kv_head = work.head / a.group;
      waitBarrier(empty_q, (turn + 1) % 2);
      fill<Tile::queries, qk, bulk>(shared_q, a.q, full_q, work.batch, work.head, work.first_query);
      for (int tile = work.first_tile; tile < work.end_tile; ++tile, place.advance()) {
        waitBarrier(empty_k + 8 * place.stage, place.parity ^ 1);
        fill<keys, qk, bulk>(shared_k + place.stage * Tile::k_bytes, a.k, full_k + 8 * place.stage, work.batch, kv_head, tile * keys);
        waitBarrier(empty_v + 8 * place.stage, place.parity ^ 1);
        fill<keys, v, bulk>(shared_v + place.stage * Tile::v_bytes, a.v, full_v + 8 * place.stage, work.batch, kv_head, tile * keys);
      }
    }
    return;
  }
  takeRegisters<Tile::consumer_registers>();
  int group = threadIdx.x / 128 - 1, warp = threadIdx.x / 32 % 4, lane = threadIdx.x % 32;
  uint32_t group_q = shared_q + 64 * group * 128;
  // The number of a tile of this block.
  int n = 0;
  const Turns<Tile::consumers> turns(group);
  auto stageOf = [](int n) { return n % stages; };
  auto waitFor = [&](uint32_t barriers, int n) { waitBarrier(barriers + 8 * (n % stages), uint32_t(n / stages % 2)); };
  auto release = [&](uint32_t barriers, int n) {
    if (lane == 0)
      arrive(barriers + 8 * (n % stages));
  };
  for (int turn = 0; findWork<Tile>(work, a, turn); ++turn) {
    int group_query = work.first_query + 64 * group, row_in_group = 16 * warp + lane / 4, first_key_row = work.batch * a.sequence;
    auto firstKey = [&](int query) { return a.first_keys ? a.first_keys[first_key_row + min(query, a.sequence - 1)] : 0; };
    // Tiles from `clean` on hold only keys of the document of every query, those from `end` on only keys behind the last query of this
    // group.
    int clean = (firstKey(group_query + 63) + keys - 1) / keys, end = min((group_query + 63) / keys + 1, work.end_tile),
        tile = work.first_tile;
    float scores[keys / 2], out[v / 64][32] = {}, largest[2] = {-INFINITY, -INFINITY}, sum[2] = {}, shrink[2];
    uint32_t weights[keys / 16][4];
    auto weigh = [&] {
      if (tile * keys + keys - 1 > group_query || tile < clean) {
        int row = group_query + row_in_group;
        maskScores(scores, {firstKey(row), firstKey(row + 8)}, row, tile * keys + 2 * (lane % 4));
      }
      softmaxStep(scores, largest, sum, shrink, a.scale_log2);
    };
    waitBarrier(full_q, turn % 2);
    waitFor(full_k, n);
    turns.wait();
    fenceRegisters(scores);
    fenceProducts();
    startScores<qk, keys>(scores, group_q, Tile::queries * 128, shared_k + stageOf(n) * Tile::k_bytes);
    commitProducts();
    turns.pass();
    waitProducts<0>();
    fenceRegisters(scores);
    release(empty_k, n);
    weigh();
    packWeights(weights, scores);
#pragma unroll 1
    while (++tile < end) {
      ++n;
      waitFor(full_k, n);
      turns.wait();
      fenceRegisters(scores);
      fenceRegisters(out);
      fenceProducts();
      startScores<qk, keys>(scores, group_q, Tile::queries * 128, shared_k + stageOf(n) * Tile::k_bytes);
      commitProducts();
      waitFor(full_v, n - 1);
      fenceProducts();
      startSums<v, keys>(out, weights, shared_v + stageOf(n - 1) * Tile::v_bytes);
      commitProducts();
      turns.pass();
      waitProducts<1>();
      fenceRegisters(scores);
      release(empty_k, n);
      weigh();
      waitProducts<0>();
      fenceRegisters(out);
      release(empty_v, n - 1);
      packWeights(weights, scores);
#pragma unroll
      for (int panel = 0; panel < v / 64; ++panel)
#pragma unroll
        for (int j = 0; j < 32; ++j)
          out[panel][j] *= shrink[j / 2 % 2];
    }
    if (lane == 0)
      arrive(empty_q);
    waitFor(full_v, n);
    fenceRegisters(out);
    fenceProducts();
    startSums<v, keys>(out, weights, shared_v + stageOf(n) * Tile::v_bytes);
    commitProducts();
    waitProducts<0>();
    fenceRegisters(out);
    release(empty_v, n);
    int item = turn;
    asm volatile("" : "+r"(item)); // or the work is held in registers through the products
    findWork<Tile>(work, a, item);
    for (; tile < work.end_tile; ++tile) {
      ++n;
      turns.wait(), turns.pass();
      waitFor(full_k, n), release(empty_k, n);
      waitFor(full_v, n), release(empty_v, n);
    }
    ++n;
    int row = group_query + row_in_group;
    float factor[2];
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      sum[h] += __shfl_xor_sync(0xffffffffu, sum[h], 1);
      sum[h] += __shfl_xor_sync(0xffffffffu, sum[h], 2);
      factor[h] = 1.0f / sum[h];
      if (a.lse && lane % 4 == 0 && row + 8 * h < a.sequence)
        a.lse[int64_t(work.all_head) * a.sequence + row + 8 * h] = (largest[h] * a.scale_log2 + log2f(sum[h])) * 0.6931471805599453f;
    }
    if (a.y.data)
      storeSums<v>(a.y, out, factor, work.batch, row, a.sequence, a.heads, work.head);
  }
}

} // namespace

int32_t runForward(const Problem &p, bf16 *y, float *lse, const bf16 *q, const KeysAndValues &kv) {
  return withClass(p, cuda::areAligned({q, kv.k, kv.k_shared, kv.v}), [&](auto sizes) -> int32_t {
    using Sizes = decltype(sizes);
    using Tile = ForwardTile<Sizes::qk, Sizes::v, Sizes::bulk>;
    ForwardArguments a;
    if (int32_t status = describeSource(a.q, p, q, p.heads, p.qk_dim, Sizes::bulk))
      return status;
    if (int32_t status = describeSources(a.k, a.v, p, kv, Sizes::bulk))
      return status;
    a.y = denseSink(y, p.v_dim), a.lse = lse, a.first_keys = p.first_keys;
    a.heads = p.heads, a.group = p.heads / p.kv_heads, a.sequence = p.sequence, a.scale_log2 = p.scale * 1.4426950408889634f;
    a.order = {int(cuda::blocksOf(p.sequence, Tile::queries)), p.batch * p.heads,
               groupOf(int64_t(p.sequence) * (p.qk_dim + p.v_dim) * 2) * a.group};
    auto kernel = forwardKernel<Sizes::qk, Sizes::v, Sizes::bulk>;
    if (int32_t status =
            cuda::check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, Tile::shared_bytes), "mg_attention"))
      return status;
    int blocks;
    if (int32_t status = countBlocks(blocks, a.order))
      return status;
    kernel<<<blocks, Tile::threads, Tile::shared_bytes, p.stream>>>(a);
    return cuda::launched("mg_attention");
  });
}

} // namespace megacc::runtime::attention
