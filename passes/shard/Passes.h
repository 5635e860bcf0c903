// How a training step is cut for the ranks of a mesh.
#ifndef MEGACC_PASSES_SHARD_PASSES_H
#define MEGACC_PASSES_SHARD_PASSES_H

#include "dialects/Step/Step.h"
#include "mlir/Pass/Pass.h"

namespace megacc::step {
#define GEN_PASS_DECL
#define GEN_PASS_REGISTRATION
#include "passes/shard/Passes.h.inc"
} // namespace megacc::step

#endif
