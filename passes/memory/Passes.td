// What is fused, kept and cached.
#ifndef MEGACC_PASSES_MEMORY_TD
#define MEGACC_PASSES_MEMORY_TD

include "mlir/Pass/PassBase.td"

def StepFuse : Pass<"step-fuse", "::mlir::ModuleOp"> {
  let summary = "groups ops that one kernel serves in one launch";
  let description = [{
    A gradient that is used by its `step.accumulate` alone is computed into the gradient of the parameter: both become a `step.fused`
    where the gradient stands, if lib/Kernels has a record for the pair on the module's target. Afterwards the first accumulation of a
    parameter in the order of the function overwrites and the others have `adds`.
  }];
  let dependentDialects = ["::megacc::step::StepDialect"];
}

def StepPlanMemory : Pass<"step-plan-memory", "::mlir::ModuleOp"> {
  let summary = "decides what the forward keeps for the backward and what the backward computes again";
  let description = [{
    The default record of every op. Every value that the backward reads is kept, except results of the ops that the option `recompute`
    names: they get the mark `recompute`. `auto` with a budget (`memory` of megacc.config) chooses them: of all plans that fit, as the
    passes that follow would place them, the one that takes the least time again (lib/Planner, lib/Cost); without one everything is kept.
    An op with effects (its non-finite flag excepted) or gradients of its own is never among them.
    Every cache that the record keeps by default is kept; one with a setting of its own (psiv_cache) where the setting is on. Marks the
    forward op with their names in `keep`. What was decided is recorded in `megacc.decisions`: block and value, the choice and its
    alternatives with bytes and milliseconds of a micro-batch, and the reason. step-apply-memory acts on the marks.
  }];
  let options = [
    Option<"recompute", "recompute", "std::string", "",
           "as declared (auto); none; full: in every block all that no other block reads; or names of ops, [LETTER:]GLOB, with commas">,
    Option<"costs", "costs", "std::string", "", "measured costs to choose by, a file of megacc-run --calibrate">,
    Option<"pareto", "pareto", "bool", "false", "leave a table of budgets and of what they take in the module's `megacc.budgets`">,
    Option<"explain", "explain", "bool", "false",
           "leave the fewest bytes of any plan, what no plan within the budget can be below and the time to solve in `megacc.memory`">,
    Option<"remarks", "remarks", "bool", "false", "say every decision as a remark">
  ];
}

def StepApplyMemory : Pass<"step-apply-memory", "::mlir::ModuleOp"> {
  let summary = "clones what the backward computes again and adds the caches that are kept";
  let description = [{
    Ops of the backward read results of an op with `recompute` from a clone of it, which stands before the first of them and has the phase
    `recompute`; the clone reads kept values, or clones, and raises no flags. Of a group that is marked as a whole the clone is a group,
    of an op inside one the op alone. Caches are then kept by the clone if it stands before all that read them.
    An op with `keep` gets a result for each cache, of the type its record gives, and its gradient ops (same `pair`) read it. Removes the
    marks `recompute`, `keep` and `pair`.
  }];
  let dependentDialects = ["::megacc::step::StepDialect"];
}

#endif
