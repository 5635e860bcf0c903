// What is fused, kept and cached.
#ifndef MEGACC_PASSES_MEMORY_PASSES_H
#define MEGACC_PASSES_MEMORY_PASSES_H

#include "dialects/Interfaces/Decision.h"
#include "dialects/Step/Step.h"
#include "lib/Cost/Cost.h"
#include "mlir/Pass/Pass.h"

namespace megacc::step {
#define GEN_PASS_DECL
#define GEN_PASS_REGISTRATION
#include "passes/memory/Passes.h.inc"

/// What was decided, and the op where it stands; null for the step's.
using Decisions = std::vector<std::pair<Decision, mlir::Operation *>>;

/// Marks the ops of @micro_batch that the backward computes again (see step-plan-memory) and adds what was decided to `decisions`, with the
/// milliseconds of `costs`. An error lists every pattern that matches no op.
mlir::LogicalResult markRecomputed(mlir::ModuleOp module, llvm::StringRef what, const Costs &costs, Decisions &decisions);

/// Marks these ops, of the forward of @micro_batch.
void markRecomputed(mlir::ModuleOp module, llvm::ArrayRef<mlir::Operation *> ops);
/// The same, and adds what that means to `decisions`.
void markRecomputed(mlir::ModuleOp module, llvm::ArrayRef<mlir::Operation *> ops, const Costs &costs, Decisions &decisions);
/// Marks what makes the step fit in `bytes`, at the least cost; an error, and kNeededAttr, where nothing does. No budget (0): nothing.
/// `tabulates`: also leaves what other budgets would take in kBudgetsAttr; `explains`: what bounds the plan in kMemoryAttr.
mlir::LogicalResult fitMemory(mlir::ModuleOp module, int64_t bytes, const Costs &costs, bool tabulates, bool explains,
                              Decisions &decisions);

/// Milliseconds of an op as a launch of its own; 0 where no kernel serves it.
double getMilliseconds(mlir::Operation *op, const Costs &costs);

/// Whether an op of the forward is a launch, or would be one outside of its group.
bool isForward(mlir::Operation *op);
/// Whether a clone of an op may run again: it has no effects but flags, which a clone drops, and makes no gradients of its own.
bool isRecomputable(mlir::Operation *op);
/// Whether the forward of another block needs it: the residual stream, or what a placement takes from one block to another.
bool isReadByOthers(mlir::Operation *op);

/// Gives the backward of a function clones of the marked ops. Removes the marks.
void cloneRecomputed(FuncOp func);
} // namespace megacc::step

#endif
