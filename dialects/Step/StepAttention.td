//===- StepAttention.td - heads, positions and attention ------------------===//
#ifndef MEGACC_STEPATTENTION_TD
#define MEGACC_STEPATTENTION_TD

include "dialects/Step/StepBase.td"

def Step_RopeOp : Step_ComputeOp<"rope", [Step_Gradient, CostOpInterface]> {
  let summary = "rotates channels [offset, offset + width) of every head by its position";
  let arguments = (ins Step_F32:$x, I64Attr:$sequence, I64Attr:$heads, I64Attr:$head_dim, I64Attr:$offset, I64Attr:$width, F64Attr:$theta,
                       UnitAttr:$inverse);
  let results = (outs Step_F32:$y);
  let hasVerifier = 1;
}

def Step_SplitOp : Step_ComputeOp<"split", [Step_Gradient, CostOpInterface]> {
  let summary = "cuts the columns of every group into parts";
  let arguments = (ins Step_F32:$x, I64Attr:$groups, DenseI64ArrayAttr:$widths);
  let results = (outs Variadic<Step_F32>:$parts);
  let hasVerifier = 1;
}

def Step_ConcatOp : Step_ComputeOp<"concat", [Step_Gradient, CostOpInterface]> {
  let summary = "the inverse of split";
  let arguments = (ins Variadic<Step_F32>:$parts, I64Attr:$groups, DenseI64ArrayAttr:$widths);
  let results = (outs Step_F32:$y);
  let hasVerifier = 1;
}

def Step_RepeatGroupsOp : Step_ComputeOp<"repeat_groups", [Step_Gradient, CostOpInterface]> {
  let summary = "repeats the columns for every group";
  let hasVerifier = 1;
  let arguments = (ins Step_F32:$x, I64Attr:$groups);
  let results = (outs Step_F32:$y);
}

def Step_SumGroupsOp : Step_ComputeOp<"sum_groups", [Step_Gradient, CostOpInterface]> {
  let summary = "sums the columns of all groups";
  let hasVerifier = 1;
  let arguments = (ins Step_F32:$x, I64Attr:$groups);
  let results = (outs Step_F32:$y);
}

def Step_AttentionOp : Step_ComputeOp<"attention", [Step_Gradient, Step_Cost]> {
  let summary = "causal attention, inside documents when they are given";
  let description = [{q [T, heads*qk_dim], k [T, kv_heads*qk_dim], v [T, kv_heads*v_dim]; results y [T, heads*v_dim] and the log-sum-exp
    [batch, heads, sequence].}];
  let arguments = (ins Step_F32:$q, Step_F32:$k, Step_F32:$v, Optional<Step_I32>:$documents, I64Attr:$batch, I64Attr:$sequence,
                       I64Attr:$heads, I64Attr:$kv_heads, I64Attr:$qk_dim, I64Attr:$v_dim, F64Attr:$scale);
  let results = (outs Step_F32:$y, Step_F32:$lse);
  let hasVerifier = 1;
}

def Step_AttentionGradOp : Step_ComputeOp<"attention_grad", [Step_Cost]> {
  let arguments = (ins Step_F32:$d_y, Step_F32:$y, Step_F32:$lse, Step_F32:$q, Step_F32:$k, Step_F32:$v, Optional<Step_I32>:$documents,
                       I64Attr:$batch, I64Attr:$sequence, I64Attr:$heads, I64Attr:$kv_heads, I64Attr:$qk_dim, I64Attr:$v_dim,
                       F64Attr:$scale);
  let results = (outs Step_F32:$d_q, Step_F32:$d_k, Step_F32:$d_v);
}

#endif
