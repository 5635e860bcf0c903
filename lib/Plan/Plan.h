// What a person wants to see of a declaration before any GPU hour is spent.
#pragma once
#include "dialects/Mega/Model.h"
#include "llvm/Support/raw_ostream.h"

namespace megacc {

/// One line a block, numbered from 0: letter, rank, family, placed features, pipeline stage.
void printStack(const mega::Model &model, llvm::raw_ostream &os);

/// Blocks by family, parameters (total and active apart), FLOPs a token, bytes by class, and a row a slot.
void printPlan(const mega::Model &model, llvm::raw_ostream &os);

} // namespace megacc
