// From a declaration to one training step.
#ifndef MEGACC_PASSES_TRAIN_TD
#define MEGACC_PASSES_TRAIN_TD

include "mlir/Pass/PassBase.td"

def MegaToStep : Pass<"mega-to-step", "::mlir::ModuleOp"> {
  let summary = "writes the forward and loss of one micro-batch, and the evaluation";
  let description = [{
    Replaces the one stack of the module by its parameters, `@micro_batch` (forward and loss terms) and `@evaluate` (the same forward; sums
    of the loss and number of targets by row, and the logits of one position). Shapes are global. Block families are found by kind in the
    registry of builders; a family or placement without a builder is an error at its line. Equal blocks become equal op sequences. Element
    types are set here: on the cpu all are f32; elsewhere, where the precision is bf16, activations and parameters are bf16 but for the
    parameters declared fp32, router logits, statistics and losses. For the K-th intervention of the declaration there is `@intervene.K`,
    over the segments that its patterns take; the forward sums the activity of hidden layers that a ReDo judges.
  }];
  let dependentDialects = ["::megacc::step::StepDialect"];
  let options = [
    Option<"target", "target", "std::string", "\"cpu\"", "the kernel library the step is for, cpu or sm_90a; kept as megacc.target">,
    Option<"model", "model", "std::string", "", "the model to compile, where the module declares several">,
    Option<"taps", "taps", "bool", "false", "also output the residual stream after every block, as hidden.<block>">,
    Option<"log_blocks", "log-blocks", "bool", "false",
           "also measure every block: metrics block_norm.<block> and gradient_block_norm.<block> of the stream behind it, and what its ops "
           "offer (MeasureOpInterface): attention_entropy.<block>, state_norm.<block>">
  ];
}

def StepDifferentiate : Pass<"step-differentiate", "::mlir::ModuleOp"> {
  let summary = "appends the backward to @micro_batch";
  let description = [{
    Walks the forward in reverse through the gradient interface, from every `step.loss`. Gradients of a value with several uses are added
    as they arrive; those of a parameter are accumulated one by one. Afterwards every trained parameter has at least one `step.accumulate`,
    zeros where no gradient arrives. A forward op and its gradient ops that can share caches get the same number as attribute `pair`.
  }];
  let dependentDialects = ["::megacc::step::StepDialect"];
}

def StepAddOptimizer : Pass<"step-add-optimizer", "::mlir::ModuleOp"> {
  let summary = "writes @update: gradient norm, clip, AdamW and what ops of the micro-batch want done after it";
  let description = [{
    One `step.square_sum` and one `step.adamw` for each group of parameters (type, decay), where there are any; a `step.muon` for
    pieces that are alike of each matrix under Muon. Then the ops of
    @micro_batch with the update interface append theirs, in order.
  }];
  let dependentDialects = ["::megacc::step::StepDialect"];
}

def StepCheckGlobal : Pass<"step-check-global", "::mlir::ModuleOp"> {
  let summary = "checks what later phases rely on";
  let description = [{
    The three functions exist; every op in them has a block and a phase; every tensor has a static shape of at most 2^40 elements, and the
    FLOPs of every op fit into 64 bits; every trained parameter is accumulated, only its first accumulation overwrites, and no other
    parameter is; no op of the forward stands after the backward. Changes nothing.
  }];
}

def StepCheckRules : Pass<"step-check-rules", "::mlir::ModuleOp"> {
  let summary = "checks that every sharding rule describes its op";
  let description = [{
    Every operand and result has a tensor of its rank in the rule, whose factors multiply to its shape; every attribute tied to factors has
    their product; every factor is named in a tensor, has a size and, where it may not be split, a reason. Sums over a factor are written
    as such. Changes nothing. (That a rule is true of the numbers is shown by running whole and cut kernels: test/e2e/RulesTest.cpp.)
  }];
}

def StepPrintShardingRules : Pass<"step-print-sharding-rules", "::mlir::ModuleOp"> {
  let summary = "prints one remark per op with its sharding rule, for tests";
}

#endif
