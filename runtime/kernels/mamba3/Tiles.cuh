// bf16 tiles in shared memory and their products on Hopper's tensor cores (wgmma).
//
// A tile is rows of 64 bf16 (128 bytes) whose eight 16-byte parts stand at part ^ (row % 8), the 128-byte swizzle; it begins at a multiple
// of 1024 bytes. A wider matrix is several tiles, one after the other. The same tile serves as an operand or as its transpose.
#pragma once
#include <cstdint>
#include <cuda_bf16.h>

namespace megacc::cuda {

using bf16 = __nv_bfloat16;

/// Byte of element (row, col) of a matrix of `rows` rows.
__device__ inline uint32_t tileByte(int row, int col, int rows) {
  return (col >> 6) * rows * 128 + row * 128 + ((((col >> 3) & 7) ^ (row & 7)) << 4) + (col & 7) * 2;
}

/// The byte `row` rows and `part` times 8 columns after `from`, where the bits of row % 8 and part are zero in the row and part of `from`:
/// cheaper than another tileByte.
__device__ inline uint32_t fromPlace(uint32_t from, int row, int part) { return (from ^ ((row & 7) ^ part) << 4) + row * 128; }

__device__ inline uint32_t sharedAddress(const void *pointer) { return static_cast<uint32_t>(__cvta_generic_to_shared(pointer)); }

__device__ inline void storePair(uint8_t *tile, int row, int col, int rows, float a, float b) {
  *reinterpret_cast<__nv_bfloat162 *>(tile + tileByte(row, col, rows)) = __floats2bfloat162_rn(a, b);
}
__device__ inline float2 loadPair(const uint8_t *tile, int row, int col, int rows) {
  return __bfloat1622float2(*reinterpret_cast<const __nv_bfloat162 *>(tile + tileByte(row, col, rows)));
}

/// Makes this thread's stores to shared memory visible to the tensor cores after the next barrier.
__device__ inline void publishTiles() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }

__device__ inline void beginProducts() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
__device__ inline void commitProducts() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
template <int Pending = 0> __device__ inline void waitProducts() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(Pending) : "memory");
}

/// Keeps the compiler from moving the use of an accumulator before the wait.
template <int Count> __device__ inline void fenceRegisters(float (&values)[Count]) {
#pragma unroll
  for (int i = 0; i < Count; ++i)
    asm volatile("" : "+f"(values[i])::"memory");
}

/// Descriptor of an operand at a shared address: groups of 8 rows are 1024 bytes apart, 128-byte swizzle.
__device__ inline uint64_t operandAt(uint32_t address) {
  return uint64_t((address & 0x3ffff) >> 4) | 1ull << 16 | 64ull << 32 | 1ull << 62;
}

template <bool TransposeA, bool TransposeB> __device__ inline void multiply16(float *d, uint64_t a, uint64_t b) {
  asm volatile("wgmma.mma_async.sync.aligned.m64n16k16.f32.bf16.bf16 {%0,%1,%2,%3,%4,%5,%6,%7}, %8, %9, 1, 1, 1, %10, %11;"
               : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]), "+f"(d[4]), "+f"(d[5]), "+f"(d[6]), "+f"(d[7])
               : "l"(a), "l"(b), "n"(int(TransposeA)), "n"(int(TransposeB)));
}

template <bool TransposeA, bool TransposeB> __device__ inline void multiply32(float *d, uint64_t a, uint64_t b) {
  asm volatile("wgmma.mma_async.sync.aligned.m64n32k16.f32.bf16.bf16 "
               "{%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15}, %16, %17, 1, 1, 1, %18, %19;"
               : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]), "+f"(d[4]), "+f"(d[5]), "+f"(d[6]), "+f"(d[7]), "+f"(d[8]), "+f"(d[9]),
                 "+f"(d[10]), "+f"(d[11]), "+f"(d[12]), "+f"(d[13]), "+f"(d[14]), "+f"(d[15])
               : "l"(a), "l"(b), "n"(int(TransposeA)), "n"(int(TransposeB)));
}

template <bool TransposeA, bool TransposeB> __device__ inline void multiply64(float *d, uint64_t a, uint64_t b) {
  asm volatile("wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 "
               "{%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31}, "
               "%32, %33, 1, 1, 1, %34, %35;"
               : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]), "+f"(d[4]), "+f"(d[5]), "+f"(d[6]), "+f"(d[7]), "+f"(d[8]), "+f"(d[9]),
                 "+f"(d[10]), "+f"(d[11]), "+f"(d[12]), "+f"(d[13]), "+f"(d[14]), "+f"(d[15]), "+f"(d[16]), "+f"(d[17]), "+f"(d[18]),
                 "+f"(d[19]), "+f"(d[20]), "+f"(d[21]), "+f"(d[22]), "+f"(d[23]), "+f"(d[24]), "+f"(d[25]), "+f"(d[26]), "+f"(d[27]),
                 "+f"(d[28]), "+f"(d[29]), "+f"(d[30]), "+f"(d[31])
               : "l"(a), "l"(b), "n"(int(TransposeA)), "n"(int(TransposeB)));
}

/// sum[64, Cols] += a[64, Depth] b[Depth, Cols] by one warpgroup, in flight until commitProducts() and waitProducts().
/// a: shared address of 64 rows of a matrix [a_rows, Depth], or, transposed, of 64 columns of a matrix [Depth, .].
/// b: shared address of Cols columns of a matrix [Depth, .] if `TransposeB`, else of Cols rows of a matrix [b_rows, Depth] (its transpose).
/// Cols is 16, 32, 64 or 128. Thread t of the warpgroup holds row 16 * (t / 32) + t % 32 / 4 (+ 8), columns 8 i + t % 4 * 2 (+ 1) as
/// sum[4 i] (+ 1), and those of the row eight further as sum[4 i + 2] (+ 1).
template <int Depth, int Cols, bool TransposeA, bool TransposeB>
__device__ inline void multiplyTiles(float *sum, uint32_t a, int a_rows, uint32_t b, int b_rows) {
  constexpr int parts = Cols > 64 ? Cols / 64 : 1;
  uint64_t operand_a = operandAt(a), operand_b = operandAt(b);
  int a_tile = a_rows * 8, b_tile = b_rows * 8; // in units of 16 bytes, as the addresses of operands
#pragma unroll
  for (int part = 0; part < parts; ++part)
#pragma unroll
    for (int k = 0; k < Depth / 16; ++k) {
      uint64_t from_a = operand_a + (TransposeA ? k * 128 : (k >> 2) * a_tile + (k & 3) * 2);
      uint64_t from_b = operand_b + (TransposeB ? k * 128 + part * Depth * 8 : (k >> 2) * b_tile + (k & 3) * 2 + part * 512);
      if constexpr (Cols == 16)
        multiply16<TransposeA, TransposeB>(sum, from_a, from_b);
      else if constexpr (Cols == 32)
        multiply32<TransposeA, TransposeB>(sum, from_a, from_b);
      else
        multiply64<TransposeA, TransposeB>(sum + part * 32, from_a, from_b);
    }
}

/// Address of the columns from `col` on of a matrix of `rows` rows, for a transposed operand; col is a multiple of 16.
__device__ inline uint32_t columnsFrom(uint32_t tile, int col, int rows) { return tile + (col >> 6) * rows * 128 + (col & 63) * 2; }

/// The value, but what a loop derives from it is computed in each turn instead of kept in registers.
__device__ inline int anew(int value) {
  asm volatile("" : "+r"(value));
  return value;
}

/// condition ? a : b, of elements of an array: written as such the compiler would index the array, in local memory.
__device__ inline float select(bool condition, float a, float b) {
  float result;
  asm("{ .reg .pred p; setp.ne.s32 p, %3, 0; selp.f32 %0, %1, %2, p; }" : "=f"(result) : "f"(a), "f"(b), "r"(int(condition)));
  return result;
}

__device__ inline float warpSum(float value) {
#pragma unroll
  for (int offset = 16; offset; offset >>= 1)
    value += __shfl_xor_sync(0xffffffff, value, offset);
  return value;
}

/// Sum over the four threads that share rows of an accumulator.
__device__ inline float quadSum(float value) {
  value += __shfl_xor_sync(0xffffffff, value, 1);
  return value + __shfl_xor_sync(0xffffffff, value, 2);
}

} // namespace megacc::cuda
