// What the records of the cpu target share.
#ifndef MEGACC_LIB_KERNELS_CPU_H
#define MEGACC_LIB_KERNELS_CPU_H

#include "lib/Kernels/Kernels.h"
#include "llvm/Support/MathExtras.h"

namespace megacc::cpu {

/// Bytes that a kernel takes of its scratch for an array: multiples of 64, as runtime/core/Scratch.h hands them out.
inline int64_t floats(int64_t count) { return llvm::alignTo(4 * count, 64); }
inline int64_t doubles(int64_t count) { return llvm::alignTo(8 * count, 64); }

/// Tiles of 64 rows, over which kernels leave partial sums.
inline int64_t tiles(int64_t rows) { return llvm::divideCeil(rows, 64); }

/// A record "cpu.FAMILY" of the kernel mg_FAMILY.
Record makeRecord(llvm::StringRef family);

/// Adds a kernel whose operand `sum` is a gradient, twice: overwriting it, and together with its accumulation.
void addWithAccumulation(std::vector<Record> &records, const Record &record, llvm::StringRef sum);

/// A cache of fp32.
Cache makeCache(llvm::StringRef name, std::function<llvm::SmallVector<int64_t>(const KernelQuery &)> shape, bool kept = true);

} // namespace megacc::cpu

#endif
