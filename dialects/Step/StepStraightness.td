// How straight a residual stream runs between tokens.
#ifndef MEGACC_STEPSTRAIGHTNESS_TD
#define MEGACC_STEPSTRAIGHTNESS_TD

include "dialects/Step/StepBase.td"

def Step_CountSpansOp : Step_ComputeOp<"count_spans", [CostOpInterface]> {
  let summary = "number of pairs of a row and a span that lie in one document";
  let description = [{
    spans [spans, 3], positions s < r < t of a row each; a negative span is not there. documents [batch, sequence]; count [1]. Over several
    data ranks the sum is the count of the global batch; without documents it is that already.
  }];
  let arguments = (ins Step_I32:$spans, Optional<Step_I32>:$documents, I64Attr:$batch);
  let results = (outs Step_F32:$count);
}

def Step_StraightnessOp : Step_ComputeOp<"straightness", [Step_Gradient, CostOpInterface]> {
  let summary = "loss = weight * sum of 1 - cos(a, b) over rows and spans in one document, over max(1, layers * count) (conventions 12.6)";
  let description = [{
    x [T, cols], spans [spans, 3], count [1] of step.count_spans, documents [batch, sequence]; loss [1]. With a = x[r] - x[s],
    b = x[t] - x[r]: cos = a.b / (|a| |b|), and 0 without gradient where |a|^2 |b|^2 <= 1e-8. `layers` values share the mean. The loss is a
    term of the objective and nothing else: its gradient follows from the op alone.
  }];
  let arguments = (ins Step_Float:$x, Step_I32:$spans, Step_F32:$count, Optional<Step_I32>:$documents, I64Attr:$batch, I64Attr:$sequence,
                       I64Attr:$layers, F64Attr:$weight);
  let results = (outs Step_F32:$loss);
}

def Step_StraightnessGradOp : Step_GradOp<"straightness_grad", [CostOpInterface]> {
  let summary = "d_x of step.straightness, zero at tokens that no span names";
  let description = [{Shapes as in step.straightness; `weight` is that of this micro-batch in the mean over all.}];
  let arguments = (ins Step_Float:$x, Step_I32:$spans, Step_F32:$count, Optional<Step_I32>:$documents, I64Attr:$batch, I64Attr:$sequence,
                       I64Attr:$layers, F64Attr:$weight);
  let results = (outs Step_Float:$d_x);
}

#endif
