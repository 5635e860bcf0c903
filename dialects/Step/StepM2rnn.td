//===- StepM2rnn.td - convolution, recurrence and gate of M2RNN -----------===//
#ifndef MEGACC_STEPM2RNN_TD
#define MEGACC_STEPM2RNN_TD

include "dialects/Step/StepBase.td"

def Step_CausalConvOp : Step_ComputeOp<"causal_conv", [AttrSizedOperandSegments, Step_Gradient, CostOpInterface]> {
  let summary = "depthwise causal convolution, with silu where it says so";
  let description = [{x [T, channels], weight [channels, width] whose last tap is the current token, bias [channels]. What is before the row or
    in another document is zero.}];
  let arguments = (ins Step_F32:$x, Step_F32:$weight, Optional<Step_F32>:$bias, Optional<Step_I32>:$documents, I64Attr:$batch,
                       I64Attr:$sequence, UnitAttr:$silu);
  let results = (outs Step_F32:$y);
  let hasVerifier = 1;
}

def Step_CausalConvGradOp : Step_ComputeOp<"causal_conv_grad", [AttrSizedOperandSegments, CostOpInterface]> {
  let summary = "its gradients; d_bias is there without a bias, too";
  let arguments = (ins Step_F32:$d_y, Step_F32:$x, Step_F32:$weight, Optional<Step_F32>:$bias, Optional<Step_I32>:$documents, I64Attr:$batch,
                       I64Attr:$sequence, UnitAttr:$silu);
  let results = (outs Step_F32:$d_x, Step_F32:$d_weight, Step_F32:$d_bias);
}

def Step_SkipGateOp : Step_ComputeOp<"skip_gate", [Step_Gradient, CostOpInterface, AllTypesMatch<["x", "v", "gate", "y"]>]> {
  let summary = "y = (x + skip v) silu(gate)";
  let description = [{x, v, gate, y [T, heads*value], skip [heads, value].}];
  let arguments = (ins Step_F32:$x, Step_F32:$v, Step_F32:$gate, Step_F32:$skip);
  let results = (outs Step_F32:$y);
  let hasVerifier = 1;
}

def Step_SkipGateGradOp : Step_ComputeOp<"skip_gate_grad", [CostOpInterface]> {
  let arguments = (ins Step_F32:$d_y, Step_F32:$x, Step_F32:$v, Step_F32:$gate, Step_F32:$skip);
  let results = (outs Step_F32:$d_x, Step_F32:$d_v, Step_F32:$d_gate, Step_F32:$d_skip);
}

def Step_M2rnnScanOp : Step_ComputeOp<"m2rnn_scan", [Step_Gradient, Step_Cost]> {
  let summary = "the M2RNN recurrence, restarting with a document";
  let description = [{q, k [T, key], shared by the heads; v, y [T, heads*value]; f [T, heads]; a_log, dt_bias [heads]; state_weight
    [heads, value, value]. states [batch, heads, blocks, key, value] holds the state before every `interval` tokens, for the backward.}];
  let arguments = (ins Step_F32:$q, Step_F32:$k, Step_F32:$v, Step_F32:$f, Step_F32:$a_log, Step_F32:$dt_bias, Step_F32:$state_weight,
                       Optional<Step_I32>:$documents, I64Attr:$batch, I64Attr:$sequence, I64Attr:$interval);
  let results = (outs Step_F32:$y, Step_F32:$states);
  let hasVerifier = 1;
}

def Step_M2rnnScanGradOp : Step_ComputeOp<"m2rnn_scan_grad", [Step_Cost]> {
  let arguments = (ins Step_F32:$d_y, Step_F32:$states, Step_F32:$q, Step_F32:$k, Step_F32:$v, Step_F32:$f, Step_F32:$a_log,
                       Step_F32:$dt_bias, Step_F32:$state_weight, Optional<Step_I32>:$documents, I64Attr:$batch, I64Attr:$sequence,
                       I64Attr:$interval);
  let results = (outs Step_F32:$d_q, Step_F32:$d_k, Step_F32:$d_v, Step_F32:$d_f, Step_F32:$d_a_log, Step_F32:$d_dt_bias,
                      Step_F32:$d_state_weight);
}

#endif
