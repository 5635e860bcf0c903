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

def Step_HeadStatisticsOp : Step_ComputeOp<"head_statistics", [Step_Cost]> {
  let summary = "the largest logit of every row and the sum of exp(logit - largest), for each of `parts` equal parts of the vocabulary";
  let description = [{
    x [T, cols], weight [vocab, cols]; statistics [parts, 2 T]: for each part the largest logits of the rows, then the sums. Where ranks
    share the vocabulary, this is what they tell one another before the losses (step.linear_cross_entropy_parts).
  }];
  let arguments = (ins Step_Float:$x, Step_Float:$weight, I64Attr:$batch, I64Attr:$parts);
  let results = (outs Step_F32:$statistics);
}

def Step_LinearCrossEntropyPartsOp : Step_FlaggedOp<"linear_cross_entropy_parts", [Step_Gradient, Step_Cost]> {
  let summary = "step.linear_cross_entropy of the part of the vocabulary that `weight` has";
  let description = [{
    statistics [all parts, 2 T] of the whole vocabulary (step.head_statistics); with it the softmax of a part is known. loss is the sum over
    targets in the part, d_x its summand, d_weight [vocab, cols] is that of the part.
    The ranks of `vocab_axis` have the parts in their order.
  }];
  let arguments = (ins Step_Float:$x, Step_Float:$weight, Step_I32:$targets, Step_F32:$valid, Step_F32:$statistics, F64Attr:$scale,
      OptionalAttr<StrAttr>:$invalid, I64Attr:$parts, Step_Axis:$vocab_axis);
  let results = (outs Step_F32:$loss, Step_Float:$d_x, Step_F32:$d_weight);
}

def Step_LinearCrossEntropyEvaluatePartsOp : Step_ComputeOp<"linear_cross_entropy_evaluate_parts", [Step_Cost]> {
  let summary = "step.linear_cross_entropy_evaluate of the targets in the part of the vocabulary that `weight` has";
  let description = [{statistics and `vocab_axis` as in step.linear_cross_entropy_parts; loss_sum, count [batch].}];
  let arguments = (ins Step_Float:$x, Step_Float:$weight, Step_I32:$targets, Step_F32:$statistics, I64Attr:$batch, I64Attr:$sequence,
      I64Attr:$parts, Step_Axis:$vocab_axis);
  let results = (outs Step_F32:$loss_sum, Step_F32:$count);
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
