// RUN: megacc-opt %s -split-input-file -verify-diagnostics

step.func @more_keys_than_a_row_has {
  %x = step.zero : tensor<6x4xf32>
  // expected-error @+1 {{has a support of 'tensor<6x4xi32>', expected 6 rows of at most 3 keys}}
  %support = step.select_keys %x, %x, %x {batch = 2 : i64, sequence = 3 : i64, heads = 1 : i64, dim = 4 : i64}
             : (tensor<6x4xf32>, tensor<6x4xf32>, tensor<6x4xf32>) -> tensor<6x4xi32>
}

// -----

step.func @weights_of_other_heads {
  %x = step.zero : tensor<6x4xf32>
  %k = step.zero : tensor<6x2xf32>
  // expected-error @+1 {{'weights' is 'tensor<6x4xf32>', expected 6 x 2}}
  %support = step.select_keys %x, %k, %x {batch = 2 : i64, sequence = 3 : i64, heads = 2 : i64, dim = 2 : i64}
             : (tensor<6x4xf32>, tensor<6x2xf32>, tensor<6x4xf32>) -> tensor<6x2xi32>
}

// -----

step.func @attention_of_other_values {
  %x = step.zero : tensor<6x4xf32>
  %s = step.input "s" : tensor<6x2xi32>
  // expected-error @+1 {{'v' is 'tensor<6x4xf32>', expected 6 x 6}}
  %y = step.sparse_attention %x, %x, %x, %s {batch = 2 : i64, sequence = 3 : i64, heads = 2 : i64, qk_dim = 2 : i64, v_dim = 3 : i64,
       scale = 0.5 : f64} : (tensor<6x4xf32>, tensor<6x4xf32>, tensor<6x4xf32>, tensor<6x2xi32>) -> tensor<6x4xf32>
}

// -----

step.func @kl_of_another_difference {
  %x = step.zero : tensor<6x4xf32>
  %w = step.zero : tensor<6x1xf32>
  %s = step.input "s" : tensor<6x2xi32>
  // expected-error @+1 {{'difference' is 'tensor<6x3xf32>', expected 6 x 2}}
  %loss, %d = step.support_kl %x, %x, %x, %x, %w, %s {batch = 2 : i64, sequence = 3 : i64, heads = 2 : i64, qk_dim = 2 : i64,
              index_heads = 1 : i64, index_dim = 4 : i64, tokens = 6 : i64, scale = 0.5 : f64, index_scale = 0.5 : f64, kl = 0.1 : f64}
              : (tensor<6x4xf32>, tensor<6x4xf32>, tensor<6x4xf32>, tensor<6x4xf32>, tensor<6x1xf32>, tensor<6x2xi32>)
              -> (tensor<1xf32>, tensor<6x3xf32>)
}

// -----

step.func @layer_norm_of_another_bias {
  %x = step.zero : tensor<6x4xf32>
  %weight = step.zero : tensor<4xf32>
  %bias = step.zero : tensor<3xf32>
  // expected-error @+1 {{'bias' is 'tensor<3xf32>', expected 4}}
  %y = step.layer_norm %x, %weight, %bias {eps = 1.0e-5 : f64} : (tensor<6x4xf32>, tensor<4xf32>, tensor<3xf32>) -> tensor<6x4xf32>
}
