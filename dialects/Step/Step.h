//===- Step.h - the training step as tensors ------------------------------===//
#ifndef MEGACC_DIALECTS_STEP_STEP_H
#define MEGACC_DIALECTS_STEP_STEP_H

#include "dialects/Interfaces/StepInterfaces.h"
#include "mlir/Bytecode/BytecodeOpInterface.h"
#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Dialect.h"
#include "mlir/IR/OpImplementation.h"
#include "mlir/IR/SymbolTable.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"

namespace megacc::step {

/// Names of the module's attributes.
constexpr llvm::StringLiteral kModelAttr = "megacc.model";
constexpr llvm::StringLiteral kConfigAttr = "megacc.config";
constexpr llvm::StringLiteral kSlotsAttr = "megacc.slots";
constexpr llvm::StringLiteral kDecisionsAttr = "megacc.decisions";
/// Names of the attributes of every op inside a function.
constexpr llvm::StringLiteral kBlockAttr = "block";
constexpr llvm::StringLiteral kPhaseAttr = "phase";

/// An entry of the module's megacc.config; `missing` without one.
int64_t getConfigInteger(mlir::Operation *op, llvm::StringRef key, int64_t missing = 0);
double getConfigDouble(mlir::Operation *op, llvm::StringRef key, double missing = 0.0);

/// Adds the op's results, then its operands, then null where its last operand is optional and absent.
void addValues(KernelQuery &query, mlir::Operation *op, bool lastIsAbsent);

/// Size of a dimension of a tensor value.
int64_t getDim(mlir::Value value, unsigned dim);
int64_t getCount(mlir::Value value);

} // namespace megacc::step

#include "dialects/Step/StepDialect.h.inc"
#define GET_OP_CLASSES
#include "dialects/Step/StepOps.h.inc"

#endif
