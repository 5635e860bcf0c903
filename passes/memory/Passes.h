//===- Passes.h - what is fused, kept and cached ---------------------------===//
#ifndef MEGACC_PASSES_MEMORY_PASSES_H
#define MEGACC_PASSES_MEMORY_PASSES_H

#include "dialects/Step/Step.h"
#include "mlir/Pass/Pass.h"

namespace megacc::step {
#define GEN_PASS_DECL
#define GEN_PASS_REGISTRATION
#include "passes/memory/Passes.h.inc"

/// Marks the ops of @micro_batch that the backward computes again (see step-plan-memory) and adds what was decided to `decisions`. An error
/// lists every pattern that names no op.
mlir::LogicalResult markRecomputed(mlir::ModuleOp module, llvm::StringRef what, llvm::SmallVectorImpl<mlir::Attribute> &decisions);

/// Gives the backward of a function clones of the marked ops. Removes the marks.
void cloneRecomputed(FuncOp func);
} // namespace megacc::step

#endif
