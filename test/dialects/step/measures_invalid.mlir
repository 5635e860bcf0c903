// RUN: megacc-opt %s -split-input-file -verify-diagnostics

step.func @keys_of_other_heads {
  %q = step.zero : tensor<6x8xf32>
  %k = step.zero : tensor<6x6xf32>
  // expected-error @+1 {{'k' is 'tensor<6x6xf32>', expected 6 x 4}}
  %entropy = step.attention_entropy %q, %k {batch = 2 : i64, sequence = 3 : i64, heads = 4 : i64, kv_heads = 2 : i64, qk_dim = 2 : i64,
             scale = 0.5 : f64, share = 0.1 : f64, operandSegmentSizes = array<i32: 1, 1, 0, 0>}
             : (tensor<6x8xf32>, tensor<6x6xf32>) -> tensor<1xf32>
}

// -----

step.func @heads_that_cannot_share {
  %q = step.zero : tensor<6x6xf32>
  %k = step.zero : tensor<6x4xf32>
  // expected-error @+1 {{has 3 heads, which 2 key-value heads cannot share evenly}}
  %entropy = step.attention_entropy %q, %k {batch = 2 : i64, sequence = 3 : i64, heads = 3 : i64, kv_heads = 2 : i64, qk_dim = 2 : i64,
             scale = 0.5 : f64, share = 0.1 : f64, operandSegmentSizes = array<i32: 1, 1, 0, 0>}
             : (tensor<6x6xf32>, tensor<6x4xf32>) -> tensor<1xf32>
}

// -----

step.func @support_of_other_rows {
  %q = step.zero : tensor<6x8xf32>
  %support = step.input "support" : tensor<5x2xi32>
  // expected-error @+1 {{has documents or a support of other than 6 rows}}
  %entropy = step.attention_entropy %q, %q, %support {batch = 2 : i64, sequence = 3 : i64, heads = 4 : i64, kv_heads = 4 : i64,
             qk_dim = 2 : i64, scale = 0.5 : f64, share = 0.1 : f64, operandSegmentSizes = array<i32: 1, 1, 0, 1>}
             : (tensor<6x8xf32>, tensor<6x8xf32>, tensor<5x2xi32>) -> tensor<1xf32>
}

// -----

step.func @norm_for_each_head {
  %k = step.zero : tensor<6x4xf32>
  %v = step.zero : tensor<6x10xf32>
  %f = step.zero : tensor<6x2xf32>
  %h = step.zero : tensor<2xf32>
  %state = step.zero : tensor<2x5x5xf32>
  // expected-error @+1 {{'norm' is 'tensor<2xf32>', expected 1}}
  %norm = step.m2rnn_state_norm %k, %k, %v, %f, %h, %h, %state {batch = 2 : i64, sequence = 3 : i64, share = 0.25 : f64}
          : (tensor<6x4xf32>, tensor<6x4xf32>, tensor<6x10xf32>, tensor<6x2xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2x5x5xf32>)
          -> tensor<2xf32>
}
