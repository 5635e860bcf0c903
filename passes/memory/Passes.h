//===- Passes.h - what is fused, kept and cached ---------------------------===//
#ifndef MEGACC_PASSES_MEMORY_PASSES_H
#define MEGACC_PASSES_MEMORY_PASSES_H

#include "dialects/Step/Step.h"
#include "mlir/Pass/Pass.h"

namespace megacc::step {
#define GEN_PASS_DECL
#define GEN_PASS_REGISTRATION
#include "passes/memory/Passes.h.inc"
} // namespace megacc::step

#endif
