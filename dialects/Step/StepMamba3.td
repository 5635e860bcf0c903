//===- StepMamba3.td - the Mamba-3 scan -----------------------------------===//
#ifndef MEGACC_STEPMAMBA3_TD
#define MEGACC_STEPMAMBA3_TD

include "dialects/Step/StepBase.td"

def Step_Mamba3ScanOp : Step_ComputeOp<"mamba3_scan", [Step_Gradient, Step_Cost, AttrSizedOperandSegments]> {
  let summary = "Mamba-3 between its projections: norms, rotation, scan, gate (conventions section 8)";
  let description = [{projection [T, W] is the packed [z, x, B, C, dd_dt, dd_A, trap, angle]. parameters are dt_bias, D, B_bias, C_bias,
    B_norm, C_norm, of variant mimo then mimo_x, mimo_z, mimo_o (without them the variant is siso, of rank 1), and the weight of the norm of y where
    there is one. Results: y [T, heads*head_dim], and what the backward replays from: the states [batch, heads, windows, state, head_dim]
    that enter every window of `window` tokens, a multiple of 64; and, in the variant that caches it, PsiV = x * mimo_x
    [T, heads, rank, head_dim]. `chunk` is the declared one; it counts FLOPs and changes no value. State,
    previous token and angles restart where a document starts.}];
  let arguments = (ins Step_F32:$projection, Variadic<Step_F32>:$parameters, Optional<Step_I32>:$documents, I64Attr:$batch, I64Attr:$sequence,
                       I64Attr:$heads, I64Attr:$groups, I64Attr:$rank, I64Attr:$head_dim, I64Attr:$state, I64Attr:$angles, I64Attr:$chunk,
                       I64Attr:$window, UnitAttr:$heavy, F64Attr:$eps);
  let results = (outs Step_F32:$y, Step_F32:$states, Optional<Step_F32>:$psi_v);
  let hasVerifier = 1;
}

def Step_Mamba3ScanGradOp : Step_ComputeOp<"mamba3_scan_grad", [Step_Cost, AttrSizedOperandSegments]> {
  let summary = "gradients of the projection and of every parameter";
  let arguments = (ins Step_F32:$d_y, Step_F32:$states, Optional<Step_F32>:$psi_v, Step_F32:$projection,
                       Variadic<Step_F32>:$parameters, Optional<Step_I32>:$documents, I64Attr:$batch, I64Attr:$sequence,
                       I64Attr:$heads, I64Attr:$groups, I64Attr:$rank, I64Attr:$head_dim, I64Attr:$state, I64Attr:$angles,
                       I64Attr:$chunk, I64Attr:$window, UnitAttr:$heavy, F64Attr:$eps);
  let results = (outs Step_F32:$d_projection, Variadic<Step_F32>:$d_parameters);
}

#endif
