//===- StepExperts.td - routed experts ------------------------------------===//
#ifndef MEGACC_STEPEXPERTS_TD
#define MEGACC_STEPEXPERTS_TD

include "dialects/Step/StepBase.td"

/// A token picks `slots` of `experts` experts and `nulls` copies of the null expert, whose logit is the last column.
defvar Step_Routing = (ins I64Attr:$experts, I64Attr:$slots, I64Attr:$nulls, UnitAttr:$sigmoid, F64Attr:$scale, F64Attr:$aux, F64Attr:$z);

def Step_MoeRouteOp : Step_ComputeOp<"moe_route", [Step_Gradient, CostOpInterface]> {
  let summary = "which experts a token picks, with what weight, and the losses of the router";
  let description = [{
    logits [T, experts], one column more with null experts; a sigmoid router has a bias a column, which only selects. With kept =
    min(slots, experts): weights and choice [T, kept] (experts ascending, then -1 with weight 0), position [T, kept] (the pick's row among
    T * kept rows sorted by expert, then token; -1 for none) and offsets [experts + 1] (where the rows of each expert begin; rows from the
    last offset on are zeros). aux_loss and z_loss are weighted by `aux` and `z`; where they are terms of the objective, the gradient of
    the logits contains theirs.
  }];
  let arguments = !con((ins Step_F32:$logits, Optional<Step_F32>:$bias), Step_Routing);
  let results = (outs Step_F32:$weights, Step_I32:$choice, Step_I32:$position, Step_I32:$offsets, Step_F32:$aux_loss, Step_F32:$z_loss);
  let hasVerifier = 1;
}

def Step_MoeRouteGradOp : Step_ComputeOp<"moe_route_grad", [CostOpInterface]> {
  let arguments = !con((ins Step_F32:$d_weights, Step_F32:$logits, Step_I32:$choice, Step_I32:$offsets), Step_Routing);
  let results = (outs Step_F32:$d_logits);
}

def Step_MoeCountPicksOp : Step_Op<"moe_count_picks", [Step_Kernel, Step_Update, DeclareOpInterfaceMethods<SymbolUserOpInterface>]> {
  let summary = "adds the picks of each expert to a metric (the first micro-batch overwrites)";
  let description = [{With the `bias` of a sigmoid router, that bias moves by `rate` once a step, towards experts that lack picks.}];
  let arguments = (ins Step_I32:$offsets, StrAttr:$name, OptionalAttr<FlatSymbolRefAttr>:$bias, F64Attr:$rate);
  let assemblyFormat = "$offsets attr-dict `:` type($offsets)";
}

def Step_MoeBiasUpdateOp : Step_Op<"moe_bias_update", [Step_Kernel, DeclareOpInterfaceMethods<SymbolUserOpInterface>]> {
  let summary = "moves the bias of a router towards experts that lack picks, unless the norm is not finite";
  let description = [{`picks` names the metric with the picks of `experts` experts.}];
  let arguments = (ins FlatSymbolRefAttr:$bias, Step_F32:$norm, StrAttr:$picks, I64Attr:$experts, F64Attr:$rate);
  let assemblyFormat = "$bias `,` $norm attr-dict `:` type($norm)";
}

def Step_MoeDispatchOp : Step_ComputeOp<"moe_dispatch", [Step_Gradient, CostOpInterface]> {
  let summary = "copies every token to the rows of its picks";
  let arguments = (ins Step_F32:$x, Step_I32:$position, Step_I32:$offsets);
  let results = (outs Step_F32:$rows);
  let hasVerifier = 1;
}

def Step_MoeDispatchGradOp : Step_ComputeOp<"moe_dispatch_grad", [CostOpInterface]> {
  let summary = "sums the rows of every token's picks";
  let arguments = (ins Step_F32:$d_rows, Step_I32:$position);
  let results = (outs Step_F32:$d_x);
}

def Step_MoeCombineOp : Step_ComputeOp<"moe_combine", [Step_Gradient, CostOpInterface]> {
  let summary = "weighted sum of the rows of every token's picks";
  let arguments = (ins Step_F32:$rows, Step_F32:$weights, Step_I32:$position, Step_I32:$offsets);
  let results = (outs Step_F32:$y);
  let hasVerifier = 1;
}

def Step_MoeCombineGradOp : Step_ComputeOp<"moe_combine_grad", [CostOpInterface]> {
  let arguments = (ins Step_F32:$d_y, Step_F32:$rows, Step_F32:$weights, Step_I32:$position, Step_I32:$offsets);
  let results = (outs Step_F32:$d_rows, Step_F32:$d_weights);
}

def Step_GroupedLinearOp : Step_ComputeOp<"grouped_linear", [Step_Gradient, Step_Cost]> {
  let summary = "y = x weight[expert]^T for rows sorted by expert";
  let description = [{
    x [rows, in], weight [experts, out, in]; `expected_rows` of the rows are used on average, which is what the cost counts.
  }];
  let arguments = (ins Step_F32:$x, Step_F32:$weight, Step_I32:$offsets, I64Attr:$expected_rows);
  let results = (outs Step_F32:$y);
  let hasVerifier = 1;
}

def Step_GroupedLinearGradInputOp : Step_ComputeOp<"grouped_linear_grad_input", [Step_Cost]> {
  let summary = "d_x = d_y weight[expert]";
  let arguments = (ins Step_F32:$d_y, Step_F32:$weight, Step_I32:$offsets, I64Attr:$expected_rows);
  let results = (outs Step_F32:$d_x);
}

def Step_GroupedLinearGradWeightOp : Step_ComputeOp<"grouped_linear_grad_weight", [Step_Cost]> {
  let summary = "d_weight[expert] = d_y^T x over the rows of the expert";
  let arguments = (ins Step_F32:$d_y, Step_F32:$x, Step_I32:$offsets, I64Attr:$expected_rows);
  let results = (outs Step_F32:$d_weight);
}

def Step_RowGateOp : Step_ComputeOp<"row_gate", [Step_Gradient, CostOpInterface]> {
  let summary = "y = x * sigmoid(gate), one gate a row";
  let arguments = (ins Step_F32:$x, Step_F32:$gate);
  let results = (outs Step_F32:$y);
  let hasVerifier = 1;
}

def Step_RowGateGradOp : Step_ComputeOp<"row_gate_grad", [CostOpInterface]> {
  let arguments = (ins Step_F32:$d_y, Step_F32:$x, Step_F32:$gate);
  let results = (outs Step_F32:$d_x, Step_F32:$d_gate);
}

#endif
