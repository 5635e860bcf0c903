// RUN: megacc-opt %s -split-input-file -verify-diagnostics

step.func @heads_that_no_key_head_shares {
  %q = step.zero : tensor<6x12xf32>
  %b = step.zero : tensor<6x4xf32>
  %a = step.zero : tensor<4xf32>
  // expected-error @+1 {{has 4 heads, which 3 key heads cannot share evenly}}
  %y = step.gated_delta %q, %q, %q, %b, %b, %a, %a {batch = 2 : i64, chunk = 16 : i64, key_heads = 3 : i64, sequence = 3 : i64}
       : (tensor<6x12xf32>, tensor<6x12xf32>, tensor<6x12xf32>, tensor<6x4xf32>, tensor<6x4xf32>, tensor<4xf32>, tensor<4xf32>)
       -> tensor<6x12xf32>
}

// -----

step.func @a_chunk_of_no_panels {
  %q = step.zero : tensor<6x12xf32>
  %b = step.zero : tensor<6x4xf32>
  %a = step.zero : tensor<4xf32>
  // expected-error @+1 {{has chunk 24, expected a multiple of 16}}
  %y = step.gated_delta %q, %q, %q, %b, %b, %a, %a {batch = 2 : i64, chunk = 24 : i64, key_heads = 2 : i64, sequence = 3 : i64}
       : (tensor<6x12xf32>, tensor<6x12xf32>, tensor<6x12xf32>, tensor<6x4xf32>, tensor<6x4xf32>, tensor<4xf32>, tensor<4xf32>)
       -> tensor<6x12xf32>
}

// -----

step.func @other_rows {
  %q = step.zero : tensor<6x12xf32>
  %k = step.zero : tensor<5x12xf32>
  %b = step.zero : tensor<6x4xf32>
  %a = step.zero : tensor<4xf32>
  // expected-error @+1 {{'k' is 'tensor<5x12xf32>', expected 6 x 12}}
  %y = step.gated_delta %q, %k, %q, %b, %b, %a, %a {batch = 2 : i64, chunk = 16 : i64, key_heads = 2 : i64, sequence = 3 : i64}
       : (tensor<6x12xf32>, tensor<5x12xf32>, tensor<6x12xf32>, tensor<6x4xf32>, tensor<6x4xf32>, tensor<4xf32>, tensor<4xf32>)
       -> tensor<6x12xf32>
}

// -----

step.func @a_bias_of_other_heads {
  %q = step.zero : tensor<6x12xf32>
  %b = step.zero : tensor<6x4xf32>
  %a = step.zero : tensor<4xf32>
  %bias = step.zero : tensor<3xf32>
  // expected-error @+1 {{'dt_bias' is 'tensor<3xf32>', expected 4}}
  %y = step.gated_delta %q, %q, %q, %b, %b, %a, %bias {batch = 2 : i64, chunk = 16 : i64, key_heads = 2 : i64, sequence = 3 : i64}
       : (tensor<6x12xf32>, tensor<6x12xf32>, tensor<6x12xf32>, tensor<6x4xf32>, tensor<6x4xf32>, tensor<4xf32>, tensor<3xf32>)
       -> tensor<6x12xf32>
}

// -----

step.func @other_documents {
  %q = step.zero : tensor<6x12xf32>
  %b = step.zero : tensor<6x4xf32>
  %a = step.zero : tensor<4xf32>
  %documents = step.input "documents" : tensor<2x4xi32>
  // expected-error @+1 {{has documents of 'tensor<2x4xi32>' for 6 rows}}
  %y = step.gated_delta %q, %q, %q, %b, %b, %a, %a, %documents {batch = 2 : i64, chunk = 16 : i64, key_heads = 2 : i64, sequence = 3 : i64}
       : (tensor<6x12xf32>, tensor<6x12xf32>, tensor<6x12xf32>, tensor<6x4xf32>, tensor<6x4xf32>, tensor<4xf32>, tensor<4xf32>,
          tensor<2x4xi32>) -> tensor<6x12xf32>
}

// -----

step.func @another_gradient {
  %q = step.zero : tensor<6x12xf32>
  %b = step.zero : tensor<6x4xf32>
  %a = step.zero : tensor<4xf32>
  // expected-error @+1 {{'d_b' is 'tensor<6x3xf32>', expected 6 x 4}}
  %g:7 = step.gated_delta_grad %q, %q, %q, %q, %b, %b, %a, %a {batch = 2 : i64, chunk = 16 : i64, key_heads = 2 : i64, sequence = 3 : i64,
         operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 1, 1, 1, 0, 0>}
         : (tensor<6x12xf32>, tensor<6x12xf32>, tensor<6x12xf32>, tensor<6x12xf32>, tensor<6x4xf32>, tensor<6x4xf32>, tensor<4xf32>,
            tensor<4xf32>)
         -> (tensor<6x12xf32>, tensor<6x12xf32>, tensor<6x12xf32>, tensor<6x3xf32>, tensor<6x4xf32>, tensor<4xf32>, tensor<4xf32>)
}

// -----

step.func @a_norm_of_other_heads {
  %x = step.zero : tensor<6x12xf32>
  %w = step.zero : tensor<5xf32>
  // expected-error @+1 {{has a weight of 'tensor<5xf32>', which heads of 12 columns cannot share}}
  %y = step.gated_norm %x, %x, %w {eps = 1.0e-5 : f64} : (tensor<6x12xf32>, tensor<6x12xf32>, tensor<5xf32>) -> tensor<6x12xf32>
}

// -----

step.func @a_gradient_of_another_gate {
  %x = step.zero : tensor<6x12xf32>
  %w = step.zero : tensor<4xf32>
  // expected-error @+1 {{'d_gate' is 'tensor<6x11xf32>', expected 6 x 12}}
  %d:3 = step.gated_norm_grad %x, %x, %x, %w {eps = 1.0e-5 : f64}
         : (tensor<6x12xf32>, tensor<6x12xf32>, tensor<6x12xf32>, tensor<4xf32>) -> (tensor<6x12xf32>, tensor<6x11xf32>, tensor<4xf32>)
}
