// How a training step is cut for the ranks of a mesh.
#ifndef MEGACC_PASSES_SHARD_TD
#define MEGACC_PASSES_SHARD_TD

include "mlir/Pass/PassBase.td"

def StepPropagateSharding : Pass<"step-propagate-sharding", "::mlir::ModuleOp"> {
  let summary = "decides how the ranks of the mesh share every value";
  let description = [{
    Needs a step of global shapes and, in its `megacc.config`, a `mesh`; without one, or of one rank, nothing changes. Parameters say how
    they are shared (`sharding`), inputs of a micro-batch and of an evaluation are split over dp by their rows. From these it goes through
    every function in order. For each op and axis it looks at what the operands suggest by the op's sharding rule, takes what moves the
    fewest bytes, nothing split where that is as good, and marks the op: `needs`, how it takes its operands; `sharding`, how it gives its
    results; `splits`, the local sizes of the factors that are split. Summands stay summands where the rule says that the op is linear. An
    op that no choice fits is an error with what its operands have. With `sequence_parallel` in the mesh the ranks of tp share rows of
    which they would have summands, half the bytes of a sum, and what is done to each row stays with its rank; parameters do not move.
  }];
  let dependentDialects = ["::megacc::step::StepDialect"];
}

def StepInsertReshards : Pass<"step-insert-reshards", "::mlir::ModuleOp"> {
  let summary = "makes every disagreement and every sum that is owed explicit";
  let description = [{
    Where an op needs an operand otherwise than it is made, a `step.reshard` stands between, one for all that need it so,
    but that the backward gathers shared tokens again.
    Gradients and metrics of which ranks have summands are summed once a step, by `step.all_reduce_state` at the start of @update: a group
    of parameters at once where all of it is owed. `step.square_sum` learns what all ranks of an axis have. Removes `needs`.
  }];
  let dependentDialects = ["::megacc::step::StepDialect"];
  let options = [Option<"explain", "explain", "bool", "false", "a remark for every reshard, with its reason">];
}

def StepPartition : Pass<"step-partition", "::mlir::ModuleOp"> {
  let summary = "gives every value the shape of a rank's part, and makes collectives of reshards";
  let description = [{
    One program for all ranks: what depends on the rank is asked of the context at run time. Attributes that sharding rules tie to factors
    follow them. A parameter keeps its tensor as `whole`. Leaves `sharding` and `whole`, the global types, on ops; removes `splits`.
  }];
  let dependentDialects = ["::megacc::step::StepDialect"];
}

def StepCheckLocal : Pass<"step-check-local", "::mlir::ModuleOp"> {
  let summary = "checks what later phases rely on, and removes the marks";
  let description = [{
    The shape of every value is the local one of its global shape; no value that a host sees is a summand; no `step.reshard` is left; every
    collective is over an axis of the mesh with as many ranks. All ranks run one program without branches, so collectives are paired.
    Leaves what a rank sends in a step in `megacc.collectives`, for the plan.
  }];
}

#endif
