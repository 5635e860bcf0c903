// Backward attention without atomics, in passes over the scores: one with a tile of queries per block, which goes over tiles of keys and
// sums d_q, one with a tile of keys, which goes over tiles of queries, head after head of its group, and sums d_k and d_v. All are the same
// kernel: a tile that stays (1: of q or k, 2: of d_y or v) meets tiles that pass (1: of k or q, 2: of v or d_y). With p = exp(scores - lse)
// and d_scores = p * (d_p - delta), sums of d_scores times passing tile 1 are d_q or d_k, sums of p times passing tile 2 are d_v. The
// scores of the next step are computed before the sums of this one, so that the matrix units are busy while p is.
#include "runtime/kernels/attention/Attention.cuh"

namespace megacc::runtime::attention {

namespace {

/// Registers of a thread beyond which what is held would be spilled.
constexpr int most_held = 192;

/// What a pass sums. Keys and values apart where the sums of both do not fit in registers.
enum class Pass { queries, keys_and_values, keys, values };

template <int qk, int v, Pass pass> struct BackwardTile {
  static constexpr bool of_queries = pass == Pass::queries, wants_1 = pass != Pass::values;
  static constexpr bool wants_2 = pass == Pass::keys_and_values || pass == Pass::values;
  static constexpr int consumers = qk + v <= 320 ? 2 : 1, rows = 64 * consumers, stages = qk + v <= 256 ? 3 : 2;
  // Whether registers hold d_p of the next step beside the weights of this one.
  static constexpr bool d_p_ahead = (wants_1 ? qk : 0) + (wants_2 ? v : 0) <= 192;
  // Whether they hold the tile that stays too; else the matrix units read it from shared memory, at the limit of its bandwidth.
  static constexpr bool held =
      wants_1 && (wants_1 ? qk / 2 : 0) + (wants_2 ? v / 2 : 0) + 64 + 16 * (wants_1 + wants_2) + (qk + v) / 4 <= most_held;
  static constexpr int threads = 128 * (consumers + 1);
  static constexpr int stay_1_bytes = rows * qk * 2, stay_2_bytes = rows * v * 2, pass_1_bytes = step_rows * qk * 2,
                       pass_2_bytes = step_rows * v * 2;
  static constexpr int terms_bytes = of_queries ? 0 : step_rows * int(sizeof(RowTerms));
  static constexpr int stage_bytes = pass_1_bytes + pass_2_bytes;
  static constexpr int shared_bytes = 1024 + stay_1_bytes + stay_2_bytes + stages * (stage_bytes + terms_bytes) + 8 * (2 + 2 * stages);
};

struct BackwardArguments {
  Source stay_1, stay_2, pass_1, pass_2;
  Sink sum_1, sum_2;
  const RowTerms *terms;
  const int32_t *first_keys;
  Order order;
  int heads, kv_heads, sequence, padded;
  float scale, scale_log2; // scale / ln 2
};

/// Rows of one head that stay, and the steps they go through: passing tiles [begin, end) of each of `heads` heads.
struct Work {
  int batch, head, first_row, first_head, heads, begin, end;
};

/// Last query whose document holds `key`: the last whose first key is not behind it. first_keys ascends.
__device__ inline int lastQuery(const int32_t *first_keys, int key, int sequence) {
  int low = key, high = sequence - 1;
  while (low < high) {
    int middle = (low + high + 1) / 2;
    if (first_keys[middle] <= key)
      low = middle;
    else
      high = middle - 1;
  }
  return low;
}

template <typename Tile> __device__ bool findWork(Work &work, const BackwardArguments &a, int turn) {
  int all_head, rank;
  if (!a.order.find(turn, all_head, rank))
    return false;
  int heads = Tile::of_queries ? a.heads : a.kv_heads, group = a.heads / a.kv_heads;
  work.batch = all_head / heads, work.head = all_head % heads;
  work.first_row = (Tile::of_queries ? a.order.tiles - 1 - rank : rank) * Tile::rows;
  int end_row = min(work.first_row + Tile::rows, a.sequence);
  const int32_t *first_keys = a.first_keys ? a.first_keys + work.batch * a.sequence : nullptr;
  if constexpr (Tile::of_queries) {
    work.first_head = work.head / group, work.heads = 1;
    work.begin = first_keys ? first_keys[work.first_row] / step_rows : 0, work.end = (end_row - 1) / step_rows + 1;
  } else {
    int last = first_keys ? lastQuery(first_keys, end_row - 1, a.sequence) : a.sequence - 1;
    work.first_head = work.head * group, work.heads = group;
    work.begin = work.first_row / step_rows, work.end = last / step_rows + 1;
  }
  return true;
}

/// Terms of the rows of a passing tile, as fill() does it.
template <bool bulk> __device__ void fillTerms(uint32_t to, const RowTerms *terms, uint32_t barrier) {
  if constexpr (bulk) {
    arriveExpecting(barrier, step_rows * sizeof(RowTerms));
    copyBytes(to, terms, step_rows * sizeof(RowTerms), barrier);
  } else {
    if (threadIdx.x < step_rows)
      asm volatile("st.shared.v2.f32 [%0], {%1, %2};" ::"r"(to + threadIdx.x * 8), "f"(terms[threadIdx.x].x), "f"(terms[threadIdx.x].y)
                   : "memory");
    arrive(barrier);
  }
}

template <int qk, int v, Pass pass, bool bulk>
__global__ void __launch_bounds__(BackwardTile<qk, v, pass>::threads, 1) backwardKernel(const __grid_constant__ BackwardArguments a) {
  using Tile = BackwardTile<qk, v, pass>;
  constexpr int stages = Tile::stages;
  constexpr bool of_queries = Tile::of_queries;
  extern __shared__ char shared_memory[];
  uint32_t shared_stay_1 = (sharedAddress(shared_memory) + 1023) / 1024 * 1024, shared_stay_2 = shared_stay_1 + Tile::stay_1_bytes;
  uint32_t shared_pass = shared_stay_2 + Tile::stay_2_bytes, shared_terms = shared_pass + stages * Tile::stage_bytes;
  uint32_t full_stay = shared_terms + stages * Tile::terms_bytes, empty_stay = full_stay + 8, full = empty_stay + 8,
           empty = full + 8 * stages;
  if (threadIdx.x == 0) {
    constexpr int fillers = bulk ? 1 : 128, readers = 128 * Tile::consumers;
    initializeBarrier(full_stay, 2 * fillers), initializeBarrier(empty_stay, readers);
    for (int i = 0; i < stages; ++i)
      initializeBarrier(full + 8 * i, (of_queries ? 2 : 3) * fillers), initializeBarrier(empty + 8 * i, readers);
    fenceBarriers();
  }
  __syncthreads();
  Work work;
  Place<stages> place;
  if (threadIdx.x < 128) {
    if constexpr (Tile::consumers > 1)
      giveRegisters<40>();
    if (bulk && threadIdx.x > 0)
      return;
    for (int turn = 0; findWork<Tile>(work, a, turn); ++turn) {
      waitBarrier(empty_stay, (turn + 1) % 2);
      fill<Tile::rows, qk, bulk>(shared_stay_1, a.stay_1, full_stay, work.batch, work.head, work.first_row);
      fill<Tile::rows, v, bulk>(shared_stay_2, a.stay_2, full_stay, work.batch, work.head, work.first_row);
      for (int head = work.first_head; head < work.first_head + work.heads; ++head)
        for (int tile = work.begin; tile < work.end; ++tile, place.advance()) {
          uint32_t barrier = full + 8 * place.stage, to = shared_pass + place.stage * Tile::stage_bytes;
          waitBarrier(empty + 8 * place.stage, place.parity ^ 1);
          fill<step_rows, qk, bulk>(to, a.pass_1, barrier, work.batch, head, tile * step_rows);
          fill<step_rows, v, bulk>(to + Tile::pass_1_bytes, a.pass_2, barrier, work.batch, head, tile * step_rows);
          if constexpr (!of_queries)
            fillTerms<bulk>(shared_terms + place.stage * Tile::terms_bytes,
                            a.terms + (int64_t(work.batch) * a.heads + head) * a.padded + tile * step_rows, barrier);
        }
    }
    return;
  }
  if constexpr (Tile::consumers > 1)
    takeRegisters<232>();
  int group = threadIdx.x / 128 - 1, lane = threadIdx.x % 32;
  uint32_t stay_1 = shared_stay_1 + group * box_bytes, stay_2 = shared_stay_2 + group * box_bytes;
  int group_row, row;
  float lse[2], delta[2]; // of the rows of this thread, where they are queries
  int first[2], latest_first;
  float scores[32], d_p[32], sum_1[Tile::wants_1 ? qk / 64 : 1][32], sum_2[Tile::wants_2 ? v / 64 : 1][32];
  uint32_t weights[4][4], d_scores[4][4];
  auto firstKey = [&](int query) { return a.first_keys ? a.first_keys[work.batch * a.sequence + min(query, a.sequence - 1)] : 0; };
  [[maybe_unused]] uint32_t held_1[qk / 16][4], held_2[v / 16][4];
  auto beginScores = [&](int stage) {
    uint32_t tile = shared_pass + stage * Tile::stage_bytes;
    if constexpr (Tile::held)
      startScores<qk>(scores, held_1, tile);
    else
      startScores<qk, step_rows>(scores, stay_1, Tile::rows * 128, tile);
  };
  auto beginDp = [&](int stage) {
    uint32_t tile = shared_pass + stage * Tile::stage_bytes + Tile::pass_1_bytes;
    if constexpr (Tile::held)
      startScores<v>(d_p, held_2, tile);
    else
      startScores<v, step_rows>(d_p, stay_2, Tile::rows * 128, tile);
  };
  // scores become p. Element 4 j + 2 h + i is row h, column 8 j + i of this thread.
  auto weigh = [&](int stage, int tile, auto is_masked) {
    constexpr bool masked = decltype(is_masked)::value;
#pragma unroll
    for (int j = 0; j < 8; ++j) {
      int col = tile * step_rows + 8 * j + 2 * (lane % 4);
      [[maybe_unused]] float4 both = {};
      if constexpr (!of_queries)
        both = loadShared(shared_terms + stage * Tile::terms_bytes + lane % 4 * 16 + 64 * j);
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        [[maybe_unused]] int col_first = 0;
        if constexpr (masked && !of_queries)
          col_first = firstKey(col + i);
#pragma unroll
        for (int h = 0; h < 2; ++h) {
          float &score = scores[4 * j + 2 * h + i];
          float exponent = score * a.scale_log2 - (of_queries ? lse[h] : i ? both.z : both.x);
          if constexpr (masked) {
            int query = of_queries ? row + 8 * h : col + i, key = of_queries ? col + i : row + 8 * h;
            if (key > query || key < (of_queries ? first[h] : col_first))
              exponent = -INFINITY;
          }
          score = exp2Fast(exponent);
        }
      }
    }
  };
  // d_p becomes d_scores, with p in scores.
  auto differentiate = [&](int stage) {
#pragma unroll
    for (int j = 0; j < 8; ++j) {
      [[maybe_unused]] float4 both = {};
      if constexpr (!of_queries)
        both = loadShared(shared_terms + stage * Tile::terms_bytes + lane % 4 * 16 + 64 * j);
#pragma unroll
      for (int i = 0; i < 4; ++i)
        d_p[4 * j + i] = scores[4 * j + i] * (d_p[4 * j + i] - (of_queries ? delta[i / 2] : i % 2 ? both.w : both.y));
    }
  };
  auto isMasked = [&](int tile) {
    int begin = tile * step_rows, end = begin + step_rows;
    if constexpr (of_queries)
      return end - 1 > group_row || begin < latest_first;
    else
      return begin < group_row + 63 || firstKey(end - 1) > group_row;
  };
  auto sum = [&](int stage) {
    uint32_t tile_1 = shared_pass + stage * Tile::stage_bytes;
    if constexpr (Tile::wants_2)
      startSums<v, step_rows>(sum_2, weights, tile_1 + Tile::pass_1_bytes);
    if constexpr (Tile::wants_1)
      startSums<qk, step_rows>(sum_1, d_scores, tile_1);
  };
  // What differentiate left, as the left operands of the sums.
  auto pack = [&] {
    if constexpr (Tile::wants_2)
      packWeights(weights, scores);
    if constexpr (Tile::wants_1)
      packWeights(d_scores, d_p);
  };
  for (int turn = 0; findWork<Tile>(work, a, turn); ++turn) {
    group_row = work.first_row + 64 * group, row = group_row + threadIdx.x / 32 % 4 * 16 + lane / 4;
    if constexpr (of_queries) {
#pragma unroll
      for (int h = 0; h < 2; ++h) {
        bool is_there = row + 8 * h < a.sequence;
        RowTerms own = is_there ? a.terms[(int64_t(work.batch) * a.heads + work.head) * a.padded + row + 8 * h] : RowTerms();
        lse[h] = own.x, delta[h] = own.y, first[h] = firstKey(row + 8 * h);
      }
      latest_first = firstKey(group_row + 63);
    }
    clear(sum_1);
    clear(sum_2);
    // Keys behind the last query of this group hold nothing for it.
    int all = (work.end - work.begin) * work.heads, count = of_queries ? min(group_row / step_rows + 1, work.end) - work.begin : all;
    int tile = work.begin, before = place.stage;
    waitBarrier(full_stay, turn % 2);
    if constexpr (Tile::held) {
      loadOperands<qk>(held_1, stay_1, Tile::rows * 128);
      loadOperands<v>(held_2, stay_2, Tile::rows * 128);
      arrive(empty_stay);
    }
    waitBarrier(full + 8 * place.stage, place.parity);
    fenceRegisters(scores);
    fenceRegisters(d_p);
    fenceProducts();
    beginScores(before);
    if constexpr (Tile::wants_1)
      beginDp(before);
    commitProducts();
    waitProducts<0>();
    fenceRegisters(scores);
    fenceRegisters(d_p);
    weigh(before, tile, std::true_type());
    if constexpr (Tile::wants_1)
      differentiate(before);
    pack();
#pragma unroll 1
    for (int step = 1; step < count; ++step) {
      place.advance();
      if (++tile == work.end)
        tile = work.begin;
      waitBarrier(full + 8 * place.stage, place.parity);
      fenceRegisters(scores);
      fenceRegisters(sum_1);
      fenceRegisters(sum_2);
      if constexpr (Tile::d_p_ahead)
        fenceRegisters(d_p);
      fenceProducts();
      beginScores(place.stage);
      if constexpr (Tile::wants_1 && Tile::d_p_ahead)
        beginDp(place.stage);
      commitProducts();
      sum(before);
      commitProducts();
      waitProducts<1>();
      fenceRegisters(scores);
      if constexpr (Tile::d_p_ahead)
        fenceRegisters(d_p);
      if (isMasked(tile))
        weigh(place.stage, tile, std::true_type());
      else
        weigh(place.stage, tile, std::false_type());
      if constexpr (Tile::wants_1 && Tile::d_p_ahead)
        differentiate(place.stage);
      waitProducts<0>();
      fenceRegisters(sum_1);
      fenceRegisters(sum_2);
      arrive(empty + 8 * before);
      before = place.stage;
      if constexpr (Tile::wants_1 && !Tile::d_p_ahead) {
        fenceRegisters(d_p);
        fenceProducts();
        beginDp(before);
        commitProducts();
        waitProducts<0>();
        fenceRegisters(d_p);
        differentiate(before);
      }
      pack();
    }
    if constexpr (!Tile::held)
      arrive(empty_stay);
    fenceRegisters(sum_1);
    fenceRegisters(sum_2);
    fenceProducts();
    sum(before);
    commitProducts();
    waitProducts<0>();
    fenceRegisters(sum_1);
    fenceRegisters(sum_2);
    arrive(empty + 8 * before);
    place.advance();
    for (int skipped = count; skipped < all; ++skipped, place.advance()) {
      waitBarrier(full + 8 * place.stage, place.parity);
      arrive(empty + 8 * place.stage);
    }
    int item = turn;
    asm volatile("" : "+r"(item)); // or the work is held in registers through the products
    findWork<Tile>(work, a, item);
    const float scale[2] = {a.scale, a.scale}, one[2] = {1.0f, 1.0f};
    int heads = of_queries ? a.heads : a.kv_heads;
    if constexpr (Tile::wants_1)
      storeSums<qk>(a.sum_1, sum_1, scale, work.batch, row, a.sequence, heads, work.head);
    if constexpr (Tile::wants_2)
      storeSums<v>(a.sum_2, sum_2, one, work.batch, row, a.sequence, heads, work.head);
  }
}

template <typename Sizes, Pass pass> int32_t runPass(const Problem &p, BackwardArguments a) {
  using Tile = BackwardTile<Sizes::qk, Sizes::v, pass>;
  int heads = Tile::of_queries ? p.heads : p.kv_heads, group = p.heads / p.kv_heads;
  int64_t bytes = int64_t(p.sequence) * (p.qk_dim + p.v_dim) * 2;
  a.order.tiles = int(cuda::blocksOf(p.sequence, Tile::rows)), a.order.heads = p.batch * heads;
  a.order.group = Tile::of_queries ? groupOf(bytes) * group : groupOf(bytes * group);
  auto kernel = backwardKernel<Sizes::qk, Sizes::v, pass, Sizes::bulk>;
  if (int32_t status =
          cuda::check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, Tile::shared_bytes), "mg_attention_grad"))
    return status;
  int blocks;
  if (int32_t status = countBlocks(blocks, a.order))
    return status;
  kernel<<<blocks, Tile::threads, Tile::shared_bytes, p.stream>>>(a);
  return cuda::launched("mg_attention_grad");
}

} // namespace

int32_t runBackward(const Problem &p, const Gradients &g) {
  return withClass(p, cuda::areAligned({g.q, g.kv.k, g.kv.k_shared, g.kv.v, g.d_y}), [&](auto sizes) -> int32_t {
    using Sizes = decltype(sizes);
    Source q, k, v, d_y;
    if (int32_t status = describeSource(q, p, g.q, p.heads, p.qk_dim, Sizes::bulk))
      return status;
    if (int32_t status = describeSources(k, v, p, g.kv, Sizes::bulk))
      return status;
    if (int32_t status = describeSource(d_y, p, g.d_y, p.heads, p.v_dim, Sizes::bulk))
      return status;
    BackwardArguments of_queries = {
        q,          d_y,        k,          v,       denseSink(g.d_q, p.qk_dim),   Sink(), g.terms, p.first_keys, Order(), p.heads,
        p.kv_heads, p.sequence, p.padded(), p.scale, p.scale * 1.4426950408889634f};
    BackwardArguments of_keys = of_queries;
    of_keys.stay_1 = k, of_keys.stay_2 = v, of_keys.pass_1 = q, of_keys.pass_2 = d_y;
    of_keys.sum_1 = denseSink(g.d_k, p.qk_dim), of_keys.sum_2 = denseSink(g.d_v, p.v_dim);
    if (p.shared_dim) {
      int own = p.qk_dim - p.shared_dim, stride = own + p.v_dim;
      of_keys.sum_1 = {g.d_k, g.d_k_shared, own, stride, own / panel_cols, p.shared_dim};
      of_keys.sum_2 = denseSink(g.d_k + own, p.v_dim), of_keys.sum_2.stride = stride;
    }
    if constexpr (Sizes::qk + Sizes::v <= 256) {
      if (int32_t status = runPass<Sizes, Pass::keys_and_values>(p, of_keys))
        return status;
    } else {
      if (int32_t status = runPass<Sizes, Pass::keys>(p, of_keys))
        return status;
      if (int32_t status = runPass<Sizes, Pass::values>(p, of_keys))
        return status;
    }
    return runPass<Sizes, Pass::queries>(p, of_queries);
  });
}

} // namespace megacc::runtime::attention
