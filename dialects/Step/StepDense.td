//===- StepDense.td - embedding, norms, projections, pointwise ------------===//
#ifndef MEGACC_STEPDENSE_TD
#define MEGACC_STEPDENSE_TD

include "dialects/Step/StepBase.td"

def Step_EmbeddingOp : Step_ComputeOp<"embedding", [Step_Gradient, CostOpInterface]> {
  let summary = "rows of a table by token";
  let description = [{tokens [batch, sequence] give y [T, cols]; several ids a token, [T, ids], give y [T, ids*cols], side by side.}];
  let arguments = (ins Step_F32:$table, Step_I32:$tokens);
  let results = (outs Step_F32:$y);
  let hasVerifier = 1;
}

def Step_EmbeddingGradOp : Step_ComputeOp<"embedding_grad", [CostOpInterface]> {
  let arguments = (ins Step_F32:$d_y, Step_I32:$tokens);
  let results = (outs Step_F32:$d_table);
}

def Step_RmsNormOp : Step_ComputeOp<"rms_norm", [Step_Gradient, CostOpInterface]> {
  let summary = "y = x * rstd * weight, rstd = 1/sqrt(mean(x^2) + eps)";
  let description = [{`nonfinite` names a metric that becomes 1 if x is not finite.}];
  let arguments = (ins Step_F32:$x, Step_F32:$weight, F64Attr:$eps, OptionalAttr<StrAttr>:$nonfinite);
  let results = (outs Step_F32:$y, Step_F32:$rstd);
  let hasVerifier = 1;
}

def Step_RmsNormGradOp : Step_ComputeOp<"rms_norm_grad", [CostOpInterface]> {
  let arguments = (ins Step_F32:$d_y, Step_F32:$x, Step_F32:$rstd, Step_F32:$weight);
  let results = (outs Step_F32:$d_x, Step_F32:$d_weight);
}

def Step_LinearOp : Step_ComputeOp<"linear", [Step_Gradient, Step_Cost]> {
  let summary = "y = x weight^T";
  let arguments = (ins Step_F32:$x, Step_F32:$weight);
  let results = (outs Step_F32:$y);
  let hasVerifier = 1;
}

def Step_LinearGradInputOp : Step_ComputeOp<"linear_grad_input", [Step_Cost]> {
  let summary = "d_x = d_y weight";
  let arguments = (ins Step_F32:$d_y, Step_F32:$weight);
  let results = (outs Step_F32:$d_x);
}

def Step_LinearGradWeightOp : Step_ComputeOp<"linear_grad_weight", [Step_Cost]> {
  let summary = "d_weight = d_y^T x";
  let arguments = (ins Step_F32:$d_y, Step_F32:$x);
  let results = (outs Step_F32:$d_weight);
}

def Step_AddOp : Step_ComputeOp<"add", [Step_Gradient, CostOpInterface, AllTypesMatch<["a", "b", "y"]>]> {
  let summary = "y = a + b";
  let arguments = (ins Step_F32:$a, Step_F32:$b);
  let results = (outs Step_F32:$y);
}

def Step_ActivationOp : Step_ComputeOp<"activation", [Step_Gradient, CostOpInterface]> {
  let summary = "gelu, gelu_tanh, relu2, or swiglu of [gate, up]";
  let arguments = (ins Step_F32:$x, StrAttr:$kind);
  let results = (outs Step_F32:$y);
  let hasVerifier = 1;
}

def Step_ActivationGradOp : Step_ComputeOp<"activation_grad", [CostOpInterface]> {
  let arguments = (ins Step_F32:$d_y, Step_F32:$x, StrAttr:$kind);
  let results = (outs Step_F32:$d_x);
}

#endif
