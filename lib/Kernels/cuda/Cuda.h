// What the records of the sm_90a target share.
#ifndef MEGACC_LIB_KERNELS_CUDA_CUDA_H
#define MEGACC_LIB_KERNELS_CUDA_CUDA_H

#include "lib/Kernels/Kernels.h"
#include "llvm/Support/MathExtras.h"

namespace megacc::cuda {

/// Bytes that a kernel takes of its scratch for `count` elements: multiples of 64, as runtime/core/Scratch.h hands them out.
inline int64_t getRoom(int64_t count, int64_t elementBytes) { return llvm::alignTo(count * elementBytes, 64); }

/// The cpu target's record "cpu.NAME", which must be among `records`, for this target: the same family, symbol, names, tuning, table,
/// caches and places in memory, but no scratch. It also refuses operands of no fixed type that are not all f32 or all bf16.
Record makeRecord(const std::vector<Record> &records, llvm::StringRef name);

/// Adds another reason to refuse.
void alsoRefuse(Record &record, std::function<std::string(const KernelQuery &)> refuses);

/// "NAME has type f32, expected bf16" for the first operand among `names` that the query has and that is not bf16, or empty.
std::string refuseNotBf16(const KernelQuery &query, llvm::ArrayRef<llvm::StringRef> names);

/// What is wrong where the operands among `names` that the query has are not all f32 or all bf16, or empty.
std::string refuseTypes(const KernelQuery &query, llvm::ArrayRef<std::string> names);

/// "NAME is VALUE, at most MOST", or empty.
std::string refuseAbove(const KernelQuery &query, llvm::StringRef name, int64_t most);

} // namespace megacc::cuda

namespace megacc {

// One file per family; each adds its records after those of the cpu target.
void addAttentionCudaRecords(std::vector<Record> &records);
void addCollectiveCudaRecords(std::vector<Record> &records);
void addDeltanetCudaRecords(std::vector<Record> &records);
void addExpertCudaRecords(std::vector<Record> &records);
void addLinearCudaRecords(std::vector<Record> &records);
void addLossCudaRecords(std::vector<Record> &records);
void addM2rnnCudaRecords(std::vector<Record> &records);
void addMamba3CudaRecords(std::vector<Record> &records);
void addPlacementCudaRecords(std::vector<Record> &records);
void addPointwiseCudaRecords(std::vector<Record> &records);
void addSparseCudaRecords(std::vector<Record> &records);
void addStateCudaRecords(std::vector<Record> &records);
void addStreamCudaRecords(std::vector<Record> &records);

} // namespace megacc

#endif
