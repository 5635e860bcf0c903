// Functions, state, inputs and outputs.
#ifndef MEGACC_STEPSTRUCTURE_TD
#define MEGACC_STEPSTRUCTURE_TD

include "dialects/Step/StepBase.td"

def Step_FuncOp : Step_Op<"func", [Symbol, IsolatedFromAbove, SingleBlockImplicitTerminator<"ReturnOp">]> {
  let summary = "one of the functions of a step";
  let arguments = (ins SymbolNameAttr:$sym_name);
  let regions = (region SizedRegion<1>:$body);
  let assemblyFormat = "$sym_name attr-dict-with-keyword $body";
}

def Step_ReturnOp : Step_Op<"return", [Pure, Terminator, HasParent<"FuncOp">]> {
  let summary = "ends a function";
  let assemblyFormat = "attr-dict";
}

def Step_ParameterOp : Step_Op<"parameter", [Symbol]> {
  let summary = "a tensor of the model's state";
  let description = [{
    `init` says how it starts, with `init_a` the value, the standard deviation, the bound, the width of stacked identity matrices, or of mhc
    the streams and 1/64 of the index of the one that the block starts on. A trained parameter has an f32 gradient and moments, and an f32
    master where it is bf16 itself. One with `pieces` is a matrix under Muon, which has no second moment: [first, run, stride, rows, count,
    spacing] of pieces that are alike, of each expert where there are some; row i of piece p is
    first + p * spacing + i / run * stride + i % run. `sharding` says how ranks share it (dialects/Interfaces/Sharding.h); once
    step-partition has cut it, `type` is a rank's part and `whole` the tensor. `owes`: bits 1 << axis of the mesh axes of which every rank
    has a summand of its whole gradient.
  }];
  let arguments = (ins SymbolNameAttr:$sym_name, TypeAttrOf<Step_Float>:$type, UnitAttr:$decays, UnitAttr:$trained,
                       Step_InitializerAttr:$init, F64Attr:$init_a, I64Attr:$block, OptionalAttr<StrAttr>:$sharding,
                       OptionalAttr<TypeAttr>:$whole, OptionalAttr<DenseI64ArrayAttr>:$pieces,
                       OptionalAttr<I64Attr>:$owes);
  let assemblyFormat = "$sym_name `:` $type `init` `` $init attr-dict";
  let hasVerifier = 1;
  let extraClassDeclaration = [{
    /// The group of parameters it is updated with.
    Group getGroup();
    int64_t getElements();
  }];
}

def Step_ReadOp : Step_Op<"read", [Pure, DeclareOpInterfaceMethods<SymbolUserOpInterface>]> {
  let summary = "the value of a parameter, which no function both reads this way and writes; no launch";
  let arguments = (ins FlatSymbolRefAttr:$parameter);
  let results = (outs Step_Float:$value);
  let assemblyFormat = "$parameter attr-dict `:` type($value)";
}

def Step_InputOp : Step_Op<"input", [Pure]> {
  let summary = "an input of the step";
  let description = [{tokens, targets, documents, positions, scalars (lr, 1 - beta1^t, 1 - beta2^t), or step (t, from 1).}];
  let arguments = (ins StrAttr:$name);
  let results = (outs Step_Any:$value);
  let assemblyFormat = "$name attr-dict `:` type($value)";
}

def Step_AccumulateOp : Step_EffectOp<"accumulate", [DeclareOpInterfaceMethods<SymbolUserOpInterface>, Step_Kernel]> {
  let summary = "adds a gradient of this micro-batch to the gradient of a parameter";
  let description = [{
    The first accumulation of a parameter overwrites in the first micro-batch; the others of the function have `adds` and always add.
  }];
  let arguments = (ins FlatSymbolRefAttr:$parameter, Step_F32:$gradient, UnitAttr:$adds);
  let assemblyFormat = "$parameter `,` $gradient attr-dict `:` type($gradient)";
}

def Step_LossOp : Step_EffectOp<"loss", [Step_Kernel]> {
  let summary = "marks a term of the objective, the sum of its values, recorded in the metric loss.<name>";
  let arguments = (ins Variadic<Step_F32>:$values, StrAttr:$name, F64Attr:$weight);
  let assemblyFormat = "$values attr-dict `:` type($values)";
  let hasVerifier = 1;
}

def Step_OutputOp : Step_EffectOp<"output", [Step_Kernel]> {
  let summary = "copies a value to the host's outputs";
  let description = [{`shape` is what the host sees; the elements stay in order.}];
  let arguments = (ins StrAttr:$name, Step_Float:$value, OptionalAttr<DenseI64ArrayAttr>:$shape);
  let assemblyFormat = "$name `,` $value attr-dict `:` type($value)";
  let hasVerifier = 1;
}

def Step_SetMetricOp : Step_EffectOp<"set_metric", [Step_Kernel]> {
  let summary = "copies a number to the host's metrics";
  let arguments = (ins StrAttr:$name, Step_F32:$value);
  let assemblyFormat = "$name `,` $value attr-dict `:` type($value)";
}

def Step_LogNormOp : Step_EffectOp<"log_norm", [Step_Kernel]> {
  let summary = "writes the norm of a value to the metric `name`; what differentiates writes that of its gradient to gradient_<name>";
  let description = [{Of the last micro-batch of a step. It stands right behind what makes the value.}];
  let arguments = (ins StrAttr:$name, Step_Float:$value);
  let assemblyFormat = "$name `,` $value attr-dict `:` type($value)";
}

def Step_SquareSumOp : Step_Op<"square_sum", [MemoryEffects<[MemRead]>, CostOpInterface, Step_Kernel, Step_Sharding]> {
  let summary = "sum of the squares of all gradients of a group";
  let description = [{
    sum [1]. Over the ranks that share the gradients the sums of the parts add up. `shared` lists (begin, end, axes): elements [begin, end)
    of the group are on all ranks of the mesh axes whose bits (1 << enum MgAxisName) are set, and count on the first of each alone.
    With `owes`, of one of the group's sweeps and this rank's part of it (step.adamw).
  }];
  let arguments = (ins Step_GroupAttr:$group, OptionalAttr<DenseI64ArrayAttr>:$shared, OptionalAttr<I64Attr>:$owes);
  let results = (outs Step_F64:$sum);
  let assemblyFormat = "`` $group attr-dict `:` type($sum)";
}

def Step_NormOp : Step_ComputeOp<"norm", [CostOpInterface]> {
  let summary = "norm = sqrt(sum of the parts)";
  let description = [{parts, norm [1].}];
  let arguments = (ins Variadic<Step_F64>:$parts);
  let results = (outs Step_F32:$norm);
  let hasVerifier = 0;
}

def Step_AdamWOp : Step_EffectOp<"adamw", [Step_Kernel]> {
  let summary = "AdamW over all parameters of a group, unless the norm is not finite";
  let description = [{Hyper-parameters are those of the module's megacc.config; scalars = lr(t), 1 - beta1^t, 1 - beta2^t
      (conventions section 14). With `step` [1], the number of the update, the moments are bf16 and rounded stochastically
      (conventions 14.6). With `owes`, over the parameters of the group that owe sums over just these axes (step.parameter), of which this
      rank updates its part.}];
  let arguments = (ins Step_GroupAttr:$group, Step_F32:$norm, Step_F32:$scalars, Optional<Step_I32>:$step, OptionalAttr<I64Attr>:$owes);
  let assemblyFormat = "`` $group `,` $norm `,` $scalars (`,` $step^)? attr-dict `:` type($norm) `,` type($scalars) (`,` type($step)^)?";
}

def Step_MuonOp : Step_EffectOp<"muon", [DeclareOpInterfaceMethods<SymbolUserOpInterface>, Step_Kernel, Step_Cost]> {
  let summary = "Muon over pieces of a matrix that are alike, unless the norm is not finite";
  let description = [{
    Momentum, then a step along the orthogonalised momentum of every piece (conventions 14.8); `norm`, `scalars` and `step` as in
    step.adamw. Its FLOPs are those of the products, iterations * (4 s^2 l + 2 s^3) for a piece of sides s <= l. `segment` counts the
    parameter's `pieces`.
  }];
  let arguments = (ins FlatSymbolRefAttr:$parameter, I64Attr:$segment, Step_F32:$norm, Step_F32:$scalars, Optional<Step_I32>:$step);
  let assemblyFormat = [{$parameter `[` $segment `]` `,` $norm `,` $scalars (`,` $step^)? attr-dict `:` type($norm) `,` type($scalars)
      (`,` type($step)^)?}];
}

def Step_ZeroOp : Step_ComputeOp<"zero", [CostOpInterface]> {
  let summary = "zeros";
  let results = (outs Step_Float:$y);
  let assemblyFormat = "attr-dict `:` type($y)";
  let hasVerifier = 0;
}

def Step_DetachOp : Step_Op<"detach", [Pure, AllTypesMatch<["x", "y"]>, Step_Gradient]> {
  let summary = "x, through which no gradient flows; no launch";
  let description = [{step-differentiate leaves its operand in its place.}];
  let arguments = (ins Step_Float:$x);
  let results = (outs Step_Float:$y);
  let assemblyFormat = "$x attr-dict `:` type($x)";
}

def Step_FusedOp : Step_Op<"fused", [SingleBlock, NoRegionArguments, RecursiveMemoryEffects, Step_Kernel, Step_Cost]> {
  let summary = "ops that one kernel serves in one launch";
  let description = [{
    Made by step-fuse where a record of lib/Kernels serves the group. The ops inside keep their interfaces; putting them back where the
    group stands is always right. A value made inside that is not yielded never exists in memory. The group belongs to the slot of its
    last op.

    ```
    step.fused {
      %dw = step.linear_grad_weight %dy, %x : (...) -> tensor<64x32xf32>
      step.accumulate @head.weight, %dw : tensor<64x32xf32>
      step.yield
    }
    ```
    Asked for a kernel it has the families of its ops joined by '+'; operands of op i > 0 are called "family.name".
  }];
  let results = (outs Variadic<Step_Any>:$results);
  let regions = (region SizedRegion<1>:$body);
  let assemblyFormat = "(`:` type($results)^)? attr-dict-with-keyword $body";
  let hasVerifier = 1;
}

def Step_YieldOp : Step_Op<"yield", [Pure, Terminator, HasParent<"FusedOp">]> {
  let summary = "values of a fused group that are used outside";
  let arguments = (ins Variadic<Step_Any>:$values);
  let assemblyFormat = "($values^ `:` type($values))? attr-dict";
}

#endif
