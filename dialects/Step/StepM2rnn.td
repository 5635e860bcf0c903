// Convolution, recurrence and gate of M2RNN.
#ifndef MEGACC_STEPM2RNN_TD
#define MEGACC_STEPM2RNN_TD

include "dialects/Step/StepBase.td"

def Step_CausalConvOp : Step_ComputeOp<"causal_conv", [AttrSizedOperandSegments, Step_Gradient, CostOpInterface]> {
  let summary = "depthwise causal convolution, with silu where it says so";
  let description = [{
    y[t, c] = sum over taps j of weight[c, j] x[t - (width - 1 - j), c] + bias[c]; x, y [T, channels], weight [channels, width] whose last
    tap is the current token, bias [channels]. What is before the row or in another document is zero.
  }];
  let arguments = (ins Step_Float:$x, Step_Float:$weight, Optional<Step_Float>:$bias, Optional<Step_I32>:$documents, I64Attr:$batch,
                       I64Attr:$sequence, UnitAttr:$silu);
  let results = (outs Step_Float:$y);
}

def Step_CausalConvGradOp : Step_GradOp<"causal_conv_grad", [AttrSizedOperandSegments, CostOpInterface]> {
  let summary = "with e = d_y (times silu' of the sum): d_x correlates e with weight, d_weight[c, j] = sum e x, d_bias = sum e";
  let description = [{Shapes as in step.causal_conv. d_bias [channels] is there without a bias, too.}];
  let arguments = (ins Step_Float:$d_y, Step_Float:$x, Step_Float:$weight, Optional<Step_Float>:$bias, Optional<Step_I32>:$documents,
                       I64Attr:$batch, I64Attr:$sequence, UnitAttr:$silu);
  let results = (outs Step_Float:$d_x, Step_F32:$d_weight, Step_F32:$d_bias);
}

def Step_SkipGateOp : Step_ComputeOp<"skip_gate", [Step_Gradient, CostOpInterface, AllTypesMatch<["x", "v", "gate", "y"]>]> {
  let summary = "y = (x + skip v) silu(gate)";
  let description = [{x, v, gate, y [T, heads*value], skip [heads, value].}];
  let arguments = (ins Step_Float:$x, Step_Float:$v, Step_Float:$gate, Step_Float:$skip);
  let results = (outs Step_Float:$y);
}

def Step_SkipGateGradOp : Step_GradOp<"skip_gate_grad", [CostOpInterface]> {
  let summary = "with e = d_y silu(gate): d_x = e, d_v = e skip, d_skip = sum over rows of e v, d_gate = d_y (x + skip v) silu'(gate)";
  let description = [{Shapes as in step.skip_gate.}];
  let arguments = (ins Step_Float:$d_y, Step_Float:$x, Step_Float:$v, Step_Float:$gate, Step_Float:$skip);
  let results = (outs Step_Float:$d_x, Step_Float:$d_v, Step_Float:$d_gate, Step_F32:$d_skip);
}

def Step_M2rnnScanOp : Step_ComputeOp<"m2rnn_scan", [Step_Gradient, Step_Cost, Step_Measure]> {
  let summary = "the M2RNN recurrence, restarting with a document (conventions section 9)";
  let description = [{
    f' = exp(-exp(a_log) softplus(f + dt_bias)); z = tanh(h state_weight + k v^T); h = f' h + (1 - f') z; y = h^T q. q, k [T, key], shared
    by the heads; v, y [T, heads*value]; f [T, heads]; a_log, dt_bias [heads]; state_weight [heads, value, value]; h [key, value] per head.
    Cache: states [batch, heads, blocks, key, value], the state before every block of tokens.
  }];
  let arguments = (ins Step_Float:$q, Step_Float:$k, Step_Float:$v, Step_Float:$f, Step_F32:$a_log, Step_F32:$dt_bias,
                       Step_Float:$state_weight, Optional<Step_I32>:$documents, I64Attr:$batch, I64Attr:$sequence, Step_Cached:$cached);
  let results = (outs Step_Float:$y, Variadic<Step_Any>:$caches);
}

def Step_M2rnnScanGradOp : Step_GradOp<"m2rnn_scan_grad", [Step_Cost, AttrSizedOperandSegments,
    DeclareOpInterfaceMethods<CacheOpInterface>]> {
  let summary = "the recurrence run back: d_h_t = q_t d_y_t^T + f' d_h + (d_z tanh') state_weight^T, and what follows from it";
  let description = [{
    Gradients of every tensor of step.m2rnn_scan, of its shape; d_q and d_k sum over the heads, d_a_log, d_dt_bias and d_state_weight over
    tokens.
  }];
  let arguments = (ins Step_Float:$d_y, Step_Float:$q, Step_Float:$k, Step_Float:$v, Step_Float:$f, Step_F32:$a_log, Step_F32:$dt_bias,
                       Step_Float:$state_weight, Optional<Step_I32>:$documents, Variadic<Step_Any>:$caches, I64Attr:$batch,
                       I64Attr:$sequence, Step_Cached:$cached);
  let results = (outs Step_Float:$d_q, Step_Float:$d_k, Step_Float:$d_v, Step_Float:$d_f, Step_F32:$d_a_log, Step_F32:$d_dt_bias,
                      Step_F32:$d_state_weight);
}

def Step_M2rnnStateNormOp : Step_ComputeOp<"m2rnn_state_norm", [Step_Cost]> {
  let summary = "norm = share * sum over rows and heads of the Frobenius norm of the state behind the last token of the row";
  let description = [{
    Operands as in step.m2rnn_scan, whose states h [key, value] it computes again; norm [1]. With `share` = 1 / (rows of all ranks * heads)
    it is the mean.
  }];
  let arguments = (ins Step_Float:$q, Step_Float:$k, Step_Float:$v, Step_Float:$f, Step_F32:$a_log, Step_F32:$dt_bias,
                       Step_Float:$state_weight, Optional<Step_I32>:$documents, I64Attr:$batch, I64Attr:$sequence, F64Attr:$share);
  let results = (outs Step_F32:$norm);
}

#endif
