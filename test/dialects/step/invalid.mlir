// RUN: megacc-opt %s -split-input-file -verify-diagnostics

step.func @f {
  // expected-error @+1 {{names no parameter: @missing}}
  %0 = step.read @missing : tensor<4xf32>
}

// -----

step.parameter @w : tensor<4xf32> {block = -1 : i64, trained, init = "constant", init_a = 1.0 : f64}
step.func @f {
  // expected-error @+1 {{has type 'tensor<5xf32>', but parameter @w has 'tensor<4xf32>'}}
  %0 = step.read @w : tensor<5xf32>
}

// -----

// expected-error @+1 {{'init' is "ones"; expected "constant", "normal", "uniform", "dt_bias", "a_log" or "identity"}}
step.parameter @w : tensor<4xf32> {block = -1 : i64, trained, init = "ones", init_a = 1.0 : f64}

// -----

step.func @f {
  %x = step.zero : tensor<6x4xf32>
  %w = step.zero : tensor<9x5xf32>
  // expected-error @+1 {{has 4 input columns, but its weight takes 5}}
  %y = step.linear %x, %w : (tensor<6x4xf32>, tensor<9x5xf32>) -> tensor<6x9xf32>
}

// -----

step.func @f {
  %x = step.zero : tensor<6x4xf32>
  // expected-error @+1 {{'kind' is "tanh"}}
  %y = step.activation %x {kind = "tanh"} : (tensor<6x4xf32>) -> tensor<6x4xf32>
}

// -----

step.func @f {
  %x = step.zero : tensor<6x4xf32>
  // expected-error @+1 {{of kind "swiglu" makes 4 columns from 4}}
  %y = step.activation %x {kind = "swiglu"} : (tensor<6x4xf32>) -> tensor<6x4xf32>
}

// -----

step.func @f {
  %x = step.zero : tensor<6x4xf32>
  // expected-error @+1 {{rotates channels 0 to 3 of heads of 4}}
  %y = step.rope %x {sequence = 3 : i64, heads = 1 : i64, head_dim = 4 : i64, offset = 0 : i64, width = 3 : i64, theta = 1.0e4 : f64}
       : (tensor<6x4xf32>) -> tensor<6x4xf32>
}

// -----

step.func @f {
  %x = step.zero : tensor<6x4xf32>
  // expected-error @+1 {{has 4 columns, expected 1 groups of 3}}
  %y:2 = step.split %x {groups = 1 : i64, widths = array<i64: 1, 2>} : (tensor<6x4xf32>) -> (tensor<6x1xf32>, tensor<6x2xf32>)
}

// -----

step.func @f {
  %x = step.zero : tensor<6x6xf32>
  // expected-error @+1 {{has 3 heads, which 2 key-value heads cannot share evenly}}
  %y, %l = step.attention %x, %x, %x {batch = 2 : i64, sequence = 3 : i64, heads = 3 : i64, kv_heads = 2 : i64, qk_dim = 2 : i64, v_dim = 2 : i64,
           scale = 0.5 : f64} : (tensor<6x6xf32>, tensor<6x6xf32>, tensor<6x6xf32>) -> (tensor<6x6xf32>, tensor<2x3x3xf32>)
}

// -----

step.func @f {
  %x = step.zero : tensor<6x4xf32>
  // expected-error @+1 {{has 'shape' of 12 elements for a value of 24}}
  step.output "x", %x {shape = array<i64: 3, 4>} : tensor<6x4xf32>
}
