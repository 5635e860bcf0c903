// Instructions of compute capability 9.0a that CUDA C++ has no words for: barriers in shared memory, the bulk copy engine, matrix products
// of a warp group.
#pragma once
#include <cstdint>
#include <cuda.h>

namespace megacc::runtime {

__device__ inline uint32_t sharedAddress(const void *pointer) { return uint32_t(__cvta_generic_to_shared(pointer)); }

// Barriers (mbarrier): `address` is one of shared memory.

__device__ inline void initializeBarrier(uint32_t address, uint32_t arrivals) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(address), "r"(arrivals) : "memory");
}

/// Makes initialized barriers visible to the cluster and to the copy engine.
__device__ inline void fenceBarriers() { asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory"); }

/// Arrives, and announces bytes that the copy engine will write.
__device__ inline void arriveExpecting(uint32_t address, uint32_t bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(address), "r"(bytes) : "memory");
}

/// Arrives at the barrier of the same place in block `rank` of the cluster. Orders what this thread and the matrix units read before it,
/// not its writes: those would need a fence of the whole device.
__device__ inline void arriveAt(uint32_t address, uint32_t rank) {
  asm volatile("{\n.reg .b32 remote;\n"
               "mapa.shared::cluster.u32 remote, %0, %1;\n"
               "mbarrier.arrive.shared::cluster.b64 _, [remote];\n}" ::"r"(address),
               "r"(rank)
               : "memory");
}

/// Waits until the phase of this parity has ended.
__device__ inline void waitBarrier(uint32_t address, uint32_t parity) {
  asm volatile("{\n.reg .pred done;\n"
               "again:\n"
               "mbarrier.try_wait.parity.shared::cta.b64 done, [%0], %1;\n"
               "@done bra finished;\n"
               "bra again;\n"
               "finished:\n}" ::"r"(address),
               "r"(parity)
               : "memory");
}

__device__ inline uint32_t clusterRank() {
  uint32_t rank;
  asm("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
  return rank;
}

/// All threads of the cluster.
__device__ inline void syncCluster() {
  asm volatile("barrier.cluster.arrive.release.aligned;\nbarrier.cluster.wait.acquire.aligned;" ::: "memory");
}

/// `threads` threads of this block; barrier 0 is __syncthreads.
__device__ inline void syncThreads(int barrier, int threads) { asm volatile("bar.sync %0, %1;" ::"r"(barrier), "r"(threads) : "memory"); }

/// Ordinary writes of this thread to shared memory come before what the copy engine and the matrix units do after the next barrier.
__device__ inline void fenceShared() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }

// The copy engine.

__device__ inline void copyTile(uint32_t to, const CUtensorMap &map, uint32_t barrier, int x, int y) {
  asm volatile("cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%2, %3}], [%4];" ::"r"(to),
               "l"(&map), "r"(x), "r"(y), "r"(barrier)
               : "memory");
}

/// To the same place of both blocks of a cluster of two, counted at the barrier of each.
__device__ inline void copyTileToBoth(uint32_t to, const CUtensorMap &map, uint32_t barrier, int x, int y) {
  asm volatile(
      "cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes.multicast::cluster [%0], [%1, {%2, %3}], [%4], %5;" ::
          "r"(to),
      "l"(&map), "r"(x), "r"(y), "r"(barrier), "h"(uint16_t(3))
      : "memory");
}

__device__ inline void copyTileToBoth(uint32_t to, const CUtensorMap &map, uint32_t barrier, int x, int y, int z) {
  asm volatile("cp.async.bulk.tensor.3d.shared::cluster.global.mbarrier::complete_tx::bytes.multicast::cluster [%0], [%1, {%2, %3, %4}], "
               "[%5], %6;" ::"r"(to),
               "l"(&map), "r"(x), "r"(y), "r"(z), "r"(barrier), "h"(uint16_t(3))
               : "memory");
}

/// Two 8 x 8 matrices of bf16: lanes 0 to 15 give the addresses of their rows.
__device__ inline void storeMatrices(uint32_t address, uint32_t first, uint32_t second) {
  asm volatile("stmatrix.sync.aligned.m8n8.x2.shared.b16 [%0], {%1, %2};" ::"r"(address), "r"(first), "r"(second) : "memory");
}

// Registers of a warp group.

template <int count> __device__ inline void takeRegisters() { asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(count)); }
template <int count> __device__ inline void giveRegisters() { asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(count)); }

// Matrix products of a warp group (128 threads), operands in shared memory.

/// An operand whose rows of 128 bytes (64 elements) are swizzled. Where rows run along the reduction, groups of 8 rows follow one another
/// (1024 bytes); where rows run along M or N, so do groups of 8 along the reduction, and the next 64 elements of M or N are `panel_bytes`
/// on.
__device__ inline uint64_t describeOperand(uint32_t address, uint32_t panel_bytes) {
  return uint64_t((address & 0x3ffff) >> 4) | uint64_t(panel_bytes >> 4) << 16 | uint64_t(1024 >> 4) << 32 | uint64_t(1) << 62;
}

__device__ inline void fenceProducts() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
__device__ inline void commitProducts() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
template <int left> __device__ inline void waitProducts() { asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(left) : "memory"); }

#define MG_SUM8(i)                                                                                                                         \
  "+f"(sum[i]), "+f"(sum[i + 1]), "+f"(sum[i + 2]), "+f"(sum[i + 3]), "+f"(sum[i + 4]), "+f"(sum[i + 5]), "+f"(sum[i + 6]), "+f"(sum[i + 7])
#define MG_SUM32(i) MG_SUM8(i), MG_SUM8(i + 8), MG_SUM8(i + 16), MG_SUM8(i + 24)
#define MG_NAMES0 "%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31"
#define MG_NAMES32                                                                                                                         \
  "%32,%33,%34,%35,%36,%37,%38,%39,%40,%41,%42,%43,%44,%45,%46,%47,%48,%49,%50,%51,%52,%53,%54,%55,%56,%57,%58,%59,%60,%61,%62,%63"
#define MG_NAMES64                                                                                                                         \
  "%64,%65,%66,%67,%68,%69,%70,%71,%72,%73,%74,%75,%76,%77,%78,%79,%80,%81,%82,%83,%84,%85,%86,%87,%88,%89,%90,%91,%92,%93,%94,%95"
#define MG_NAMES96 "%96,%97,%98,%99,%100,%101,%102,%103,%104,%105,%106,%107,%108,%109,%110,%111"
#define MG_NAMES112 "%112,%113,%114,%115,%116,%117,%118,%119,%120,%121,%122,%123,%124,%125,%126,%127"
#define MG_PRODUCT(n, names, a, b, add, ta, tb)                                                                                            \
  "{\n.reg .pred add;\nsetp.ne.b32 add, " add ", 0;\n"                                                                                     \
  "wgmma.mma_async.sync.aligned.m64n" n "k16.f32.bf16.bf16 {" names "}, " a ", " b ", add, 1, 1, " ta ", " tb ";\n}"

/// sum[64 x n] = a[64 x 16] b[16 x n], or added with add = 1. The sums of a thread of warp w, lane l: sum[4 j + 2 h + i] is row
/// 16 w + 8 h + l / 4, column 8 j + 2 (l % 4) + i. transpose_a, transpose_b: rows of the operand run along M or N. n is 128, 224 or 256.
template <int n, bool transpose_a, bool transpose_b>
__device__ __forceinline__ void multiply(float (&sum)[n / 2], uint64_t a, uint64_t b, int add) {
  static_assert(n == 128 || n == 224 || n == 256);
  if constexpr (n == 128)
    asm volatile(MG_PRODUCT("128", MG_NAMES0 "," MG_NAMES32, "%64", "%65", "%66", "%67", "%68")
                 : MG_SUM32(0), MG_SUM32(32)
                 : "l"(a), "l"(b), "r"(add), "n"(transpose_a), "n"(transpose_b));
  else if constexpr (n == 224)
    asm volatile(MG_PRODUCT("224", MG_NAMES0 "," MG_NAMES32 "," MG_NAMES64 "," MG_NAMES96, "%112", "%113", "%114", "%115", "%116")
                 : MG_SUM32(0), MG_SUM32(32), MG_SUM32(64), MG_SUM8(96), MG_SUM8(104)
                 : "l"(a), "l"(b), "r"(add), "n"(transpose_a), "n"(transpose_b));
  else
    asm volatile(
        MG_PRODUCT("256", MG_NAMES0 "," MG_NAMES32 "," MG_NAMES64 "," MG_NAMES96 "," MG_NAMES112, "%128", "%129", "%130", "%131", "%132")
        : MG_SUM32(0), MG_SUM32(32), MG_SUM32(64), MG_SUM32(96)
        : "l"(a), "l"(b), "r"(add), "n"(transpose_a), "n"(transpose_b));
}

#undef MG_SUM8
#undef MG_SUM32
#undef MG_NAMES0
#undef MG_NAMES32
#undef MG_NAMES64
#undef MG_NAMES96
#undef MG_NAMES112
#undef MG_PRODUCT

} // namespace megacc::runtime
