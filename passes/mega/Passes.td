#ifndef MEGACC_PASSES_MEGA_TD
#define MEGACC_PASSES_MEGA_TD

include "mlir/Pass/PassBase.td"

def MegaCheck : Pass<"mega-check", "::mlir::ModuleOp"> {
  let summary = "checks every declaration and reports all mistakes in one run";
  let description = [{
    Types the keys of families, placements and train blocks by their tables, expands the pattern and resolves placements. Every mistake is an error at its own
    line and column with both numbers and a fix. Changes nothing; afterwards `readModels` cannot fail.
  }];
}

#endif
