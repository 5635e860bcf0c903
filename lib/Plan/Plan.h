// What a person wants to see of a declaration before any GPU hour is spent.
#pragma once
#include "dialects/Mega/Model.h"
#include "lib/Cost/Cost.h"
#include "mlir/IR/BuiltinOps.h"
#include "llvm/Support/raw_ostream.h"

namespace megacc {

/// One line per block, numbered from 0: letter, rank, family, placed features, pipeline stage.
void printStack(const mega::Model &model, llvm::raw_ostream &os);

/// Blocks by family, parameters (total and active apart), FLOPs per token, bytes by class, bytes moved, a row per slot. Numbers come from
/// walking `launches`, the module that rt-build-receipt left; where a part of the model cannot be lowered yet it is null, and parameters,
/// FLOPs and state bytes come from the key tables. Times are those of `costs`.
void printPlan(const mega::Model &model, mlir::ModuleOp launches, const Costs &costs, llvm::raw_ostream &os);

} // namespace megacc
