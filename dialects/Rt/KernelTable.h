//===- KernelTable.h - the kernels of kernels.def -------------------------===//
#ifndef MEGACC_DIALECTS_RT_KERNELTABLE_H
#define MEGACC_DIALECTS_RT_KERNELTABLE_H

#include "llvm/ADT/SmallVector.h"
#include "llvm/ADT/StringRef.h"

#include <string>

namespace megacc::rt {

/// How a kernel uses an operand.
enum class Role { Out, InOut, In, Optional, OptionalOut, Workspace };

/// The word of kernels.def.
llvm::StringRef getRoleName(Role role);

struct KernelOperand {
  Role role;
  llvm::StringRef name;
  /// Stands for as many operands as the integer parameter "parts" says.
  bool repeated = false;
};

struct Kernel {
  llvm::StringRef symbol;
  /// "operands | integers | doubles" as kernels.def has them: what a kernel library must agree with.
  std::string signature;
  llvm::SmallVector<KernelOperand> operands;
  llvm::SmallVector<llvm::StringRef> ints, doubles;
  /// The last of `ints` stands for any number of integers.
  bool repeatsInt = false;

  /// Index of an integer parameter, -1 without it.
  int findInt(llvm::StringRef name) const;
  /// One role an operand of a launch with these integers.
  llvm::SmallVector<Role> getRoles(llvm::ArrayRef<int64_t> values) const;
};

/// Null for an unknown symbol.
const Kernel *findKernel(llvm::StringRef symbol);

} // namespace megacc::rt

#endif
