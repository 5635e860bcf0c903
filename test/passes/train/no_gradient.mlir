// RUN: megacc-opt %s -split-input-file -step-differentiate -verify-diagnostics

step.parameter @w : tensor<9x4xf32> init normal {block = -1 : i64, decays, trained, init_a = 0.02 : f64}
step.func @micro_batch {
  %w = step.read @w : tensor<9x4xf32>
  %g = step.input "g" : tensor<6x9xf32>
  %targets = step.input "targets" : tensor<2x3xi32>
  %valid = step.count_valid %targets : (tensor<2x3xi32>) -> tensor<1xf32>
  // expected-error @+1 {{has no gradient, but the loss depends on it}}
  %x = step.linear_grad_input %g, %w : (tensor<6x9xf32>, tensor<9x4xf32>) -> tensor<6x4xf32>
  %loss, %dx, %dw = step.linear_cross_entropy %x, %w, %targets, %valid {scale = 1.0 : f64}
                    : (tensor<6x4xf32>, tensor<9x4xf32>, tensor<2x3xi32>, tensor<1xf32>) -> (tensor<1xf32>, tensor<6x4xf32>,
                        tensor<9x4xf32>)
  step.loss %loss {name = "main", weight = 1.0 : f64} : tensor<1xf32>
}

// -----

step.func @micro_batch {
  %x = step.zero : tensor<1xf32>
  // expected-error @+1 {{cannot be differentiated here}}
  %y = step.add %x, %x : (tensor<1xf32>, tensor<1xf32>) -> tensor<1xf32>
  step.loss %y {name = "main", weight = 1.0 : f64} : tensor<1xf32>
}

// -----

// expected-error @+1 {{has no function "micro_batch"}}
module {
}
