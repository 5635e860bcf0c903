// Embedding, norms, projections, pointwise.
#ifndef MEGACC_STEPDENSE_TD
#define MEGACC_STEPDENSE_TD

include "dialects/Step/StepBase.td"

def Step_EmbeddingOp : Step_FlaggedOp<"embedding", [Step_Gradient, CostOpInterface]> {
  let summary = "y = rows of a table by token";
  let description = [{
    table [vocab, cols]; tokens [batch, sequence] give y [T, cols]; several ids per token, [T, ids], give y [T, ids*cols], side by side.
    `invalid` names a metric that becomes 1 if a token is outside the vocabulary, whose row is then zero.
  }];
  let arguments = (ins Step_Float:$table, Step_I32:$tokens, Step_Axis:$vocab_axis, OptionalAttr<StrAttr>:$invalid);
  let results = (outs Step_Float:$y);
}

def Step_EmbeddingGradOp : Step_GradOp<"embedding_grad", [CostOpInterface]> {
  let summary = "d_table[v] = sum of the rows of d_y whose token is v";
  let description = [{d_y [T, cols] or [T, ids*cols], tokens [batch, sequence] or [T, ids]; d_table [vocab, cols], zero
      where no token points.}];
  let arguments = (ins Step_Float:$d_y, Step_I32:$tokens, Step_Axis:$vocab_axis);
  let results = (outs Step_F32:$d_table);
}

def Step_RmsNormOp : Step_FlaggedOp<"rms_norm", [Step_Gradient, CostOpInterface]> {
  let summary = "y = x * rstd * weight, rstd = 1/sqrt(mean(x^2) + eps)";
  let description = [{
    x, y [T, cols], weight [cols]. Cache: rstd [T]. `nonfinite` names a metric that becomes 1 if x is not finite.
  }];
  let arguments = (ins Step_Float:$x, Step_Float:$weight, F64Attr:$eps, OptionalAttr<StrAttr>:$nonfinite, Step_Cached:$cached);
  let results = (outs Step_Float:$y, Variadic<Step_Any>:$caches);
}

def Step_RmsNormGradOp : Step_GradOp<"rms_norm_grad", [CostOpInterface, DeclareOpInterfaceMethods<CacheOpInterface>]> {
  let summary = "d_x = rstd (g - x rstd^2 mean(g x)) with g = d_y weight; d_weight = sum over rows of d_y x rstd";
  let description = [{d_y, x, d_x [T, cols], weight, d_weight [cols].}];
  let arguments = (ins Step_Float:$d_y, Step_Float:$x, Step_Float:$weight, Variadic<Step_Any>:$caches, F64Attr:$eps, Step_Cached:$cached);
  let results = (outs Step_Float:$d_x, Step_F32:$d_weight);
}

def Step_LayerNormOp : Step_ComputeOp<"layer_norm", [Step_Gradient, CostOpInterface]> {
  let summary = "y = (x - mean) * rstd * weight + bias, rstd = 1/sqrt(mean((x - mean)^2) + eps)";
  let description = [{x, y [T, cols], weight, bias [cols].}];
  let arguments = (ins Step_Float:$x, Step_Float:$weight, Step_Float:$bias, F64Attr:$eps);
  let results = (outs Step_Float:$y);
}

def Step_LayerNormGradOp : Step_GradOp<"layer_norm_grad", [CostOpInterface]> {
  let summary = "d_x = rstd (g - mean(g) - z mean(g z)) with z = (x - mean) rstd, g = d_y weight";
  let description = [{d_y, x, d_x [T, cols], weight [cols]; d_weight, d_bias [cols] are the sums over rows of d_y z and of d_y.}];
  let arguments = (ins Step_Float:$d_y, Step_Float:$x, Step_Float:$weight, F64Attr:$eps);
  let results = (outs Step_Float:$d_x, Step_F32:$d_weight, Step_F32:$d_bias);
}

def Step_DytOp : Step_FlaggedOp<"dyt", [Step_Gradient, CostOpInterface]> {
  let summary = "y = weight * tanh(alpha x) + bias, in place of a norm";
  let description = [{
    x, y [T, cols], weight, bias [cols], alpha [1]; in f32. `nonfinite` names a metric that becomes 1 if x is not finite.
  }];
  let arguments = (ins Step_Float:$x, Step_Float:$weight, Step_Float:$bias, Step_F32:$alpha, OptionalAttr<StrAttr>:$nonfinite);
  let results = (outs Step_Float:$y);
}

def Step_DytGradOp : Step_GradOp<"dyt_grad", [CostOpInterface]> {
  let summary = "with t = tanh(alpha x), s = (1 - t^2) weight d_y: d_x = alpha s; d_weight, d_bias, d_alpha sum t d_y, d_y, x s";
  let description = [{d_y, x, d_x [T, cols], weight, d_weight, d_bias [cols], alpha, d_alpha [1].}];
  let arguments = (ins Step_Float:$d_y, Step_Float:$x, Step_Float:$weight, Step_F32:$alpha);
  let results = (outs Step_Float:$d_x, Step_F32:$d_weight, Step_F32:$d_bias, Step_F32:$d_alpha);
}

def Step_ScaleOp : Step_ComputeOp<"scale", [Step_Gradient, CostOpInterface]> {
  let summary = "y = x * scale, by column or by one number";
  let description = [{x, y [T, cols], scale [cols] or [1].}];
  let arguments = (ins Step_Float:$x, Step_Float:$scale);
  let results = (outs Step_Float:$y);
}

def Step_ScaleGradOp : Step_GradOp<"scale_grad", [CostOpInterface]> {
  let summary = "d_x = d_y * scale; d_scale = sum of d_y * x over rows, and over columns where they share one number";
  let description = [{d_y, x, d_x [T, cols], scale, d_scale [cols] or [1].}];
  let arguments = (ins Step_Float:$d_y, Step_Float:$x, Step_Float:$scale);
  let results = (outs Step_Float:$d_x, Step_F32:$d_scale);
}

def Step_LinearOp : Step_ComputeOp<"linear", [Step_Gradient, Step_Cost]> {
  let summary = "y = x weight^T";
  let description = [{x [T, in], weight [out, in], y [T, out]; sums are f32. A weight in f32 gives y in f32 (routers).}];
  let arguments = (ins Step_Float:$x, Step_Float:$weight);
  let results = (outs Step_Float:$y);
}

def Step_LinearGradInputOp : Step_GradOp<"linear_grad_input", [Step_Cost]> {
  let summary = "d_x = d_y weight";
  let description = [{d_y [T, out], weight [out, in], d_x [T, in].}];
  let arguments = (ins Step_Float:$d_y, Step_Float:$weight);
  let results = (outs Step_Float:$d_x);
}

def Step_LinearGradWeightOp : Step_GradOp<"linear_grad_weight", [Step_Cost]> {
  let summary = "d_weight = d_y^T x";
  let description = [{d_y [T, out], x [T, in], d_weight [out, in].}];
  let arguments = (ins Step_Float:$d_y, Step_Float:$x);
  let results = (outs Step_F32:$d_weight);
}

def Step_AddOp : Step_ComputeOp<"add", [Step_Gradient, CostOpInterface, AllTypesMatch<["a", "b", "y"]>]> {
  let summary = "y = a + b";
  let arguments = (ins Step_Float:$a, Step_Float:$b);
  let results = (outs Step_Float:$y);
  let hasVerifier = 0;
}

def Step_ActivationOp : Step_ComputeOp<"activation", [Step_Gradient, CostOpInterface]> {
  let summary = "y = f(x); swiglu: y = silu(gate) up of x = [gate, up]";
  let description = [{x, y [T, width]; swiglu: x [T, 2 width].}];
  let arguments = (ins Step_ActivationAttr:$kind, Step_Float:$x);
  let results = (outs Step_Float:$y);
  let assemblyFormat = "`` $kind operands attr-dict `:` functional-type(operands, results)";
}

def Step_ActivationGradOp : Step_GradOp<"activation_grad", [CostOpInterface]> {
  let summary = "d_x = d_y f'(x); swiglu: of both halves";
  let description = [{d_y [T, width], x, d_x [T, width], swiglu: [T, 2 width].}];
  let arguments = (ins Step_ActivationAttr:$kind, Step_Float:$d_y, Step_Float:$x);
  let results = (outs Step_Float:$d_x);
  let assemblyFormat = "`` $kind operands attr-dict `:` functional-type(operands, results)";
}

#endif
