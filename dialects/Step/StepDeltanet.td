// The gated delta rule, and the norm and gate behind it.
#ifndef MEGACC_STEPDELTANET_TD
#define MEGACC_STEPDELTANET_TD

include "dialects/Step/StepBase.td"

defvar Step_GatedDeltaSizes = (ins I64Attr:$batch, I64Attr:$sequence, I64Attr:$key_heads, I64Attr:$chunk, UnitAttr:$neg_eigval,
                                   Step_Cached:$cached);

def Step_GatedDeltaOp : Step_ComputeOp<"gated_delta", [Step_Gradient, Step_Cost]> {
  let summary = "the gated delta rule, restarting with a document (conventions section 19)";
  let description = [{
    Per head u = beta (v - alpha S k); S = alpha S + u k^T; y = S q, with q and k of unit length, q divided by sqrt(key), beta = sigmoid(b)
    (twice that with `neg_eigval`) and alpha = exp(-exp(a_log) softplus(a + dt_bias)). q, k [T, key_heads*key], of which a head reads those
    of its group; v, y [T, heads*value]; b, a [T, heads]; a_log, dt_bias [heads]; S [value, key] per head. `chunk` is the declared one: a
    kernel computes as many tokens at a time, and it counts FLOPs. Cache: states [batch, heads, chunks, key, value], S^T before every chunk.
  }];
  let arguments = !con((ins Step_Float:$q, Step_Float:$k, Step_Float:$v, Step_Float:$b, Step_Float:$a, Step_F32:$a_log, Step_F32:$dt_bias,
                            Optional<Step_I32>:$documents), Step_GatedDeltaSizes);
  let results = (outs Step_Float:$y, Variadic<Step_Any>:$caches);
}

def Step_GatedDeltaGradOp : Step_GradOp<"gated_delta_grad", [Step_Cost, AttrSizedOperandSegments,
    DeclareOpInterfaceMethods<CacheOpInterface>]> {
  let summary = "the rule run back over its chunks: d_S before a chunk from d_S behind it, and what follows from both";
  let description = [{
    Gradients of every tensor of step.gated_delta, of its shape; d_q and d_k sum over the heads of a group, d_a_log and d_dt_bias over
    tokens.
  }];
  let arguments = !con((ins Step_Float:$d_y, Step_Float:$q, Step_Float:$k, Step_Float:$v, Step_Float:$b, Step_Float:$a, Step_F32:$a_log,
                            Step_F32:$dt_bias, Optional<Step_I32>:$documents, Variadic<Step_Any>:$caches), Step_GatedDeltaSizes);
  let results = (outs Step_Float:$d_q, Step_Float:$d_k, Step_Float:$d_v, Step_Float:$d_b, Step_Float:$d_a, Step_F32:$d_a_log,
                      Step_F32:$d_dt_bias);
}

def Step_GatedNormOp : Step_ComputeOp<"gated_norm", [Step_Gradient, CostOpInterface, AllTypesMatch<["x", "gate", "y"]>]> {
  let summary = "y = x rstd weight silu(gate), rstd = 1/sqrt(mean(x^2) + eps) of every head";
  let description = [{x, gate, y [T, heads*value], weight [value], one for all heads.}];
  let arguments = (ins Step_Float:$x, Step_Float:$gate, Step_Float:$weight, F64Attr:$eps);
  let results = (outs Step_Float:$y);
}

def Step_GatedNormGradOp : Step_GradOp<"gated_norm_grad", [CostOpInterface]> {
  let summary = "with n = x rstd and g = d_y silu(gate) weight: d_x = rstd (g - n mean(g n)), d_gate = d_y n weight silu'(gate)";
  let description = [{d_weight = sum over rows and heads of d_y silu(gate) n. Shapes as in step.gated_norm.}];
  let arguments = (ins Step_Float:$d_y, Step_Float:$x, Step_Float:$gate, Step_Float:$weight, F64Attr:$eps);
  let results = (outs Step_Float:$d_x, Step_Float:$d_gate, Step_F32:$d_weight);
}

#endif
