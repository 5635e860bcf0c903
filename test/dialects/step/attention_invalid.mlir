// RUN: megacc-opt %s -split-input-file -verify-diagnostics

step.func @rope_of_an_odd_width {
  %x = step.zero : tensor<6x4xf32>
  // expected-error @+1 {{rotates channels 0 to 3 of heads of 4}}
  %y = step.rope %x {sequence = 3 : i64, heads = 1 : i64, head_dim = 4 : i64, offset = 0 : i64, width = 3 : i64, theta = 1.0e4 : f64}
       : (tensor<6x4xf32>) -> tensor<6x4xf32>
}

// -----

step.func @rope_of_other_rows {
  %x = step.zero : tensor<6x4xf32>
  // expected-error @+1 {{has 6 rows, not a multiple of the sequence 4}}
  %y = step.rope %x {sequence = 4 : i64, heads = 1 : i64, head_dim = 4 : i64, offset = 0 : i64, width = 4 : i64, theta = 1.0e4 : f64}
       : (tensor<6x4xf32>) -> tensor<6x4xf32>
}

// -----

step.func @rope_of_other_heads {
  %x = step.zero : tensor<6x4xf32>
  // expected-error @+1 {{has 3 heads of 2 channels, but a tensor of 'tensor<6x4xf32>'}}
  %y = step.rope %x {sequence = 3 : i64, heads = 3 : i64, head_dim = 2 : i64, offset = 0 : i64, width = 2 : i64, theta = 1.0e4 : f64}
       : (tensor<6x4xf32>) -> tensor<6x4xf32>
}

// -----

step.func @split_of_other_widths {
  %x = step.zero : tensor<6x4xf32>
  // expected-error @+1 {{has 4 columns, expected 1 groups of 3}}
  %y:2 = step.split %x {groups = 1 : i64, widths = array<i64: 1, 2>} : (tensor<6x4xf32>) -> (tensor<6x1xf32>, tensor<6x2xf32>)
}

// -----

step.func @concat_of_other_parts {
  %a = step.zero : tensor<6x1xf32>
  // expected-error @+1 {{has a part of 'tensor<6x1xf32>' for 1 groups of 3}}
  %y = step.concat %a, %a {groups = 1 : i64, widths = array<i64: 1, 3>} : (tensor<6x1xf32>, tensor<6x1xf32>) -> tensor<6x4xf32>
}

// -----

step.func @concat_of_one {
  %a = step.zero : tensor<6x4xf32>
  // expected-error @+1 {{has 1 parts and 1 widths; expected the same number, 2 to 4}}
  %y = step.concat %a {groups = 1 : i64, widths = array<i64: 4>} : (tensor<6x4xf32>) -> tensor<6x4xf32>
}

// -----

step.func @repeat_of_other_groups {
  %x = step.zero : tensor<6x2xf32>
  // expected-error @+1 {{has 3 groups, 'tensor<6x2xf32>' and 'tensor<6x4xf32>'}}
  %y = step.repeat_groups %x {groups = 3 : i64} : (tensor<6x2xf32>) -> tensor<6x4xf32>
}

// -----

step.func @sum_of_other_groups {
  %x = step.zero : tensor<6x4xf32>
  // expected-error @+1 {{has 3 groups, 'tensor<6x2xf32>' and 'tensor<6x4xf32>'}}
  %y = step.sum_groups %x {groups = 3 : i64} : (tensor<6x4xf32>) -> tensor<6x2xf32>
}

// -----

step.func @heads_that_do_not_share_evenly {
  %x = step.zero : tensor<6x6xf32>
  // expected-error @+1 {{has 3 heads, which 2 key-value heads cannot share evenly}}
  %y = step.attention %x, %x, %x {batch = 2 : i64, sequence = 3 : i64, heads = 3 : i64, kv_heads = 2 : i64, qk_dim = 2 : i64,
       v_dim = 2 : i64,
       scale = 0.5 : f64} : (tensor<6x6xf32>, tensor<6x6xf32>, tensor<6x6xf32>) -> tensor<6x6xf32>
}

// -----

step.func @attention_of_other_keys {
  %x = step.zero : tensor<6x4xf32>
  // expected-error @+1 {{has shapes that do not follow from its sizes: q 'tensor<6x4xf32>', k 'tensor<6x4xf32>', v 'tensor<6x4xf32>', y 'tensor<6x4xf32>'}}
  %y = step.attention %x, %x, %x {batch = 2 : i64, sequence = 3 : i64, heads = 2 : i64, kv_heads = 1 : i64, qk_dim = 2 : i64,
       v_dim = 2 : i64,
       scale = 0.5 : f64} : (tensor<6x4xf32>, tensor<6x4xf32>, tensor<6x4xf32>) -> tensor<6x4xf32>
}

// -----

step.func @attention_of_other_documents {
  %x = step.zero : tensor<6x4xf32>
  %d = step.input "documents" : tensor<2x4xi32>
  // expected-error @+1 {{has shapes that do not follow from its sizes}}
  %y = step.attention %x, %x, %x, %d {batch = 2 : i64, sequence = 3 : i64, heads = 2 : i64, kv_heads = 2 : i64, qk_dim = 2 : i64,
       v_dim = 2 : i64,
       scale = 0.5 : f64} : (tensor<6x4xf32>, tensor<6x4xf32>, tensor<6x4xf32>, tensor<2x4xi32>) -> tensor<6x4xf32>
}

// -----

step.func @attention_cache_without_a_name {
  %x = step.zero : tensor<6x4xf32>
  // expected-error @+1 {{names 0 caches and has 1}}
  %y, %l = step.attention %x, %x, %x {batch = 2 : i64, sequence = 3 : i64, heads = 2 : i64, kv_heads = 2 : i64, qk_dim = 2 : i64,
           v_dim = 2 : i64,
           scale = 0.5 : f64} : (tensor<6x4xf32>, tensor<6x4xf32>, tensor<6x4xf32>) -> (tensor<6x4xf32>, tensor<2x2x3xf32>)
}

// -----

step.func @attention_grad_of_another_d_y {
  %x = step.zero : tensor<6x4xf32>
  %dy = step.zero : tensor<6x2xf32>
  // expected-error @+1 {{'d_y' is 'tensor<6x2xf32>', expected 6 x 4}}
  %d:3 = step.attention_grad %dy, %x, %x, %x, %x {batch = 2 : i64, sequence = 3 : i64, heads = 2 : i64, kv_heads = 2 : i64,
         qk_dim = 2 : i64,
         v_dim = 2 : i64, scale = 0.5 : f64, operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 0, 0>}
         : (tensor<6x2xf32>, tensor<6x4xf32>, tensor<6x4xf32>, tensor<6x4xf32>, tensor<6x4xf32>)
         -> (tensor<6x4xf32>, tensor<6x4xf32>, tensor<6x4xf32>)
}

// -----

step.func @attention_grad_of_another_d_k {
  %x = step.zero : tensor<6x4xf32>
  %k = step.zero : tensor<6x2xf32>
  // expected-error @+1 {{'d_k' is 'tensor<6x4xf32>', expected 6 x 2}}
  %d:3 = step.attention_grad %x, %x, %x, %k, %k {batch = 2 : i64, sequence = 3 : i64, heads = 2 : i64, kv_heads = 1 : i64, qk_dim = 2 : i64,
         v_dim = 2 : i64, scale = 0.5 : f64, operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 0, 0>}
         : (tensor<6x4xf32>, tensor<6x4xf32>, tensor<6x4xf32>, tensor<6x2xf32>, tensor<6x2xf32>)
         -> (tensor<6x4xf32>, tensor<6x4xf32>, tensor<6x2xf32>)
}

// -----

step.func @attention_grad_of_a_cache_without_a_name {
  %x = step.zero : tensor<6x4xf32>
  %l = step.zero : tensor<2x2x3xf32>
  // expected-error @+1 {{names 0 caches and has 1}}
  %d:3 = step.attention_grad %x, %x, %x, %x, %x, %l {batch = 2 : i64, sequence = 3 : i64, heads = 2 : i64, kv_heads = 2 : i64,
         qk_dim = 2 : i64,
         v_dim = 2 : i64, scale = 0.5 : f64, operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 0, 1>}
         : (tensor<6x4xf32>, tensor<6x4xf32>, tensor<6x4xf32>, tensor<6x4xf32>, tensor<6x4xf32>, tensor<2x2x3xf32>)
         -> (tensor<6x4xf32>, tensor<6x4xf32>, tensor<6x4xf32>)
}

// -----

step.func @rope_of_all_pairs {
  %x = step.zero : tensor<6x4xf32>
  // expected-error @+1 {{turns 2 of 2 pairs; expected some of them, not all}}
  %y = step.rope %x {sequence = 3 : i64, heads = 1 : i64, head_dim = 4 : i64, offset = 0 : i64, width = 4 : i64, theta = 1.0e4 : f64,
       pairs = 2 : i64} : (tensor<6x4xf32>) -> tensor<6x4xf32>
}

// -----

step.func @bias_of_too_many_relations {
  %x = step.zero : tensor<6x4xf32>
  %w = step.zero : tensor<2x32xf32>
  %chunk = step.input "chunk" : tensor<2x3xi32>
  %bits = step.input "bits" : tensor<2x5x5xi32>
  // expected-error @+1 {{has weights of 'tensor<2x32xf32>' for 2 heads; expected 1 to 31 relations}}
  %y = step.biased_attention %x, %x, %x, %w, %chunk, %bits {batch = 2 : i64, sequence = 3 : i64, heads = 2 : i64, kv_heads = 2 : i64,
       qk_dim = 2 : i64, v_dim = 2 : i64, scale = 0.5 : f64}
       : (tensor<6x4xf32>, tensor<6x4xf32>, tensor<6x4xf32>, tensor<2x32xf32>, tensor<2x3xi32>, tensor<2x5x5xi32>) -> tensor<6x4xf32>
}

// -----

step.func @bias_of_other_bits {
  %x = step.zero : tensor<6x4xf32>
  %w = step.zero : tensor<2x9xf32>
  %chunk = step.input "chunk" : tensor<2x3xi32>
  %bits = step.input "bits" : tensor<2x5x4xi32>
  // expected-error @+1 {{has bits of 'tensor<2x5x4xi32>', expected 2 squares of chunks}}
  %y = step.biased_attention %x, %x, %x, %w, %chunk, %bits {batch = 2 : i64, sequence = 3 : i64, heads = 2 : i64, kv_heads = 2 : i64,
       qk_dim = 2 : i64, v_dim = 2 : i64, scale = 0.5 : f64}
       : (tensor<6x4xf32>, tensor<6x4xf32>, tensor<6x4xf32>, tensor<2x9xf32>, tensor<2x3xi32>, tensor<2x5x4xi32>) -> tensor<6x4xf32>
}

// -----

step.func @bias_grad_of_another_d_weight {
  %x = step.zero : tensor<6x4xf32>
  %w = step.zero : tensor<2x9xf32>
  %chunk = step.input "chunk" : tensor<2x3xi32>
  %bits = step.input "bits" : tensor<2x5x5xi32>
  // expected-error @+1 {{'d_weight' is 'tensor<2x8xf32>', expected 2 x 9}}
  %d:4 = step.biased_attention_grad %x, %x, %x, %x, %x, %w, %chunk, %bits {batch = 2 : i64, sequence = 3 : i64, heads = 2 : i64,
         kv_heads = 2 : i64, qk_dim = 2 : i64, v_dim = 2 : i64, scale = 0.5 : f64,
         operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 1, 1, 1, 0, 0>}
         : (tensor<6x4xf32>, tensor<6x4xf32>, tensor<6x4xf32>, tensor<6x4xf32>, tensor<6x4xf32>, tensor<2x9xf32>, tensor<2x3xi32>,
         tensor<2x5x5xi32>) -> (tensor<6x4xf32>, tensor<6x4xf32>, tensor<6x4xf32>, tensor<2x8xf32>)
}
