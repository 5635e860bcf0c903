// RUN: megacc-opt %s -step-print-sharding-rules -verify-diagnostics
// RUN: megacc-opt %s -step-check-rules

step.func @f {
  %in = step.input "x" : tensor<6x4xf32>
  %w = step.input "w" : tensor<8x4xf32>
  // expected-remark @+1 {{([t, i], [o, i]) -> ([t, o]) reduce{i} linear{0; 1}}}
  %y = step.linear %in, %w : (tensor<6x4xf32>, tensor<8x4xf32>) -> tensor<6x8xf32>
  // expected-remark @+1 {{([t, gate.w up.w]) -> ([t, w])}}
  %a = step.activation swiglu %y : (tensor<6x8xf32>) -> tensor<6x4xf32>
  // expected-remark @+1 {{([t, g w]) -> ([t, g c0], [t, g c1]) replicate{w c0 c1: a group is cut at its widths} linear{0} attributes{groups = g}}}
  %p:2 = step.split %a {groups = 2 : i64, widths = array<i64: 1, 1>} : (tensor<6x4xf32>) -> (tensor<6x2xf32>, tensor<6x2xf32>)
  // expected-remark @+1 {{([b s, k g c], [b s, k c], [b s, k e]) -> ([b s, k g e]) replicate{s: a token reads all before it; c e: a score and its gradient are sums over a whole head} attributes{batch = b, sequence = s, heads = k g, kv_heads = k, qk_dim = c, v_dim = e}}}
  %o = step.attention %a, %p#0, %p#1 {batch = 2 : i64, sequence = 3 : i64, heads = 2 : i64, kv_heads = 1 : i64, qk_dim = 2 : i64,
      v_dim = 2 : i64,
           scale = 0.5 : f64} : (tensor<6x4xf32>, tensor<6x2xf32>, tensor<6x2xf32>) -> tensor<6x4xf32>
}
