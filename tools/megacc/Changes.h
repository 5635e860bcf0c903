// What would make a step fit its budget.
#pragma once
#include "dialects/Mega/Model.h"
#include "lib/Cost/Cost.h"
#include "mlir/IR/BuiltinOps.h"
#include "llvm/ADT/STLFunctionalExtras.h"
#include "llvm/Support/raw_ostream.h"

namespace megacc {

/// Lowers stacks of one model to launches, with `recompute` as --recompute has it.
using Lower = llvm::function_ref<mlir::LogicalResult(mlir::ModuleOp stacks, llvm::StringRef recompute)>;

/// Plans a step that does not fit again with each single change that keeps the global batch: a smaller micro-batch with more of them a step
/// (the largest that fits), more ranks on an axis of the mesh (the fewest that fit, up to eight times as many), caches off, recompute =
/// auto. Prints a note: bytes and milliseconds of each, the fastest that fits first; of what does not fit the bytes that it needs, where
/// these are fewer than the `needed` ones of the step as it is. `stacks` is the module before it is lowered, `recompute` what --recompute
/// says.
void adviseChanges(mlir::ModuleOp stacks, const mega::Model &model, int64_t needed, llvm::StringRef recompute, const Costs &costs,
                   Lower lower, llvm::raw_ostream &os);

} // namespace megacc
