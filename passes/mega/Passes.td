#ifndef MEGACC_PASSES_MEGA_TD
#define MEGACC_PASSES_MEGA_TD

include "mlir/Pass/PassBase.td"

def MegaCheck : Pass<"mega-check", "::mlir::ModuleOp"> {
  let summary = "checks every declaration and reports all mistakes in one run";
  let description = [{
    Types the keys of families, placements and train blocks by their tables, expands the pattern and resolves placements. Every mistake is
    an error at its own line and column with both numbers and a fix. Changes nothing; afterwards `readModels` cannot fail.
  }];
}

def MegaExpandPattern : Pass<"mega-expand-pattern", "::mlir::ModuleOp"> {
  let summary = "turns every model into a stack of explicit blocks";
  let description = [{
    Needs a module that mega-check accepts. Afterwards there is no `mega.model`: each has become a `mega.stack` with one `mega.block` per
    slot, and every key of families, placements and train blocks is written out. Placements on letters still stand beside the blocks.
  }];
}

def MegaPlaceFeatures : Pass<"mega-place-features", "::mlir::ModuleOp"> {
  let summary = "moves placements on letters onto their blocks";
  let description = [{
    Afterwards every block carries its features and only placements on the input and the objective are left. The feature's key `order` is
    its rank among the blocks of its placement.
  }];
}

def MegaCheckStack : Pass<"mega-check-stack", "::mlir::ModuleOp"> {
  let summary = "checks that a stack can be trained on the target, on the mesh and with the settings asked for";
  let description = [{
    Refuses, all in one run: more than one pipeline stage, sizes that the mesh cannot share evenly, each with what it could share and what
    that costs, meshes that nothing can run yet, fp32 on a target that computes in bf16. Changes nothing. Blocks of which every
    rank then has all are no error.
  }];
  let options = [Option<"target", "target", "std::string", "\"cpu\"", "the kernel library the step is for, cpu or sm_90a">,
                 Option<"remarks", "remarks", "bool", "false", "say of which blocks every rank has all, and why, as a remark">];
}

#endif
