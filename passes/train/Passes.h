// From a declaration to one training step.
#ifndef MEGACC_PASSES_TRAIN_PASSES_H
#define MEGACC_PASSES_TRAIN_PASSES_H

#include "dialects/Step/Step.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/Pass/Pass.h"

namespace megacc::step {
#define GEN_PASS_DECL
#define GEN_PASS_REGISTRATION
#include "passes/train/Passes.h.inc"
} // namespace megacc::step

#endif
