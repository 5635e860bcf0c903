// Tiles of attention on Hopper: from global to shared memory, through the products of warp groups, back to global memory.
//
// A tile of R rows x C columns of bf16 lies in shared memory as C / 64 panels of R rows of 128 bytes, whose 16-byte pieces are swizzled:
// what the copy engine writes and the matrix units read.
#pragma once
#include "runtime/cuda/Device.cuh"
#include "runtime/cuda/Hopper.cuh"

namespace megacc::runtime::attention {

using cuda::bf16;

inline constexpr int box_rows = 64, panel_cols = 64, box_bytes = box_rows * panel_cols * 2;

/// A tensor [batch, sequence, heads, dim], of which tiles of one head are read.
struct Source {
  CUtensorMap map;    // boxes of box_rows x panel_cols; only where tiles are copied in bulk
  CUtensorMap shared; // of one head, which every head has behind its own panels
  const bf16 *data;
  int sequence, heads, dim;
  int own_panels; // from here on panels are the shared head's
  bool wide;      // rows of a head begin at multiples of 16 bytes
};

/// A tensor [batch, sequence, heads, dim], of which tiles of one head are written: heads `stride` elements apart. Columns behind own_panels
/// panels go to `rest`, [batch, sequence, heads, rest_dim].
struct Sink {
  bf16 *data, *rest;
  int dim, stride, own_panels, rest_dim;
};
inline Sink denseSink(bf16 *data, int dim) { return {data, nullptr, dim, dim, 1 << 16, 0}; }

/// A place in a ring of `stages` buffers, and the parity of its barriers.
template <int stages> struct Place {
  int stage = 0;
  uint32_t parity = 0;
  __device__ void advance() {
    if (++stage == stages)
      stage = 0, parity ^= 1;
  }
};

__device__ inline void arrive(uint32_t barrier) { asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(barrier) : "memory"); }

__device__ inline void copyBox(uint32_t to, const CUtensorMap &map, uint32_t barrier, int col, int head, int row, int batch) {
  asm volatile("cp.async.bulk.tensor.4d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%2, %3, %4, %5}], [%6];" ::"r"(to),
               "l"(&map), "r"(col), "r"(head), "r"(row), "r"(batch), "r"(barrier)
               : "memory");
}

/// bytes, both addresses: multiples of 16.
__device__ inline void copyBytes(uint32_t to, const void *from, uint32_t bytes, uint32_t barrier) {
  asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::"r"(to), "l"(from), "r"(bytes),
               "r"(barrier)
               : "memory");
}

__device__ inline float4 loadShared(uint32_t from) {
  float4 values;
  asm volatile("ld.shared.v4.f32 {%0, %1, %2, %3}, [%4];"
               : "=f"(values.x), "=f"(values.y), "=f"(values.z), "=f"(values.w)
               : "r"(from)
               : "memory");
  return values;
}

/// Rows [row, row + rows) of a head by one thread, zeros behind the end of the sequence and of the head; the bytes are counted at the
/// barrier.
template <int rows, int cols> __device__ void copyTile(uint32_t to, const Source &source, uint32_t barrier, int batch, int head, int row) {
#pragma unroll 1 // the producer has few registers
  for (int panel = 0; panel < cols / panel_cols; ++panel) {
    bool own = panel < source.own_panels;
    const CUtensorMap &map = own ? source.map : source.shared;
    int col = (own ? panel : panel - source.own_panels) * panel_cols;
#pragma unroll 1
    for (int box = 0; box < rows / box_rows; ++box)
      copyBox(to + (panel * (rows / box_rows) + box) * box_bytes, map, barrier, col, own ? head : 0, row + box * box_rows, batch);
  }
}

/// The same by `threads` threads, for heads of any width. Ends with the fence for the matrix units.
template <int rows, int cols, int threads>
__device__ void storeTile(uint32_t to, const Source &source, int thread, int batch, int head, int row) {
  for (int piece = thread; piece < rows * (cols / 8); piece += threads) {
    int r = piece / (cols / 8), c = piece % (cols / 8);
    uint4 values = {};
    if (row + r < source.sequence && 8 * c < source.dim) {
      const bf16 *from = source.data + ((int64_t(batch) * source.sequence + row + r) * source.heads + head) * source.dim + 8 * c;
      values = cuda::loadRaw(from, source.dim - 8 * c, source.wide);
    }
    uint32_t at = to + (c / 8) * (rows * 128) + r * 128 + ((c % 8) ^ (r % 8)) * 16;
    asm volatile("st.shared.v4.b32 [%0], {%1, %2, %3, %4};" ::"r"(at), "r"(values.x), "r"(values.y), "r"(values.z), "r"(values.w)
                 : "memory");
  }
  fenceShared();
}

/// One of them, by warp group 0 of a block or, in bulk, its first thread; `barrier` says when it is there.
template <int rows, int cols, bool bulk>
__device__ void fill(uint32_t to, const Source &source, uint32_t barrier, int batch, int head, int row) {
  if constexpr (bulk) {
    arriveExpecting(barrier, rows * cols * 2);
    copyTile<rows, cols>(to, source, barrier, batch, head, row);
  } else {
    storeTile<rows, cols, 128>(to, source, threadIdx.x, batch, head, row);
    arrive(barrier);
  }
}

// Products. The sums of a thread of warp w, lane l: sum[4 j + 2 h + i] is row 16 w + 8 h + l / 4, column 8 j + 2 (l % 4) + i.

/// Consumer warp groups start their products in turns, so that one multiplies while another computes weights. Every group takes as many
/// turns.
template <int groups> struct Turns {
  int group;
  /// `group`: the thread's, from 0. The first turn is group 0's.
  __device__ explicit Turns(int group) : group(group) {
    if (groups > 1 && group == groups - 1)
      pass();
  }
  __device__ void wait() const {
    if (groups > 1)
      asm volatile("bar.sync %0, 256;" ::"r"(1 + group) : "memory");
  }
  __device__ void pass() const {
    if (groups > 1)
      asm volatile("bar.arrive %0, 256;" ::"r"(group == groups - 1 ? 1 : 2 + group) : "memory");
  }
};

/// Keeps the compiler from moving uses of registers across a wait.
template <int count> __device__ inline void fenceRegisters(float (&values)[count]) {
#pragma unroll
  for (int i = 0; i < count; ++i)
    asm volatile("" : "+f"(values[i])::"memory");
}
template <int panels, int count> __device__ inline void fenceRegisters(float (&values)[panels][count]) {
#pragma unroll
  for (int i = 0; i < panels; ++i)
    fenceRegisters(values[i]);
}

template <int panels, int count> __device__ inline void clear(float (&values)[panels][count]) {
#pragma unroll
  for (int i = 0; i < panels; ++i)
#pragma unroll
    for (int j = 0; j < count; ++j)
      values[i][j] = 0;
}

#define MG_SUM8(i)                                                                                                                         \
  "+f"(sum[i]), "+f"(sum[i + 1]), "+f"(sum[i + 2]), "+f"(sum[i + 3]), "+f"(sum[i + 4]), "+f"(sum[i + 5]), "+f"(sum[i + 6]), "+f"(sum[i + 7])
#define MG_SUM32 MG_SUM8(0), MG_SUM8(8), MG_SUM8(16), MG_SUM8(24)
#define MG_NAMES "{%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31}"

/// sum[64 x 64] = a[64 x 16] b[64 x 16]^T, or added with add = 1.
__device__ __forceinline__ void multiplyShared(float (&sum)[32], uint64_t a, uint64_t b, int add) {
  asm volatile("{\n.reg .pred add;\nsetp.ne.b32 add, %34, 0;\n"
               "wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 " MG_NAMES ", %32, %33, add, 1, 1, 0, 0;\n}"
               : MG_SUM32
               : "l"(a), "l"(b), "r"(add));
}
/// sum[64 x 128].
__device__ __forceinline__ void multiplyShared(float (&sum)[64], uint64_t a, uint64_t b, int add) {
  multiply<128, false, false>(sum, a, b, add);
}

/// sum[64 x 64] += a[64 x 16] b[16 x 64]: a in registers, 16 x 16 a warp; rows of b along its columns.
__device__ __forceinline__ void multiplyRegisters(float (&sum)[32], const uint32_t (&a)[4], uint64_t b) {
  asm volatile("wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 " MG_NAMES ", {%32,%33,%34,%35}, %36, 1, 1, 1, 1;"
               : MG_SUM32
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b));
}
/// sum[64 x 64] = a[64 x 16] b[64 x 16]^T with a in registers, or added with add = 1.
__device__ __forceinline__ void multiplyRegistersTransposed(float (&sum)[32], const uint32_t (&a)[4], uint64_t b, int add) {
  asm volatile("{\n.reg .pred add;\nsetp.ne.b32 add, %37, 0;\n"
               "wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 " MG_NAMES ", {%32,%33,%34,%35}, %36, add, 1, 1, 0;\n}"
               : MG_SUM32
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(add));
}

#undef MG_SUM8
#undef MG_SUM32
#undef MG_NAMES

/// Starts scores[64 x n] = a b^T: 64 rows of a tile whose panels are `a_panel` bytes, all n rows of another.
template <int cols, int n> __device__ __forceinline__ void startScores(float (&scores)[n / 2], uint32_t a, uint32_t a_panel, uint32_t b) {
  asm volatile("" : "+r"(a)); // or its descriptors are held in registers from tile to tile
#pragma unroll
  for (int k = 0; k < cols / 16; ++k)
    multiplyShared(scores, describeOperand(a + (k / 4) * a_panel + (k % 4) * 32, a_panel),
                   describeOperand(b + (k / 4) * (n * 128) + (k % 4) * 32, n * 128), k > 0);
}

/// The same for 64 rows in registers.
template <int cols> __device__ __forceinline__ void startScores(float (&scores)[32], const uint32_t (&a)[cols / 16][4], uint32_t b) {
#pragma unroll
  for (int k = 0; k < cols / 16; ++k)
    multiplyRegistersTransposed(scores, a[k], describeOperand(b + (k / 4) * box_bytes + (k % 4) * 32, box_bytes), k > 0);
}

/// The 16 rows of a warp, of 64 rows of a tile whose panels are `panel` bytes, as left operands.
template <int cols> __device__ void loadOperands(uint32_t (&operands)[cols / 16][4], uint32_t tile, uint32_t panel) {
  int lane = threadIdx.x % 32, row = threadIdx.x / 32 % 4 * 16 + lane % 16;
#pragma unroll
  for (int k = 0; k < cols / 16; ++k) {
    uint32_t at = tile + (k / 4) * panel + row * 128 + ((2 * (k % 4) + lane / 16) ^ (row % 8)) * 16;
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(operands[k][0]), "=r"(operands[k][1]), "=r"(operands[k][2]), "=r"(operands[k][3])
                 : "r"(at)
                 : "memory");
  }
}

/// Starts sums[64 x cols] += weights[64 x rows] b: weights in registers, b a tile of `rows` rows.
template <int cols, int rows>
__device__ __forceinline__ void startSums(float (&sums)[cols / 64][32], const uint32_t (&weights)[rows / 16][4], uint32_t b) {
#pragma unroll
  for (int k = 0; k < rows / 16; ++k)
#pragma unroll
    for (int panel = 0; panel < cols / 64; ++panel)
      multiplyRegisters(sums[panel], weights[k], describeOperand(b + panel * (rows * 128) + k * 2048, rows * 128));
}

/// Sums of a product as the left operand of the next.
template <int n> __device__ __forceinline__ void packWeights(uint32_t (&weights)[n / 8][4], const float (&sums)[n]) {
  // n sums per thread are n / 2 columns in steps of 8: two steps make one operand.
#pragma unroll
  for (int k = 0; k < n / 8; ++k)
#pragma unroll
    for (int i = 0; i < 4; ++i)
      weights[k][i] = cuda::pairOf(sums[8 * k + 2 * i], sums[8 * k + 2 * i + 1]);
}

__device__ inline float exp2Fast(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

/// Writes factor * sums to the rows of a thread of a warp group, `row` its first, and the columns of a head.
template <int cols>
__device__ void storeSums(const Sink &to, const float (&sums)[cols / 64][32], const float (&factor)[2], int batch, int row, int sequence,
                          int heads, int head) {
  int lane = threadIdx.x % 32, stride = to.stride;
  asm volatile("" : "+r"(stride), "+r"(lane)); // or what follows from them is computed early and held in registers through the products
#pragma unroll
  for (int h = 0; h < 2; ++h) {
    if (row + 8 * h >= sequence)
      continue;
    int64_t head_row = (int64_t(batch) * sequence + row + 8 * h) * heads + head;
#pragma unroll
    for (int panel = 0; panel < cols / 64; ++panel) {
      bool own = panel < to.own_panels;
      int first = own ? panel * 64 : (panel - to.own_panels) * 64, left = (own ? to.dim : to.rest_dim) - first;
      bf16 *begin = (own ? to.data + head_row * stride : to.rest + head_row * to.rest_dim) + first;
#pragma unroll
      for (int j = 0; j < 8; ++j) {
        int col = 8 * j + 2 * (lane % 4);
        float low = sums[panel][4 * j + 2 * h] * factor[h], high = sums[panel][4 * j + 2 * h + 1] * factor[h];
        if (stride % 2 == 0) {
          if (col < left)
            *reinterpret_cast<uint32_t *>(begin + col) = cuda::pairOf(low, high);
          continue;
        }
        if (col < left)
          begin[col] = __float2bfloat16_rn(low);
        if (col + 1 < left)
          begin[col + 1] = __float2bfloat16_rn(high);
      }
    }
  }
}

/// Which tiles a block works on. Heads go in groups whose streamed tensors stay in the L2 cache together, in a group first the tiles with
/// the most work; as many blocks as the card has multiprocessors go back and forth over that list, so that their work evens out.
struct Order {
  int tiles, heads, group; // tiles of a head; heads of all rows; heads of a group

  /// The tile of a turn, counted from the one with the most work; false after the last.
  __device__ bool find(int turn, int &head, int &rank) const {
    int item = turn * gridDim.x + (turn % 2 ? gridDim.x - 1 - blockIdx.x : blockIdx.x);
    if (item >= tiles * heads)
      return false;
    int first = item / (tiles * group) * group, members = min(group, heads - first), local = item - first * tiles;
    head = first + local % members, rank = local / members;
    return true;
  }
};

/// Blocks for an order.
int32_t countBlocks(int &blocks, const Order &order);

/// Heads whose `bytes` each fit in half of the L2 cache of a Hopper card.
inline int groupOf(int64_t bytes) { return int(std::max<int64_t>(1, (int64_t(24) << 20) / bytes)); }

} // namespace megacc::runtime::attention
