// RUN: megacc-opt %s -split-input-file -step-check-global -verify-diagnostics

// expected-error @+3 {{has no function "update"}}
// expected-error @+2 {{has no function "micro_batch"}}
// expected-error @+1 {{has no function "evaluate"}}
module {
}

// -----

module {
  // expected-error @+1 {{"w" has 0 gradients, expected 1}}
  step.parameter @w : tensor<4xf32> {block = -1 : i64, trained, init = "constant", init_a = 1.0 : f64}
  // expected-error @+1 {{"state" has 1 gradients, expected 0}}
  step.parameter @state : tensor<4xf32> {block = -1 : i64, init = "constant", init_a = 1.0 : f64}
  step.func @micro_batch {
    %x = step.zero {block = -1 : i64, phase = "backward"} : tensor<4xf32>
    step.accumulate @state, %x {block = -1 : i64, phase = "backward"} : tensor<4xf32>
    // expected-error @+1 {{of the forward stands after the backward}}
    %y = step.zero {block = -1 : i64, phase = "forward"} : tensor<4xf32>
  }
  step.func @update {
    // expected-error @+1 {{has no 'block' or no 'phase'}}
    %x = step.zero : tensor<4xf32>
  }
  step.func @evaluate {
  }
}
