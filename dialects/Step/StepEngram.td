// Averages over the last tokens and their gate.
#ifndef MEGACC_STEPENGRAM_TD
#define MEGACC_STEPENGRAM_TD

include "dialects/Step/StepBase.td"

def Step_WindowSumOp : Step_ComputeOp<"window_sum", [Step_Gradient, CostOpInterface]> {
  let summary = "y[t] = scale * sum of the rows t - window + 1 to t of its document (`ahead`: t to t + window - 1)";
  let description = [{
    x, y [T, cols], documents [batch, sequence]. Rows outside the row of the batch or in another document count as zero. The gradient looks
    the other way.
  }];
  let arguments = (ins Step_Float:$x, Optional<Step_I32>:$documents, I64Attr:$batch, I64Attr:$sequence, I64Attr:$window, F64Attr:$scale,
                       UnitAttr:$ahead);
  let results = (outs Step_Float:$y);
}

def Step_UnitNormOp : Step_ComputeOp<"unit_norm", [Step_Gradient, CostOpInterface]> {
  let summary = "y = x * rstd, rstd = 1/sqrt(mean(x^2) + eps) of each row";
  let description = [{x, y [T, cols].}];
  let arguments = (ins Step_Float:$x, F64Attr:$eps);
  let results = (outs Step_Float:$y);
}

def Step_UnitNormGradOp : Step_GradOp<"unit_norm_grad", [CostOpInterface]> {
  let summary = "d_x = rstd (d_y - x rstd^2 mean(d_y x))";
  let description = [{d_y, x, d_x [T, cols].}];
  let arguments = (ins Step_Float:$d_y, Step_Float:$x, F64Attr:$eps);
  let results = (outs Step_Float:$d_x);
}

def Step_AlignmentOp : Step_ComputeOp<"alignment", [Step_Gradient, CostOpInterface]> {
  let summary = "gate = <a rstd_a, b rstd_b> / sqrt(cols) of each row; `root`: sign(gate) sqrt(max(|gate|, 1e-6))";
  let description = [{a, b [T, cols], gate [T, 1]; rstd = 1/sqrt(mean(x^2) + eps).}];
  let arguments = (ins Step_Float:$a, Step_Float:$b, F64Attr:$eps, UnitAttr:$root);
  let results = (outs Step_Float:$gate);
}

def Step_AlignmentGradOp : Step_GradOp<"alignment_grad", [CostOpInterface]> {
  let summary = "with e the gradient before the root: d_a = e rstd_a (b rstd_b / sqrt(cols) - a rstd_a gate / cols), d_b likewise";
  let description = [{Shapes as in step.alignment. Where |gate| is under 1e-6 the root has no slope.}];
  let arguments = (ins Step_Float:$d_gate, Step_Float:$a, Step_Float:$b, F64Attr:$eps, UnitAttr:$root);
  let results = (outs Step_Float:$d_a, Step_Float:$d_b);
}

#endif
