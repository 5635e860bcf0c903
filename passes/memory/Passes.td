//===- Passes.td - what is fused, kept and cached --------------------------===//
#ifndef MEGACC_PASSES_MEMORY_TD
#define MEGACC_PASSES_MEMORY_TD

include "mlir/Pass/PassBase.td"

def StepFuse : Pass<"step-fuse", "::mlir::ModuleOp"> {
  let summary = "groups ops that one kernel serves in one launch";
  let description = [{
    A gradient that is used by its `step.accumulate` alone is computed into the gradient of the parameter: both become a `step.fused` where the
    gradient stands, if lib/Kernels has a record for the pair on the module's target. Afterwards the first accumulation of a parameter in the
    order of the function overwrites and the others have `adds`.
  }];
  let dependentDialects = ["::megacc::step::StepDialect"];
}

def StepPlanMemory : Pass<"step-plan-memory", "::mlir::ModuleOp"> {
  let summary = "decides which caches the forward keeps for the backward";
  let description = [{
    One policy: the default record of every op, every value kept, every cache that the record keeps by default. A cache with a setting of its own
    (psiv_cache) is kept where the setting is on; what the setting decides is recorded in `megacc.decisions` with its bytes. Marks the
    forward op with the names in `keep`; step-apply-memory acts on them.
  }];
}

def StepApplyMemory : Pass<"step-apply-memory", "::mlir::ModuleOp"> {
  let summary = "adds the caches that step-plan-memory decided on";
  let description = [{
    An op with `keep` gets a result for each cache, of the type its record gives, and its gradient ops (same `pair`) read it. Removes the
    marks `keep` and `pair`.
  }];
  let dependentDialects = ["::megacc::step::StepDialect"];
}

#endif
