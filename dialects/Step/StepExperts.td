// Routed experts.
#ifndef MEGACC_STEPEXPERTS_TD
#define MEGACC_STEPEXPERTS_TD

include "dialects/Step/StepBase.td"

/// A token picks `slots` of `experts` experts and `nulls` copies of the null expert, whose logit is the last column.
defvar Step_Routing = (ins I64Attr:$experts, I64Attr:$slots, I64Attr:$nulls, UnitAttr:$sigmoid);

def Step_MoeRouteOp : Step_ComputeOp<"moe_route", [Step_Gradient, CostOpInterface]> {
  let summary = "which experts a token picks, and with what weight";
  let description = [{
    logits [T, experts], one column more with null experts; a sigmoid router has a bias per column, which only selects. With kept =
    min(slots, experts): weights and choice [T, kept] (experts ascending, then -1 with weight 0), position [T, kept] (the pick's row among
    T * kept rows sorted by expert, then token; -1 for none) and offsets [experts + 1] (where the rows of each expert begin; rows from the
    last offset on are zeros). Scores are a softmax over all slots, or sigmoids; weights are scores over their sum (slots > 1), times scale.
    The losses of the router (step.moe_losses, weights `aux` and `z`) are terms of the objective and nothing else: the gradient of the
    logits contains theirs.
  }];
  let arguments = !con((ins Step_F32:$logits, Optional<Step_F32>:$bias), Step_Routing, (ins F64Attr:$scale, F64Attr:$aux, F64Attr:$z));
  let results = (outs Step_F32:$weights, Step_I32:$choice, Step_I32:$position, Step_I32:$offsets);
}

def Step_MoeStatisticsOp : Step_ComputeOp<"moe_statistics", [CostOpInterface]> {
  let summary = "sums over tokens that the router's losses are made of";
  let description = [{
    logits as in step.moe_route, offsets [experts + 1]; statistics [2 experts + 1]: picks n_e of each expert, sum over tokens of its
    probability p_e (softmax over the experts, or sigmoids over their sum), sum of logsumexp(logits)^2.
  }];
  let arguments = (ins Step_F32:$logits, Step_I32:$offsets, I64Attr:$experts, I64Attr:$nulls, UnitAttr:$sigmoid);
  let results = (outs Step_F64:$statistics);
}

def Step_MoeLossesOp : Step_ComputeOp<"moe_losses", [Step_Gradient, CostOpInterface]> {
  let summary = "aux_loss = aux experts sum_e f_e P_e, z_loss = z mean of logsumexp^2";
  let description = [{
    f_e = n_e / sum of n_e, P_e = sum of p_e / tokens, from the statistics [2 experts + 1] of all `tokens` tokens; both losses [1]. Their
    gradient is built by the op that made the picks (step.moe_route_grad).
  }];
  let arguments = (ins Step_F64:$statistics, I64Attr:$tokens, I64Attr:$experts, F64Attr:$aux, F64Attr:$z);
  let results = (outs Step_F32:$aux_loss, Step_F32:$z_loss);
}

def Step_MoeRouteGradOp : Step_GradOp<"moe_route_grad", [CostOpInterface]> {
  let summary = "d_logits of the weights and of the router's losses";
  let description = [{
    d_weights [T, kept], logits, choice, statistics; d_logits [T, columns]. Through the weights: the derivative of the normalised scores
    of the picks. Of the losses, whose gradients are `aux` and `z`: aux experts f_e / tokens dp_e and 2 z logsumexp / tokens softmax.
  }];
  let arguments = !con((ins Step_F32:$d_weights, Step_F32:$logits, Step_I32:$choice, Step_F64:$statistics, I64Attr:$tokens), Step_Routing,
                       (ins F64Attr:$scale, F64Attr:$aux, F64Attr:$z));
  let results = (outs Step_F32:$d_logits);
}

def Step_MoeCountPicksOp : Step_EffectOp<"moe_count_picks", [Step_Kernel, Step_Update, DeclareOpInterfaceMethods<SymbolUserOpInterface>]> {
  let summary = "adds the picks of each expert to a metric (the first micro-batch overwrites)";
  let description = [{With the `bias` of a sigmoid router, that bias moves by `rate` once a step, towards experts that lack picks.}];
  let arguments = (ins Step_I32:$offsets, StrAttr:$name, OptionalAttr<FlatSymbolRefAttr>:$bias, F64Attr:$rate);
  let assemblyFormat = "$offsets attr-dict `:` type($offsets)";
}

def Step_MoeBiasUpdateOp : Step_EffectOp<"moe_bias_update", [Step_Kernel, DeclareOpInterfaceMethods<SymbolUserOpInterface>]> {
  let summary = "bias[e] += rate sign(mean of picks - picks[e]), unless the norm is not finite";
  let description = [{`picks` names the metric with the picks of `experts` experts.}];
  let arguments = (ins FlatSymbolRefAttr:$bias, Step_F32:$norm, StrAttr:$picks, I64Attr:$experts, F64Attr:$rate);
  let assemblyFormat = "$bias `,` $norm attr-dict `:` type($norm)";
}

def Step_MoeDispatchOp : Step_ComputeOp<"moe_dispatch", [Step_Gradient, CostOpInterface]> {
  let summary = "copies every token to the rows of its picks";
  let description = [{
    x [T, cols], position [T, kept], offsets [experts + 1]; rows [T*kept, cols], row position[t, k] = x[t]; rows that no pick has are zero.
    The gradient of step.moe_combine.
  }];
  let arguments = (ins Step_Float:$x, Step_I32:$position, Step_I32:$offsets);
  let results = (outs Step_Float:$rows);
}

def Step_MoeCombineOp : Step_ComputeOp<"moe_combine", [Step_Gradient, CostOpInterface]> {
  let summary = "y[t] = sum of the rows of every pick of t";
  let description = [{rows [T*kept, cols], position [T, kept], offsets [experts + 1]; y [T, cols]. The gradient of step.moe_dispatch.}];
  let arguments = (ins Step_Float:$rows, Step_I32:$position, Step_I32:$offsets);
  let results = (outs Step_Float:$y);
}

def Step_MoeDispatchWeightsOp : Step_ComputeOp<"moe_dispatch_weights", [Step_Gradient, CostOpInterface]> {
  let summary = "moves the weight of every pick to its row";
  let description = [{
    weights [T, kept], position [T, kept], offsets [experts + 1]; rows [T*kept, 1], row position[t, k] = weights[t, k]; rows that no pick
    has are zero.
  }];
  let arguments = (ins Step_F32:$weights, Step_I32:$position, Step_I32:$offsets);
  let results = (outs Step_F32:$rows);
}

def Step_MoeDispatchWeightsGradOp : Step_GradOp<"moe_dispatch_weights_grad", [CostOpInterface]> {
  let summary = "d_weights[t, k] = d_rows[position[t, k]], zero where there is no pick";
  let description = [{d_rows [T*kept, 1], position [T, kept]; d_weights [T, kept].}];
  let arguments = (ins Step_F32:$d_rows, Step_I32:$position);
  let results = (outs Step_F32:$d_weights);
}

def Step_GroupedLinearOp : Step_ComputeOp<"grouped_linear", [Step_Gradient, Step_Cost]> {
  let summary = "y = x weight[expert]^T for rows sorted by expert";
  let description = [{
    x [rows, in], weight [experts, out, in], offsets [experts + 1]; y [rows, out]. `expected_rows` of the rows are used on average, which is
    what the cost counts.
  }];
  let arguments = (ins Step_Float:$x, Step_Float:$weight, Step_I32:$offsets, I64Attr:$expected_rows);
  let results = (outs Step_Float:$y);
}

def Step_GroupedLinearGradInputOp : Step_GradOp<"grouped_linear_grad_input", [Step_Cost]> {
  let summary = "d_x = d_y weight[expert]";
  let description = [{d_y [rows, out], weight [experts, out, in]; d_x [rows, in].}];
  let arguments = (ins Step_Float:$d_y, Step_Float:$weight, Step_I32:$offsets, I64Attr:$expected_rows);
  let results = (outs Step_Float:$d_x);
}

def Step_GroupedLinearGradWeightOp : Step_GradOp<"grouped_linear_grad_weight", [Step_Cost]> {
  let summary = "d_weight[expert] = d_y^T x over the rows of the expert";
  let description = [{d_y [rows, out], x [rows, in]; d_weight [experts, out, in], zero for an expert without rows.}];
  let arguments = (ins Step_Float:$d_y, Step_Float:$x, Step_I32:$offsets, I64Attr:$expected_rows);
  let results = (outs Step_F32:$d_weight);
}

def Step_RowGateOp : Step_ComputeOp<"row_gate", [Step_Gradient, CostOpInterface]> {
  let summary = "y = x * sigmoid(gate), one gate for every group of columns";
  let description = [{x, y [T, groups*width], gate [T, groups].}];
  let arguments = (ins Step_Float:$x, Step_Float:$gate);
  let results = (outs Step_Float:$y);
}

def Step_RowGateGradOp : Step_GradOp<"row_gate_grad", [CostOpInterface]> {
  let summary = "with s = sigmoid(gate): d_x = d_y s, d_gate = s (1 - s) sum of d_y x over the group";
  let description = [{d_y, x, d_x [T, groups*width], gate, d_gate [T, groups].}];
  let arguments = (ins Step_Float:$d_y, Step_Float:$x, Step_Float:$gate);
  let results = (outs Step_Float:$d_x, Step_Float:$d_gate);
}

def Step_RowScaleOp : Step_ComputeOp<"row_scale", [Step_Gradient, CostOpInterface]> {
  let summary = "y = x * scale, one number per row";
  let description = [{x, y [T, cols], scale [T, 1].}];
  let arguments = (ins Step_Float:$x, Step_F32:$scale);
  let results = (outs Step_Float:$y);
}

def Step_RowScaleGradOp : Step_GradOp<"row_scale_grad", [CostOpInterface]> {
  let summary = "d_x = d_y scale, d_scale = sum of d_y x over the row";
  let description = [{d_y, x, d_x [T, cols], scale, d_scale [T, 1].}];
  let arguments = (ins Step_Float:$d_y, Step_Float:$x, Step_F32:$scale);
  let results = (outs Step_Float:$d_x, Step_F32:$d_scale);
}

#endif
