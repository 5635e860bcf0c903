// Blocks that only some tokens enter (mixture of depths).
#ifndef MEGACC_STEPDEPTH_TD
#define MEGACC_STEPDEPTH_TD

include "dialects/Step/StepBase.td"

def Step_ModSelectOp : Step_ComputeOp<"mod_select", [CostOpInterface]> {
  let summary = "the `count` tokens of each row with the largest logits; of equal ones the earlier";
  let description = [{
    logits [T, 1]; position [batch, sequence], the place of a token among the kept ones of its row, which stay in order; -1 where it is not
    kept. -0 equals +0.
  }];
  let arguments = (ins Step_F32:$logits, I64Attr:$count);
  let results = (outs Step_I32:$position);
}

def Step_ModTakeOp : Step_ComputeOp<"mod_take", [Step_Gradient, CostOpInterface]> {
  let summary = "the kept rows: y[position[t]] = x[t]";
  let description = [{x [batch*sequence, cols], position [batch, sequence] (step.mod_select); y [batch*keep, cols].}];
  let arguments = (ins Step_Float:$x, Step_I32:$position);
  let results = (outs Step_Float:$y);
}

def Step_ModPutOp : Step_ComputeOp<"mod_put", [Step_Gradient, CostOpInterface]> {
  let summary = "y[t] = sigmoid(logits[t]) x[position[t]] where t is kept, else 0";
  let description = [{
    x [batch*keep, cols], logits [batch*sequence, 1], position [batch, sequence]; y [batch*sequence, cols]. Without logits nothing is
    scaled.
  }];
  let arguments = (ins Step_Float:$x, Optional<Step_F32>:$logits, Step_I32:$position);
  let results = (outs Step_Float:$y);
}

def Step_ModPutGradOp : Step_GradOp<"mod_put_grad", [CostOpInterface]> {
  let summary = "with s = sigmoid(logits[t]) of a kept t: d_x[position[t]] = s d_y[t], d_logits[t] = s (1 - s) d_y[t] . x[position[t]]";
  let description = [{Shapes as in step.mod_put. d_logits is 0 where t is not kept.}];
  let arguments = (ins Step_Float:$d_y, Step_Float:$x, Step_F32:$logits, Step_I32:$position);
  let results = (outs Step_Float:$d_x, Step_F32:$d_logits);
}

def Step_ModLossOp : Step_ComputeOp<"mod_loss", [Step_Gradient, CostOpInterface]> {
  let summary = "loss = aux / tokens times the sum of the binary cross-entropies of sigmoid(logits) with kept or not";
  let description = [{logits [T, 1], position [batch, sequence], loss [1]; `tokens` of the global micro-batch.}];
  let arguments = (ins Step_F32:$logits, Step_I32:$position, I64Attr:$tokens, F64Attr:$aux);
  let results = (outs Step_F32:$loss);
}

def Step_ModLossGradOp : Step_GradOp<"mod_loss_grad", [CostOpInterface]> {
  let summary = "d_logits = scale (sigmoid(logits) - kept)";
  let description = [{logits, d_logits [T, 1], position [batch, sequence].}];
  let arguments = (ins Step_F32:$logits, Step_I32:$position, F64Attr:$scale);
  let results = (outs Step_F32:$d_logits);
}

#endif
