// Launches over a planned arena.
#ifndef MEGACC_DIALECTS_RT_RT_H
#define MEGACC_DIALECTS_RT_RT_H

#include "dialects/Rt/KernelTable.h"
#include "megacc/StepABI.h"
#include "mlir/Bytecode/BytecodeOpInterface.h"
#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Dialect.h"
#include "mlir/IR/OpImplementation.h"
#include "mlir/IR/SymbolTable.h"

namespace megacc::rt {

/// Every buffer starts at a multiple of this.
constexpr int64_t kAlignment = 256;
/// On a call that computes again what the forward did not keep: no FLOPs of the model.
constexpr llvm::StringLiteral kRecomputeAttr = "recompute";
/// On a call of the backward.
constexpr llvm::StringLiteral kBackwardAttr = "backward";

/// Names of `enum MgSegment`, in its order.
llvm::StringRef getSegmentName(int64_t segment);

/// The `enum MgType` of an element type; MG_RAW for a type that no operand has.
int64_t getMgType(mlir::Type element);

} // namespace megacc::rt

#include "dialects/Rt/RtDialect.h.inc"
#define GET_ATTRDEF_CLASSES
#include "dialects/Rt/RtAttrs.h.inc"
#define GET_OP_CLASSES
#include "dialects/Rt/RtOps.h.inc"

namespace megacc::rt {

/// One operand of a launch as the hazard checks see it.
struct Access {
  RangeAttr range;
  Role role;
  bool reads = false, writes = false;
};

/// The accesses of a launch; absent operands are left out. A sum is read too where the integer `accumulate` is not 0.
llvm::SmallVector<Access> getAccesses(CallOp call);

} // namespace megacc::rt

#endif
