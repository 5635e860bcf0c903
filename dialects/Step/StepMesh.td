// What moves between the ranks of a mesh.
#ifndef MEGACC_STEPMESH_TD
#define MEGACC_STEPMESH_TD

include "dialects/Step/StepBase.td"

/// A collective over one axis of the mesh (enum MgAxisName). All ranks run the same program, so all take part in the same order.
class Step_CollectiveOp<string mnemonic, list<Trait> traits = []>
    : Step_Op<mnemonic, !listconcat([Pure, Step_Kernel, Step_Cost], traits)> {
  let assemblyFormat = "operands attr-dict `:` functional-type(operands, results)";
}

def Step_ReshardOp : Step_Op<"reshard", [Pure, AllTypesMatch<["x", "y"]>]> {
  let summary = "the same tensor, shared in another way";
  let description = [{
    Stands between step-insert-reshards and step-partition, which makes collectives of it. `from` and `sharding` are texts of
    dialects/Interfaces/Sharding.h.
  }];
  let arguments = (ins Step_Any:$x, StrAttr:$from);
  let results = (outs Step_Any:$y);
  let assemblyFormat = "operands attr-dict `:` type($x)";
}

def Step_AllReduceOp : Step_CollectiveOp<"all_reduce", [AllTypesMatch<["x", "y"]>]> {
  let summary = "y = sum of x over the ranks of an axis, in their order";
  let arguments = (ins Step_Any:$x, I64Attr:$ranks, I64Attr:$axis);
  let results = (outs Step_Any:$y);
}

def Step_TakePartOp : Step_CollectiveOp<"take_part"> {
  let summary = "this rank's part of dimension `dim`, of `ranks` equal ones";
  let arguments = (ins Step_Any:$x, I64Attr:$dim, I64Attr:$ranks, I64Attr:$axis);
  let results = (outs Step_Any:$y);
  let hasVerifier = 1;
}

def Step_GatherPartsOp : Step_CollectiveOp<"gather_parts"> {
  let summary = "the parts of all ranks, one after the other in dimension `dim`";
  let arguments = (ins Step_Any:$x, I64Attr:$dim, I64Attr:$ranks, I64Attr:$axis);
  let results = (outs Step_Any:$y);
  let hasVerifier = 1;
}

def Step_ReduceScatterOp : Step_CollectiveOp<"reduce_scatter"> {
  let summary = "this rank's part of dimension `dim`, of `ranks` equal ones, of the sum of x over the ranks of an axis, in their order";
  let arguments = (ins Step_Any:$x, I64Attr:$dim, I64Attr:$ranks, I64Attr:$axis);
  let results = (outs Step_Any:$y);
  let hasVerifier = 1;
}

/// Rows sorted by group, between the ranks that have them and those that have the groups.
class Step_RowsOp<string mnemonic>
    : Step_CollectiveOp<mnemonic, [Step_Gradient, DeclareOpInterfaceMethods<ShardingRuleOpInterface, ["getFactorsOver"]>]> {
  let hasVerifier = 1;
}

def Step_ExchangeRowsOp : Step_RowsOp<"exchange_rows"> {
  let summary = "gives rows sorted by group to the ranks that have the groups";
  let description = [{
    Of T tokens on each of `ranks` ranks: rows [T * kept, cols], at most `kept` for a token, sorted by group, and offsets [groups + 1],
    where
    the rows of each group begin. A rank has `groups / ranks` groups that follow one another. mine [ranks * T * most, cols]: the rows of the
    rank's own groups from all ranks, sorted by group, then by rank, each rank's in its order, then zeros; a token has at most `most` =
    min(kept, groups / ranks) of them, so that they always fit; own_offsets [groups / ranks + 1]. The whole tensor of mine is what all ranks
    have, one after the other. Its derivative is step.return_rows.
  }];
  let arguments = (ins Step_Float:$rows, Step_I32:$offsets, I64Attr:$kept, I64Attr:$most, I64Attr:$ranks, I64Attr:$axis);
  let results = (outs Step_Float:$mine, Step_I32:$own_offsets);
}

def Step_ReturnRowsOp : Step_RowsOp<"return_rows"> {
  let summary = "gives rows back to the ranks that step.exchange_rows had them from";
  let description = [{
    mine and offsets as in step.exchange_rows; rows [T * kept, cols], zeros from the last offset on. Its derivative is step.exchange_rows.
  }];
  let arguments = (ins Step_Float:$mine, Step_I32:$offsets, I64Attr:$kept, I64Attr:$most, I64Attr:$ranks, I64Attr:$axis);
  let results = (outs Step_Float:$rows);
}

def Step_StateKind : Step_Enum<"StateKind", "which state", [I32EnumAttrCase<"gradient", 0>, I32EnumAttrCase<"metric", 1>]>;
def Step_StateKindAttr : EnumAttr<Step_Dialect, Step_StateKind, "state_kind">;

def Step_AllReduceStateOp : Step_EffectOp<"all_reduce_state", [Step_Kernel]> {
  let summary = "sums elements [first, first + count) of a gradient or a metric over the ranks of an axis, where they lie";
  let description = [{`name` is a parameter, a metric, or "*GROUP", all parameters of a group.}];
  let arguments = (ins Step_StateKindAttr:$kind, StrAttr:$name, I64Attr:$first, I64Attr:$count, I64Attr:$ranks, I64Attr:$axis);
  let assemblyFormat = "`` $kind $name `[` $first `:` $count `]` `over` $axis `of` $ranks attr-dict";
}

/// Over a sweep: the parameters of a group whose gradients owe sums over the axes with bits 1 << axis of `owes`. Where its update is
/// shared, it is cut in the order of the axes, so that `axis` cuts what the ones before it have left to this rank.
class Step_SweepOp<string mnemonic> : Step_EffectOp<mnemonic, [Step_Kernel]> {
  let arguments = (ins Step_GroupAttr:$group, I64Attr:$owes, I64Attr:$ranks, I64Attr:$axis);
  let assemblyFormat = "`` $group `owing` $owes `over` $axis `of` $ranks attr-dict";
}

def Step_ReduceScatterStateOp : Step_SweepOp<"reduce_scatter_state"> {
  let summary = "sums the gradients of a sweep over the ranks of an axis, for each of them its own part";
  let description = [{Where they lie; what is not the rank's part is of no use after it.}];
}

def Step_GatherStateOp : Step_SweepOp<"gather_state"> {
  let summary = "every rank of an axis gets the parts of a sweep's parameters that the others have updated";
}

#endif
