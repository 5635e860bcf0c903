//===- StepStructure.td - functions, state, inputs and outputs ------------===//
#ifndef MEGACC_STEPSTRUCTURE_TD
#define MEGACC_STEPSTRUCTURE_TD

include "dialects/Step/StepBase.td"

def Step_FuncOp : Step_Op<"func", [Symbol, IsolatedFromAbove, SingleBlockImplicitTerminator<"ReturnOp">]> {
  let summary = "one of the three functions of a step";
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
  let description = [{`init` is "constant" (value init_a), "normal" (standard deviation init_a), "uniform" (bound init_a), "dt_bias", "a_log"
    or "identity" (init_a = width of the stacked matrices).}];
  let arguments = (ins SymbolNameAttr:$sym_name, TypeAttrOf<Step_F32>:$type, UnitAttr:$decays, UnitAttr:$trained, StrAttr:$init,
                       F64Attr:$init_a, I64Attr:$block);
  let assemblyFormat = "$sym_name `:` $type attr-dict";
  let hasVerifier = 1;
}

def Step_ReadOp : Step_Op<"read", [Pure, DeclareOpInterfaceMethods<SymbolUserOpInterface>]> {
  let summary = "the value of a parameter; no launch";
  let arguments = (ins FlatSymbolRefAttr:$parameter);
  let results = (outs Step_F32:$value);
  let assemblyFormat = "$parameter attr-dict `:` type($value)";
}

def Step_InputOp : Step_Op<"input", [Pure]> {
  let summary = "an input of the step";
  let description = [{tokens, targets, documents, positions, or scalars (lr, 1 - beta1^t, 1 - beta2^t).}];
  let arguments = (ins StrAttr:$name);
  let results = (outs Step_Any:$value);
  let assemblyFormat = "$name attr-dict `:` type($value)";
}

def Step_AccumulateOp : Step_Op<"accumulate", [DeclareOpInterfaceMethods<SymbolUserOpInterface>, Step_Kernel]> {
  let summary = "adds a micro-batch's gradient to the gradient of a parameter (the first one overwrites)";
  let arguments = (ins FlatSymbolRefAttr:$parameter, Step_F32:$gradient);
  let assemblyFormat = "$parameter `,` $gradient attr-dict `:` type($gradient)";
}

def Step_LossOp : Step_Op<"loss", [Step_Kernel]> {
  let summary = "marks a term of the objective, the sum of its values, recorded in the metric loss.<name>";
  let arguments = (ins Variadic<Step_F32>:$values, StrAttr:$name, F64Attr:$weight);
  let assemblyFormat = "$values attr-dict `:` type($values)";
  let hasVerifier = 1;
}

def Step_OutputOp : Step_Op<"output", [Step_Kernel]> {
  let summary = "copies a value to the host's outputs";
  let description = [{`shape` is what the host sees; the elements stay in order.}];
  let arguments = (ins StrAttr:$name, Step_F32:$value, OptionalAttr<DenseI64ArrayAttr>:$shape);
  let assemblyFormat = "$name `,` $value attr-dict `:` type($value)";
  let hasVerifier = 1;
}

def Step_SetMetricOp : Step_Op<"set_metric", [Step_Kernel]> {
  let summary = "copies a number to the host's metrics";
  let arguments = (ins StrAttr:$name, Step_F32:$value);
  let assemblyFormat = "$name `,` $value attr-dict `:` type($value)";
}

def Step_AdamWOp : Step_Op<"adamw", [Step_Kernel]> {
  let summary = "AdamW over all parameters of a group";
  let description = [{`group` is "decays" or "plain"; hyper-parameters are those of the module's megacc.config.}];
  let arguments = (ins Step_F32:$norm, Step_F32:$scalars, StrAttr:$group);
  let assemblyFormat = "$norm `,` $scalars attr-dict `:` type($norm) `,` type($scalars)";
  let hasVerifier = 1;
}

def Step_GradientNormOp : Step_Op<"gradient_norm", [CostOpInterface, Step_Kernel]> {
  let summary = "the norm of all gradients";
  let results = (outs Step_F32:$norm);
  let assemblyFormat = "attr-dict `:` type($norm)";
}

def Step_ZeroOp : Step_ComputeOp<"zero", [CostOpInterface]> {
  let summary = "zeros";
  let results = (outs Step_F32:$y);
  let assemblyFormat = "attr-dict `:` type($y)";
}

#endif
