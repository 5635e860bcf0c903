// What happens to matrices at some steps only: FIRE, DASH, ReDo (conventions section 20).
#ifndef MEGACC_STEPINTERVENTIONS_TD
#define MEGACC_STEPINTERVENTIONS_TD

include "dialects/Step/StepBase.td"

def Step_FireOp : Step_EffectOp<"fire", [DeclareOpInterfaceMethods<SymbolUserOpInterface>, Step_Kernel, Step_Cost]> {
  let summary = "FIRE: pieces of a matrix become their polar factors, times a number";
  let description = [{
    Of every expert, where there are some; `piece` is an entry of step.parameter's `pieces`. The number keeps the Frobenius norm of a piece;
    with `shape` it is sqrt(rows / columns). A zero piece stays. With `resets` the moments of the pieces become 0. The metric `report` gets
    pieces, |W' - W|^2, |W|^2 and the largest |X X^T - 1|; with `adds` they join what is there. FLOPs: (iterations + 4) (4 s^2 l + 2 s^3) a
    piece of sides s <= l.
  }];
  let arguments = (ins FlatSymbolRefAttr:$parameter, DenseI64ArrayAttr:$piece, I64Attr:$iterations, UnitAttr:$shape, UnitAttr:$resets,
                       StrAttr:$report, UnitAttr:$adds);
  let assemblyFormat = "$parameter attr-dict";
}

def Step_DashOp : Step_EffectOp<"dash", [DeclareOpInterfaceMethods<SymbolUserOpInterface>, Step_Kernel, Step_Cost]> {
  let summary = "DASH: shrinks rows of a matrix by their direction to the descent";
  let description = [{
    With d = -m, the first moment, or -g with `gradient`, and cos = (w.d) / (|w| |d|): a row is multiplied by min(max(cos, floor), 1), or
    with `gentle` by 1 - rate max(-cos - margin, 0); by 1 where it or d is zero. `piece` and `resets` as in step.fire. The metric `report`
    gets rows, those that shrank, and the sum of the factors; with `adds` they join what is there.
  }];
  let arguments = (ins FlatSymbolRefAttr:$parameter, DenseI64ArrayAttr:$piece, UnitAttr:$gradient, UnitAttr:$gentle, F64Attr:$floor,
                       F64Attr:$rate, F64Attr:$margin, UnitAttr:$resets, StrAttr:$report, UnitAttr:$adds);
  let assemblyFormat = "$parameter attr-dict";
}

def Step_RedoOp : Step_EffectOp<"redo", [DeclareOpInterfaceMethods<SymbolUserOpInterface>, Step_Kernel]> {
  let summary = "ReDo: hidden units that hardly fired start afresh";
  let description = [{
    Unit j of a layer, of each expert where there are some, is dormant if `activity`[j] <= tau times the mean of the layer's; nothing is
    judged where fewer than `least` tokens came (`seen`, or the metric `picks` of the experts) or no unit fired. Its rows of `up`, `halves`
    of them, become normal numbers of `deviation`, drawn for this `step` [1]; its column of `down` and the moments of both become 0. The
    metric `report` gets the dormant units of each expert, -1 where it was not judged.
  }];
  let arguments = (ins FlatSymbolRefAttr:$up, FlatSymbolRefAttr:$down, StrAttr:$activity, OptionalAttr<StrAttr>:$picks, I64Attr:$halves,
                       I64Attr:$seen, I64Attr:$least, F64Attr:$tau, F64Attr:$deviation, StrAttr:$report, Step_I32:$step);
  let assemblyFormat = "$up `,` $down `,` $step attr-dict `:` type($step)";
}

def Step_AbsColumnSumOp : Step_EffectOp<"abs_column_sum", [Step_Kernel]> {
  let summary = "adds the sum of |x| over rows to the metric `name` (the first micro-batch overwrites)";
  let description = [{
    x [rows, W] gives [W]; with `offsets` [E + 1], the rows of E experts one after the other, [E, W]. Of what ranks have rows of their own
    the sums of all ranks join at the start of @update.
  }];
  let arguments = (ins Step_Float:$x, Optional<Step_I32>:$offsets, StrAttr:$name);
  let assemblyFormat = "$x (`,` $offsets^)? attr-dict `:` type($x) (`,` type($offsets)^)?";
}

#endif
