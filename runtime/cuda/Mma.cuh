// Warp-wide matrix instructions on 16-bit fragments. Of a 16 x 16 tile a lane, with g = lane / 4 and i = lane % 4, holds four registers of
// two elements: rows g and g + 8 of columns 2i, 2i + 1, then the same of columns 2i + 8, 2i + 9. Accumulators of two neighbouring 16 x 8
// products have that order too, so a sum becomes the next left operand without moving between lanes.
#pragma once
#include <cstdint>
#include <cuda_bf16.h>
#include <cuda_fp16.h>

namespace megacc::runtime::cuda {

/// sum[16,8] += a[16,16] b[16,8]; b0, b1: rows 2i, 2i + 1 and 2i + 8, 2i + 9 of column g.
__device__ inline void multiplyBf16(float (&sum)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

__device__ inline void multiplyF16(float (&sum)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

__device__ inline uint32_t sharedAddress(const void *address) { return uint32_t(__cvta_generic_to_shared(address)); }

/// A 16 x 16 tile to and from 512 bytes of shared memory; `tile` has 16 bytes per lane.
__device__ inline void storeTile(uint4 *tile, const uint32_t (&a)[4]) {
  asm volatile("stmatrix.sync.aligned.m8n8.x4.shared.b16 [%0], {%1,%2,%3,%4};" ::"r"(sharedAddress(tile + threadIdx.x % 32)), "r"(a[0]),
               "r"(a[1]), "r"(a[2]), "r"(a[3])
               : "memory");
}

__device__ inline void loadTile(uint32_t (&a)[4], const uint4 *tile) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(a[0]), "=r"(a[1]), "=r"(a[2]), "=r"(a[3])
               : "r"(sharedAddress(tile + threadIdx.x % 32))
               : "memory");
}

/// Every 8 x 8 quarter transposed: elements (2i, g) and (2i + 1, g) of each, a tile's right operands for products over its rows.
__device__ inline void loadTileTransposed(uint32_t (&a)[4], const uint4 *tile) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(a[0]), "=r"(a[1]), "=r"(a[2]), "=r"(a[3])
               : "r"(sharedAddress(tile + threadIdx.x % 32))
               : "memory");
}

/// The transposed tile as a left operand: the same quarters, the middle ones exchanged.
__device__ inline void loadTileTransposedLeft(uint32_t (&a)[4], const uint4 *tile) {
  int lane = threadIdx.x % 32, exchanged = (lane & 7) | (lane & 8) << 1 | (lane & 16) >> 1;
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(a[0]), "=r"(a[1]), "=r"(a[2]), "=r"(a[3])
               : "r"(sharedAddress(tile + exchanged))
               : "memory");
}

__device__ inline uint32_t packBf16(float low, float high) {
  uint32_t pair;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
  return pair;
}
__device__ inline uint32_t packF16(float low, float high) {
  uint32_t pair;
  asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
  return pair;
}
__device__ inline float2 unpackBf16(uint32_t pair) { return {__uint_as_float(pair << 16), __uint_as_float(pair & 0xffff0000u)}; }
__device__ inline float2 unpackF16(uint32_t pair) { return __half22float2(*reinterpret_cast<__half2 *>(&pair)); }

/// Within 2^-11 of tanh, relatively.
__device__ inline float fastTanh(float x) {
  float y;
  asm("tanh.approx.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

} // namespace megacc::runtime::cuda
