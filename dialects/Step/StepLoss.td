//===- StepLoss.td - the head and its losses ------------------------------===//
#ifndef MEGACC_STEPLOSS_TD
#define MEGACC_STEPLOSS_TD

include "dialects/Step/StepBase.td"

def Step_LinearCrossEntropyOp : Step_ComputeOp<"linear_cross_entropy", [Step_Gradient, Step_Cost]> {
  let summary = "mean cross-entropy of x weight^T, with its gradients";
  let description = [{d_x and d_weight are `scale` times the gradients of the loss; `chunk` rows of logits exist at a time.}];
  let arguments = (ins Step_F32:$x, Step_F32:$weight, Step_I32:$targets, I64Attr:$chunk, F64Attr:$scale);
  let results = (outs Step_F32:$loss, Step_F32:$d_x, Step_F32:$d_weight);
  let hasVerifier = 1;
}

def Step_LinearCrossEntropyEvaluateOp : Step_ComputeOp<"linear_cross_entropy_evaluate", [Step_Cost]> {
  let summary = "sum of the cross-entropy and number of valid targets of every row";
  let arguments = (ins Step_F32:$x, Step_F32:$weight, Step_I32:$targets, I64Attr:$batch, I64Attr:$sequence, I64Attr:$chunk);
  let results = (outs Step_F32:$loss_sum, Step_F32:$count);
}

def Step_LogitsAtOp : Step_ComputeOp<"logits_at", [Step_Cost]> {
  let summary = "logits of one position of every row";
  let arguments = (ins Step_F32:$x, Step_F32:$weight, Step_I32:$positions, I64Attr:$batch, I64Attr:$sequence);
  let results = (outs Step_F32:$logits);
}

#endif
