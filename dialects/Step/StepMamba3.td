// The Mamba-3 scan.
#ifndef MEGACC_STEPMAMBA3_TD
#define MEGACC_STEPMAMBA3_TD

include "dialects/Step/StepBase.td"

defvar Step_Mamba3Sizes = (ins I64Attr:$batch, I64Attr:$sequence, I64Attr:$heads, I64Attr:$groups, I64Attr:$rank, I64Attr:$head_dim,
                               I64Attr:$state, I64Attr:$angles, I64Attr:$chunk, UnitAttr:$mimo, UnitAttr:$out_norm, UnitAttr:$heavy,
                               UnitAttr:$state_gate, F64Attr:$eps, Step_Cached:$cached);

def Step_StateGateOp : Step_ComputeOp<"state_gate", [Step_Gradient, CostOpInterface]> {
  let summary = "cut = softplus(-(logits + bias)): what the gate sigmoid(logits + bias) takes from the logarithm of a decay";
  let description = [{logits [T, heads], bias [heads], cut [T, heads] in f32.}];
  let arguments = (ins Step_Float:$logits, Step_F32:$bias);
  let results = (outs Step_F32:$cut);
}

def Step_StateGateGradOp : Step_GradOp<"state_gate_grad", [CostOpInterface]> {
  let summary = "with g = sigmoid(logits + bias): d_logits = -(1 - g) d_cut, d_bias its sum over rows";
  let description = [{Shapes as in step.state_gate.}];
  let arguments = (ins Step_F32:$d_cut, Step_Float:$logits, Step_F32:$bias);
  let results = (outs Step_Float:$d_logits, Step_F32:$d_bias);
}

def Step_Mamba3ScanOp : Step_ComputeOp<"mamba3_scan", [Step_Gradient, Step_Cost, Step_Measure, AttrSizedOperandSegments]> {
  let summary = "Mamba-3 between its projections: norms, rotation, scan, gate (conventions section 8)";
  let description = [{
    projection [T, W] is the packed [z, x, B, C, dd_dt, dd_A, trap, angle]. parameters are dt_bias, D, B_bias, C_bias, B_norm, C_norm;
    with `mimo` then mimo_x, mimo_z, mimo_o (without them the variant is siso, of rank 1); with `out_norm` then the weight of the norm of
    y; with `state_gate` then [T, heads], which is taken from the logarithm of the decay (step.state_gate). y [T, heads*head_dim]. Caches:
    states [batch, heads, windows, state, head_dim] that enter every window of tokens; psi_v [T, heads, rank, head_dim] = x * mimo_x.
    `chunk` is the declared one; it counts FLOPs and changes no value. State, previous token and angles restart where a document starts.
  }];
  let arguments = !con((ins Step_Float:$projection, Variadic<Step_Float>:$parameters, Optional<Step_I32>:$documents), Step_Mamba3Sizes);
  let results = (outs Step_Float:$y, Variadic<Step_Any>:$caches);
}

def Step_Mamba3ScanGradOp : Step_GradOp<"mamba3_scan_grad", [Step_Cost, AttrSizedOperandSegments,
    DeclareOpInterfaceMethods<CacheOpInterface>]> {
  let summary = "gradients of the projection and of every parameter, by the scan run back over its chunks";
  let description = [{
    d_y [T, heads*head_dim], the rest as in step.mamba3_scan; d_projection [T, W], each d_parameter of its parameter's shape. B and C of a
    group sum over its heads, the angles over all heads.
  }];
  let arguments = !con((ins Step_Float:$d_y, Step_Float:$projection, Variadic<Step_Float>:$parameters, Optional<Step_I32>:$documents,
                            Variadic<Step_Any>:$caches), Step_Mamba3Sizes);
  let results = (outs Step_Float:$d_projection, Variadic<Step_F32>:$d_parameters);
}

def Step_Mamba3StateNormOp : Step_ComputeOp<"mamba3_state_norm", [Step_Cost, AttrSizedOperandSegments]> {
  let summary = "norm = share * sum over rows and heads of the Frobenius norm of the state behind the last token of the row";
  let description = [{
    Operands as in step.mamba3_scan, whose states it computes again; the state [state, head_dim] is H of conventions section 8. norm [1].
    With `share` = 1 / (rows of all ranks * heads) it is the mean.
  }];
  let arguments = !con((ins Step_Float:$projection, Variadic<Step_Float>:$parameters, Optional<Step_I32>:$documents),
                       (ins I64Attr:$batch, I64Attr:$sequence, I64Attr:$heads, I64Attr:$groups, I64Attr:$rank, I64Attr:$head_dim,
                            I64Attr:$state, I64Attr:$angles, UnitAttr:$mimo, UnitAttr:$out_norm, UnitAttr:$heavy,
                            UnitAttr:$state_gate, F64Attr:$eps, F64Attr:$share));
  let results = (outs Step_F32:$norm);
}

#endif
