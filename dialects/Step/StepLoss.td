// The head and its losses.
#ifndef MEGACC_STEPLOSS_TD
#define MEGACC_STEPLOSS_TD

include "dialects/Step/StepBase.td"

def Step_CountValidOp : Step_ComputeOp<"count_valid", [CostOpInterface]> {
  let summary = "number of targets that are not negative";
  let description = [{targets [batch, sequence], valid [1]. Over several data ranks their sum is the count of the global batch.}];
  let arguments = (ins Step_I32:$targets);
  let results = (outs Step_F32:$valid);
}

def Step_LinearCrossEntropyOp : Step_FlaggedOp<"linear_cross_entropy", [Step_Gradient, Step_Cost]> {
  let summary = "loss = sum over valid targets of -log softmax(x weight^T)[target] / max(1, valid), with its gradients";
  let description = [{
    x [T, cols], weight [vocab, cols], targets [batch, sequence], valid [1]; loss [1]. With p = softmax(x weight^T) and e = scale / max(1,
    valid) (p - one_hot(target)) in the rows of valid targets, zero in others: d_x = e weight, d_weight = e^T x. A negative target is
    ignored; `invalid` names a metric that becomes 1 where a target is not in the vocabulary, which is ignored too.
  }];
  let arguments = (ins Step_Float:$x, Step_Float:$weight, Step_I32:$targets, Step_F32:$valid, F64Attr:$scale,
      OptionalAttr<StrAttr>:$invalid);
  let results = (outs Step_F32:$loss, Step_Float:$d_x, Step_F32:$d_weight);
}

def Step_LinearCrossEntropyEvaluateOp : Step_ComputeOp<"linear_cross_entropy_evaluate", [Step_Cost]> {
  let summary = "sum of the cross-entropy and number of valid targets of every row";
  let description = [{x [T, cols], weight [vocab, cols], targets [batch, sequence]; loss_sum, count [batch].}];
  let arguments = (ins Step_Float:$x, Step_Float:$weight, Step_I32:$targets, I64Attr:$batch, I64Attr:$sequence);
  let results = (outs Step_F32:$loss_sum, Step_F32:$count);
}

def Step_LogitsAtOp : Step_ComputeOp<"logits_at", [Step_Cost]> {
  let summary = "logits of one position of every row";
  let description = [{x [T, cols], weight [vocab, cols], positions [batch]; logits [batch, vocab].}];
  let arguments = (ins Step_Float:$x, Step_Float:$weight, Step_I32:$positions, I64Attr:$batch, I64Attr:$sequence);
  let results = (outs Step_F32:$logits);
}

#endif
