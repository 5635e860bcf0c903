// The kernels of kernels.def.
#ifndef MEGACC_DIALECTS_RT_KERNELTABLE_H
#define MEGACC_DIALECTS_RT_KERNELTABLE_H

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/SmallVector.h"
#include "llvm/ADT/StringRef.h"

#include <optional>

namespace megacc::rt {

/// How a kernel uses an operand: the roles of kernels.def.
enum class Role { Out, OptionalOut, Sum, InOut, OptionalInOut, In, OptionalIn, Scratch, Table, OutEach, InEach };

/// The word of a launch: that of kernels.def, without "opt_" and "_each".
llvm::StringRef getRoleName(Role role);
/// Whether an operand may be absent.
bool isOptional(Role role);

/// Words of `enum MgType`, in its order, without MG_ABSENT: "f32", "bf16", "i32", "f64", "i64", "raw".
llvm::ArrayRef<llvm::StringRef> getTypeNames();
llvm::StringRef getTypeName(int64_t type);
/// Bytes of an element; 1 for raw.
int64_t getTypeWidth(int64_t type);

struct KernelOperand {
  Role role;
  llvm::StringRef name;
  /// "any" (f32 or bf16), or the word of a type.
  llvm::StringRef type;

  /// Stands for as many operands as the integer parameter `parts` says.
  bool isEach() const { return role == Role::OutEach || role == Role::InEach; }
  /// Whether an operand of this type (enum MgType) may stand here. kernels.def gives groups no type: any but raw.
  bool accepts(int64_t type) const;
};

struct Kernel {
  llvm::StringRef symbol;
  /// "operands | integers | doubles" as kernels.def has them: what a kernel library must agree with.
  llvm::StringRef signature;
  llvm::SmallVector<KernelOperand> operands;
  llvm::SmallVector<llvm::StringRef> ints, doubles;

  /// The most operands that a group may have.
  static constexpr int64_t kMaxParts = 4096;

  /// Index of an integer parameter, -1 without it.
  int findInt(llvm::StringRef name) const;
  /// Whether `parts`, where the kernel has it, is among `values` and from 1 to kMaxParts.
  bool acceptsParts(llvm::ArrayRef<int64_t> values) const;
  /// The operands of a launch with these integers, one by one: groups are repeated `parts` times, not at all where `parts` is not accepted.
  llvm::SmallVector<KernelOperand> getOperands(llvm::ArrayRef<int64_t> values) const;
  /// Their roles.
  llvm::SmallVector<Role> getRoles(llvm::ArrayRef<int64_t> values) const;
  /// The elements of the operands of a launch with these integers, one by one: nothing where kernels.def does not say; kNoCount where they
  /// make no number of elements (below 0, a division by 0, more than 64 bits). `parts` must be accepted.
  llvm::SmallVector<std::optional<int64_t>> (*getCounts)(llvm::ArrayRef<int64_t> values);
  static constexpr int64_t kNoCount = -1;
};

/// Null for an unknown symbol.
const Kernel *findKernel(llvm::StringRef symbol);

} // namespace megacc::rt

#endif
