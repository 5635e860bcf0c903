//===- KernelQuery.h - what an op needs from a kernel ---------------------===//
#ifndef MEGACC_DIALECTS_INTERFACES_KERNELQUERY_H
#define MEGACC_DIALECTS_INTERFACES_KERNELQUERY_H

#include "llvm/ADT/SmallVector.h"
#include <cstdint>
#include <string>
#include <utility>

namespace megacc {

/// One launch without its addresses. Operands of the launch are the op's results, then its operands, then the workspace.
struct KernelQuery {
  /// A symbol of kernels.def.
  std::string kernel;
  llvm::SmallVector<int64_t> ints;
  llvm::SmallVector<double> doubles;
  int64_t workspaceBytes = 0;
  /// (result, operand) pairs that may share memory.
  llvm::SmallVector<std::pair<unsigned, unsigned>> inPlace;
  /// Index in `ints` of the `accumulate` flag, and the result it is about; -1 without one.
  int accumulateIndex = -1;
  int gradientResult = -1;
};

} // namespace megacc

#endif
