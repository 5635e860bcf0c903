// Matrix products of experts on Hopper, each expert's rows times its own weight: y = x W^T, d_x = d_y W, d_W = d_y^T x.
//
// Pairs of blocks (clusters of two) stay on the multiprocessors and take tiles of 256 x n results, 128 x n a block, in a fixed order that
// all threads work out from the offsets. In a block one thread drives the copy engine through a ring of buffers, two warp groups multiply
// 64 x n each. Both blocks of a pair need the same right-hand side: each copies half of it to both.
#pragma once
#include "runtime/cuda/Hopper.cuh"
#include "runtime/cuda/Launching.cuh"

#include <algorithm>

namespace megacc::runtime::cuda {

enum class Product { forward, grad_input, grad_weight };

struct GroupedProblem {
  const int32_t *offsets;
  void *result;
  int64_t rows; // of the tensors sorted by expert
  int experts;
  int height;      // grad_weight: rows of a result; else each expert's own
  int width;       // columns of a result
  int depth;       // length of the sums; grad_weight: each expert's rows
  bool add;        // grad_weight: to the result
  bool transposed; // grad_weight: the result is stored as [width, height]
};

constexpr int tile_height = 128, tile_depth = 64, pair_height = 2 * tile_height;
constexpr int consumers = 256, block_threads = consumers + 128;
constexpr int sums_bytes = 16 * 40 * 4; // of the buffer through which a warp stores sums
constexpr int prefetch_blocks = 12;     // before the end of a sum
constexpr int band = 16;                // tiles of a row of results that are taken before the next row of tiles

template <Product product, int n> struct GroupedTile {
  static constexpr bool transpose_a = product == Product::grad_weight, transpose_b = product != Product::forward;
  static constexpr int panels = (n + 63) / 64; // of a transposed right-hand side: 64 columns each
  static constexpr int panel_bytes = tile_depth * 128;
  static constexpr int a_bytes = tile_height * tile_depth * 2;
  static constexpr int b_bytes = transpose_b ? panels * panel_bytes : n * tile_depth * 2;
  static constexpr int stage_bytes = a_bytes + b_bytes;
  static constexpr int stages = 196608 / stage_bytes;
  // On their way out results pass through a buffer per warp, 16 rows of `chunk` columns; an odd number of 16 bytes to a row keeps the banks
  // apart.
  static constexpr int chunk = n == 224 ? 112 : 128;
  static constexpr int pitch = chunk * 2 + 16;
  static constexpr int buffer_bytes = product == Product::grad_weight ? sums_bytes : 16 * pitch;
  static constexpr int staging_bytes = consumers / 32 * buffer_bytes;
  static constexpr int shared_bytes = stages * stage_bytes + staging_bytes + 2 * stages * 8;
  static_assert(shared_bytes <= 227 * 1024);
};

/// A tile of results of one expert.
struct Tile {
  int expert, begin, count; // rows of the expert
  int m, n;                 // first row (of both blocks) and column in the expert's results
};

/// Tiles by number, for numbers that only grow.
template <Product product, int n> class Schedule {
public:
  __device__ explicit Schedule(const GroupedProblem &problem) : problem(problem) { enter(0); }

  __device__ bool find(int number, Tile &tile) {
    while (number >= first + tiles) {
      if (expert + 1 >= problem.experts)
        return false;
      first += tiles;
      enter(expert + 1);
    }
    int local = number - first, pairs = countPairs(), columns = (problem.width + n - 1) / n;
    int strip = local / (pairs * band), within = local % (pairs * band), strip_columns = min(band, columns - strip * band);
    tile = {expert, begin, end - begin, within / strip_columns * pair_height, (strip * band + within % strip_columns) * n};
    return true;
  }

private:
  __device__ int countPairs() const {
    return ((product == Product::grad_weight ? problem.height : end - begin) + pair_height - 1) / pair_height;
  }
  __device__ void enter(int next) {
    expert = next;
    begin = __ldg(problem.offsets + expert);
    end = __ldg(problem.offsets + expert + 1);
    tiles = countPairs() * ((problem.width + n - 1) / n);
  }

  const GroupedProblem &problem;
  int expert, begin, end;
  int first = 0, tiles; // of the expert
};

/// Writes zeros from row `valid` on to a panel: rows of 128 bytes; the caller is one of 128 threads.
__device__ inline void clearRows(char *panel, int valid, int thread) {
  for (int i = valid * 8 + thread; i < tile_depth * 8; i += 128)
    reinterpret_cast<uint4 *>(panel)[i] = uint4();
}

/// Stores the sums of a warp, 16 x n, whose first is at (row, column) of an expert's result; transposed: the result is [width, height].
/// They pass through the warp's buffer 32 columns at a time, so that 64 or 128 bytes in a row go to memory together.
template <int n, bool transposed>
__device__ __forceinline__ void storeSums(const GroupedProblem &problem, float *result, int row, int column, float *buffer,
                                          const float (&sum)[n / 2]) {
  constexpr int chunk = 32, chunks = n / chunk;
  constexpr int words = transposed ? 4 : 8;   // of 16 bytes in a row of the buffer
  constexpr int pitch = transposed ? 20 : 40; // numbers from row to row of the buffer; keeps the banks apart
  constexpr int parts = 4;                    // words per lane
  const int lane = threadIdx.x % 32, group = lane / 4, pair = lane % 4 * 2;
  auto find = [&](int c, int i) -> float4 * { // word i of this lane, null outside the result
    const int strip = (lane + 32 * i) / words, along = lane % words * 4;
    const int r = row + (transposed ? along : strip), at = column + chunk * c + (transposed ? strip : along);
    float *place = result + (transposed ? int64_t(at) * problem.height + r : int64_t(r) * problem.width + at);
    return r < problem.height && at < problem.width ? reinterpret_cast<float4 *>(place) : nullptr;
  };
  float4 old[parts] = {}, next[parts] = {};
  auto load = [&](int c) {
#pragma unroll
    for (int i = 0; i < parts; ++i)
      if (float4 *place = find(c, i))
        next[i] = *place;
  };
  if (problem.add)
    load(0);
#pragma unroll
  for (int c = 0; c < chunks; ++c) {
#pragma unroll
    for (int i = 0; i < parts; ++i)
      old[i] = next[i];
    if (problem.add && c + 1 < chunks)
      load(c + 1);
#pragma unroll
    for (int j = 0; j < chunk / 8; ++j)
#pragma unroll
      for (int h = 0; h < 2; ++h) {
        const float *part = sum + chunk / 2 * c + 4 * j + 2 * h;
        if constexpr (transposed) {
          float *place = buffer + (8 * j + pair) * pitch + group + 8 * h;
          place[0] = part[0], place[pitch] = part[1];
        } else {
          *reinterpret_cast<float2 *>(buffer + (group + 8 * h) * pitch + 8 * j + pair) = {part[0], part[1]};
        }
      }
    __syncwarp();
#pragma unroll
    for (int i = 0; i < parts; ++i) {
      float4 value = *reinterpret_cast<const float4 *>(buffer + (lane + 32 * i) / words * pitch + lane % words * 4);
      value.x += old[i].x, value.y += old[i].y, value.z += old[i].z, value.w += old[i].w;
      if (float4 *place = find(c, i))
        *place = value;
    }
    __syncwarp();
  }
}

/// Stores the sums of a warp as bf16, whose first is at row m of the tile's expert.
template <Product product, int n>
__device__ __forceinline__ void storeRounded(const GroupedProblem &problem, const Tile &tile, int m, char *buffer,
                                             const float (&sum)[n / 2]) {
  using T = GroupedTile<product, n>;
  constexpr int words = T::chunk / 8; // of a row, 16 bytes each
  static_assert(16 * words % 32 == 0);
  const int lane = threadIdx.x % 32, rows = tile.count - m;
  bf16 *result = static_cast<bf16 *>(problem.result) + (int64_t(tile.begin) + m) * problem.width + tile.n;
#pragma unroll
  for (int first = 0; first < n; first += T::chunk) {
    const int columns = problem.width - tile.n - first;
#pragma unroll
    for (int j = 0; j < words; ++j) {
      const float *part = sum + first / 2 + 4 * j;
      storeMatrices(sharedAddress(buffer + lane % 16 * T::pitch + 16 * j), pairOf(part[0], part[1]), pairOf(part[2], part[3]));
    }
    __syncwarp();
#pragma unroll
    for (int i = lane; i < 16 * words; i += 32) {
      const int row = i / words, word = i % words;
      if (row < rows && word * 8 < columns)
        *reinterpret_cast<uint4 *>(result + int64_t(row) * problem.width + first + 8 * word) =
            *reinterpret_cast<const uint4 *>(buffer + row * T::pitch + 16 * word);
    }
    __syncwarp();
  }
}

__device__ inline void prefetch(const float *place) { asm volatile("prefetch.global.L2 [%0];" ::"l"(place)); }

/// Brings what a warp group will add to into the L2 cache: 64 x n numbers of an expert's result from (row, column) on.
template <int n> __device__ void prefetchSums(const GroupedProblem &problem, const float *result, int row, int column) {
  constexpr int line = 32; // numbers
  const int lines = problem.transposed ? 64 / line : n / line, strips = problem.transposed ? n : 64;
  for (int i = threadIdx.x % 128; i < strips * lines; i += 128) {
    const int strip = i / lines, along = i % lines * line;
    const int r = row + (problem.transposed ? along : strip), c = column + (problem.transposed ? strip : along);
    if (r < problem.height && c < problem.width)
      prefetch(result + (problem.transposed ? int64_t(c) * problem.height + r : int64_t(r) * problem.width + c));
  }
}

template <Product product, int n>
__global__ void __cluster_dims__(2, 1, 1) __launch_bounds__(block_threads, 1)
    multiplyGroups(const __grid_constant__ CUtensorMap a_map, const __grid_constant__ CUtensorMap b_map,
                   const __grid_constant__ GroupedProblem problem) {
  using T = GroupedTile<product, n>;
  extern __shared__ __align__(1024) char shared[];
  char *staging = shared + T::stages * T::stage_bytes;
  const uint32_t full = sharedAddress(staging + T::staging_bytes), empty = full + 8 * T::stages;
  const int thread = threadIdx.x, group = thread / 128, warp = thread / 32 % 4, lane = thread % 32, rank = int(clusterRank());
  const int cluster = blockIdx.x / 2, clusters = gridDim.x / 2;

  if (thread == 0) {
    for (int stage = 0; stage < T::stages; ++stage) {
      initializeBarrier(full + 8 * stage, 1);
      initializeBarrier(empty + 8 * stage, 2 * consumers / 32); // the warps that multiply, of both blocks
    }
    fenceBarriers();
  }
  syncCluster();

  auto countBlocks = [&](const Tile &tile) {
    return ((product == Product::grad_weight ? tile.count : problem.depth) + tile_depth - 1) / tile_depth;
  };
  Tile tile;
  int stage = 0, parity = 0;
  auto advance = [&] {
    if (++stage == T::stages)
      stage = 0, parity ^= 1;
  };

  if (group == 2) { // copies
    giveRegisters<72>();
    if (warp == 0 && lane == 0) {
      Schedule<product, n> schedule(problem);
      for (int number = cluster; schedule.find(number, tile); number += clusters) {
        for (int block = 0, blocks = countBlocks(tile); block < blocks; ++block, advance()) {
          const int k = block * tile_depth, m = tile.m + rank * tile_height;
          const uint32_t a = sharedAddress(shared + stage * T::stage_bytes), b = a + T::a_bytes, barrier = full + 8 * stage;
          waitBarrier(empty + 8 * stage, parity ^ 1);
          arriveExpecting(barrier, T::stage_bytes);
          if constexpr (product == Product::grad_weight) {
            for (int panel = 0; panel < 2; ++panel)
              copyTile(a + panel * T::panel_bytes, a_map, barrier, m + 64 * panel, tile.begin + k);
          } else {
            copyTile(a, a_map, barrier, k, tile.begin + m);
          }
          if constexpr (product == Product::forward)
            copyTileToBoth(b + rank * (T::b_bytes / 2), b_map, barrier, k, tile.n + rank * (n / 2), tile.expert);
          else
            for (int panel = rank * (T::panels / 2); panel < (rank + 1) * (T::panels / 2); ++panel) {
              if constexpr (product == Product::grad_input)
                copyTileToBoth(b + panel * T::panel_bytes, b_map, barrier, tile.n + 64 * panel, k, tile.expert);
              else
                copyTileToBoth(b + panel * T::panel_bytes, b_map, barrier, tile.n + 64 * panel, tile.begin + k);
            }
        }
      }
    } else if (product != Product::grad_weight && warp > 0) {
      clearTail<uint4>(static_cast<bf16 *>(problem.result), __ldg(problem.offsets + problem.experts), problem.rows, problem.width,
                       blockIdx.x * 96 + thread - consumers - 32, gridDim.x * 96);
    }
    __syncwarp();
  } else { // products
    takeRegisters<216>();
    auto release = [&](int released) {
      if (lane < 2)
        arriveAt(empty + 8 * released, lane);
    };
    char *buffer = staging + thread / 32 * T::buffer_bytes;
    int last = -1;
    Schedule<product, n> schedule(problem);
    for (int number = cluster; schedule.find(number, tile); number += clusters) {
      float sum[n / 2];
      const int blocks = countBlocks(tile), m = tile.m + rank * tile_height + group * 64; // first row of this warp group
      float *weights = static_cast<float *>(problem.result) + int64_t(tile.expert) * problem.height * problem.width; // of grad_weight
      for (int block = 0; block < blocks; ++block, advance()) {
        if (product == Product::grad_weight && problem.add && block == max(0, blocks - prefetch_blocks))
          prefetchSums<n>(problem, weights, m, tile.n);
        char *a = shared + stage * T::stage_bytes, *b = a + T::a_bytes;
        waitBarrier(full + 8 * stage, parity);
        if constexpr (product == Product::grad_weight) {
          if (int valid = tile.count - block * tile_depth; valid < tile_depth) { // the rest are rows of others, or hold nothing
            clearRows(a + group * T::panel_bytes, valid, thread % 128);
            for (int panel = group; panel < T::panels; panel += 2)
              clearRows(b + panel * T::panel_bytes, valid, thread % 128);
            fenceShared();
            syncThreads(1, consumers);
          }
        }
        const uint32_t a_start = sharedAddress(a) + group * (T::transpose_a ? T::panel_bytes : 64 * 128);
        fenceProducts();
#pragma unroll
        for (int k = 0; k < tile_depth; k += 16)
          multiply<n, T::transpose_a, T::transpose_b>(sum, describeOperand(a_start + k * (T::transpose_a ? 128 : 2), T::panel_bytes),
                                                      describeOperand(sharedAddress(b) + k * (T::transpose_b ? 128 : 2), T::panel_bytes),
                                                      block > 0 || k > 0);
        commitProducts();
        waitProducts<1>();
        if (last >= 0)
          release(last);
        last = stage;
      }
      waitProducts<0>();
      if (last >= 0)
        release(last);
      last = -1;

      if constexpr (product == Product::grad_weight) {
        if (blocks == 0) {
          if (problem.add)
            continue;
#pragma unroll
          for (int i = 0; i < n / 2; ++i)
            sum[i] = 0.0f;
        }
        if (problem.transposed)
          storeSums<n, true>(problem, weights, m + warp * 16, tile.n, reinterpret_cast<float *>(buffer), sum);
        else
          storeSums<n, false>(problem, weights, m + warp * 16, tile.n, reinterpret_cast<float *>(buffer), sum);
      } else {
        storeRounded<product, n>(problem, tile, m + warp * 16, buffer, sum);
      }
    }
  }
  syncCluster(); // the other block may still write to this one
}

} // namespace megacc::runtime::cuda
