// RUN: megacc-opt %s -split-input-file -verify-diagnostics

step.func @embedding_of_odd_columns {
  %table = step.zero : tensor<9x4xf32>
  %ids = step.input "ids" : tensor<6x2xi32>
  // expected-error @+1 {{has rows of 'tensor<6x6xf32>' for tokens of 'tensor<6x2xi32>' and a table of 'tensor<9x4xf32>'}}
  %y = step.embedding %table, %ids : (tensor<9x4xf32>, tensor<6x2xi32>) -> tensor<6x6xf32>
}

// -----

step.func @embedding_grad_of_other_tokens {
  %dy = step.zero : tensor<6x4xf32>
  %ids = step.input "ids" : tensor<2x4xi32>
  // expected-error @+1 {{has rows of 'tensor<6x4xf32>' for tokens of 'tensor<2x4xi32>' and a table of 'tensor<9x4xf32>'}}
  %d = step.embedding_grad %dy, %ids : (tensor<6x4xf32>, tensor<2x4xi32>) -> tensor<9x4xf32>
}

// -----

step.func @embedding_grad_in_bf16 {
  %dy = step.zero : tensor<6x4xbf16>
  %ids = step.input "ids" : tensor<2x3xi32>
  // expected-error @+1 {{result #0 must be statically shaped tensor of 32-bit float values, but got 'tensor<9x4xbf16>'}}
  %d = step.embedding_grad %dy, %ids : (tensor<6x4xbf16>, tensor<2x3xi32>) -> tensor<9x4xbf16>
}

// -----

step.func @rms_norm_of_another_shape {
  %x = step.zero : tensor<6x4xf32>
  %w = step.zero : tensor<4xf32>
  // expected-error @+1 {{'y' is 'tensor<6x5xf32>', expected 6 x 4}}
  %y = step.rms_norm %x, %w {eps = 1.0e-5 : f64} : (tensor<6x4xf32>, tensor<4xf32>) -> tensor<6x5xf32>
}

// -----

step.func @rms_norm_of_another_weight {
  %x = step.zero : tensor<6x4xf32>
  %w = step.zero : tensor<5xf32>
  // expected-error @+1 {{'weight' is 'tensor<5xf32>', expected 4}}
  %y = step.rms_norm %x, %w {eps = 1.0e-5 : f64} : (tensor<6x4xf32>, tensor<5xf32>) -> tensor<6x4xf32>
}

// -----

step.func @cache_without_a_name {
  %x = step.zero : tensor<6x4xf32>
  %w = step.zero : tensor<4xf32>
  // expected-error @+1 {{names 0 caches and has 1}}
  %y, %r = step.rms_norm %x, %w {eps = 1.0e-5 : f64} : (tensor<6x4xf32>, tensor<4xf32>) -> (tensor<6x4xf32>, tensor<6xf32>)
}

// -----

step.func @name_without_a_cache {
  %x = step.zero : tensor<6x4xf32>
  %w = step.zero : tensor<4xf32>
  // expected-error @+1 {{names 1 caches and has 0}}
  %d:2 = step.rms_norm_grad %x, %x, %w {cached = ["rstd"], eps = 1.0e-5 : f64}
         : (tensor<6x4xf32>, tensor<6x4xf32>, tensor<4xf32>) -> (tensor<6x4xf32>, tensor<4xf32>)
}

// -----

step.func @cache_named_twice {
  %x = step.zero : tensor<6x4xf32>
  %w = step.zero : tensor<4xf32>
  // expected-error @+1 {{names the cache "rstd" twice}}
  %y, %r:2 = step.rms_norm %x, %w {cached = ["rstd", "rstd"], eps = 1.0e-5 : f64}
             : (tensor<6x4xf32>, tensor<4xf32>) -> (tensor<6x4xf32>, tensor<6xf32>, tensor<6xf32>)
}

// -----

step.func @rms_norm_grad_of_another_d_y {
  %x = step.zero : tensor<6x4xf32>
  %dy = step.zero : tensor<5x4xf32>
  %w = step.zero : tensor<4xf32>
  // expected-error @+1 {{'d_y' is 'tensor<5x4xf32>', expected 6 x 4}}
  %d:2 = step.rms_norm_grad %dy, %x, %w {eps = 1.0e-5 : f64}
         : (tensor<5x4xf32>, tensor<6x4xf32>, tensor<4xf32>) -> (tensor<6x4xf32>, tensor<4xf32>)
}

// -----

step.func @rms_norm_grad_of_another_d_weight {
  %x = step.zero : tensor<6x4xf32>
  %w = step.zero : tensor<4xf32>
  // expected-error @+1 {{'d_weight' is 'tensor<6xf32>', expected 4}}
  %d:2 = step.rms_norm_grad %x, %x, %w {eps = 1.0e-5 : f64}
         : (tensor<6x4xf32>, tensor<6x4xf32>, tensor<4xf32>) -> (tensor<6x4xf32>, tensor<6xf32>)
}

// -----

step.func @linear_of_other_inputs {
  %x = step.zero : tensor<6x4xf32>
  %w = step.zero : tensor<9x5xf32>
  // expected-error @+1 {{has 4 input columns, but its weight takes 5}}
  %y = step.linear %x, %w : (tensor<6x4xf32>, tensor<9x5xf32>) -> tensor<6x9xf32>
}

// -----

step.func @linear_of_another_result {
  %x = step.zero : tensor<6x4xf32>
  %w = step.zero : tensor<9x4xf32>
  // expected-error @+1 {{'y' is 'tensor<6x8xf32>', expected 6 x 9}}
  %y = step.linear %x, %w : (tensor<6x4xf32>, tensor<9x4xf32>) -> tensor<6x8xf32>
}

// -----

step.func @linear_grad_input_of_other_outputs {
  %dy = step.zero : tensor<6x8xf32>
  %w = step.zero : tensor<9x4xf32>
  // expected-error @+1 {{has 8 output columns, but its weight makes 9}}
  %d = step.linear_grad_input %dy, %w : (tensor<6x8xf32>, tensor<9x4xf32>) -> tensor<6x4xf32>
}

// -----

step.func @linear_grad_input_of_another_d_x {
  %dy = step.zero : tensor<6x9xf32>
  %w = step.zero : tensor<9x4xf32>
  // expected-error @+1 {{'d_x' is 'tensor<6x5xf32>', expected 6 x 4}}
  %d = step.linear_grad_input %dy, %w : (tensor<6x9xf32>, tensor<9x4xf32>) -> tensor<6x5xf32>
}

// -----

step.func @linear_grad_weight_of_other_rows {
  %dy = step.zero : tensor<6x9xf32>
  %x = step.zero : tensor<5x4xf32>
  // expected-error @+1 {{has 6 rows of d_y and 5 of x}}
  %d = step.linear_grad_weight %dy, %x : (tensor<6x9xf32>, tensor<5x4xf32>) -> tensor<9x4xf32>
}

// -----

step.func @linear_grad_weight_transposed {
  %dy = step.zero : tensor<6x9xf32>
  %x = step.zero : tensor<6x4xf32>
  // expected-error @+1 {{'d_weight' is 'tensor<4x9xf32>', expected 9 x 4}}
  %d = step.linear_grad_weight %dy, %x : (tensor<6x9xf32>, tensor<6x4xf32>) -> tensor<4x9xf32>
}

// -----

step.func @linear_grad_weight_in_bf16 {
  %dy = step.zero : tensor<6x9xbf16>
  %x = step.zero : tensor<6x4xbf16>
  // expected-error @+1 {{result #0 must be statically shaped tensor of 32-bit float values, but got 'tensor<9x4xbf16>'}}
  %d = step.linear_grad_weight %dy, %x : (tensor<6x9xbf16>, tensor<6x4xbf16>) -> tensor<9x4xbf16>
}

// -----

step.func @add_of_two_types {
  %a = step.zero : tensor<6x4xf32>
  %b = step.zero : tensor<6x4xbf16>
  // expected-error @+1 {{all of {a, b, y} have same type}}
  %y = step.add %a, %b : (tensor<6x4xf32>, tensor<6x4xbf16>) -> tensor<6x4xf32>
}

// -----

step.func @activation_of_no_kind {
  %x = step.zero : tensor<6x4xf32>
  // expected-error @+2 {{failed to parse Step_ActivationAttr}}
  // expected-error @+1 {{expected ::megacc::step::Activation to be one of: gelu, gelu_tanh, relu2, swiglu}}
  %y = step.activation tanh %x : (tensor<6x4xf32>) -> tensor<6x4xf32>
}

// -----

step.func @swiglu_of_the_same_width {
  %x = step.zero : tensor<6x4xf32>
  // expected-error @+1 {{of kind "swiglu" makes 'tensor<6x4xf32>' from 'tensor<6x4xf32>'}}
  %y = step.activation swiglu %x : (tensor<6x4xf32>) -> tensor<6x4xf32>
}

// -----

step.func @gelu_of_another_width {
  %x = step.zero : tensor<6x4xf32>
  // expected-error @+1 {{of kind "gelu" makes 'tensor<6x2xf32>' from 'tensor<6x4xf32>'}}
  %y = step.activation gelu %x : (tensor<6x4xf32>) -> tensor<6x2xf32>
}

// -----

step.func @activation_grad_of_another_d_y {
  %x = step.zero : tensor<6x4xf32>
  // expected-error @+1 {{of kind "swiglu" makes 'tensor<6x4xf32>' from 'tensor<6x4xf32>'}}
  %d = step.activation_grad swiglu %x, %x : (tensor<6x4xf32>, tensor<6x4xf32>) -> tensor<6x4xf32>
}

// -----

step.func @activation_grad_of_another_d_x {
  %x = step.zero : tensor<6x4xf32>
  %dy = step.zero : tensor<6x2xf32>
  // expected-error @+1 {{'d_x' is 'tensor<6x2xf32>', expected 6 x 4}}
  %d = step.activation_grad swiglu %dy, %x : (tensor<6x2xf32>, tensor<6x4xf32>) -> tensor<6x2xf32>
}
