// RUN: megacc-opt %s -split-input-file -step-select-kernels -verify-diagnostics

step.func @no_such_record {
  %x = step.input "x" : tensor<6x4xf32>
  // expected-error @+1 {{names the record "cpu.subtract", which does not serve it: there is no such record}}
  %y = step.add %x, %x {record = "cpu.subtract"} : (tensor<6x4xf32>, tensor<6x4xf32>) -> tensor<6x4xf32>
}

// -----

step.func @record_of_another_family {
  %x = step.input "x" : tensor<6x4xf32>
  // expected-error @+1 {{names the record "cpu.linear", which does not serve it: it is for cpu, linear}}
  %y = step.add %x, %x {record = "cpu.linear"} : (tensor<6x4xf32>, tensor<6x4xf32>) -> tensor<6x4xf32>
}

// -----

module attributes {megacc.target = "none"} {
  step.func @record_of_another_target {
    %x = step.input "x" : tensor<6x4xf32>
    // expected-error @+1 {{names the record "cpu.add", which does not serve it: it is for cpu, add}}
    %y = step.add %x, %x {record = "cpu.add"} : (tensor<6x4xf32>, tensor<6x4xf32>) -> tensor<6x4xf32>
  }
}

// -----

step.func @record_that_refuses {
  %half = step.input "half" : tensor<6x2xf32>
  %x = step.input "x" : tensor<6x4xf32>
  // expected-error @+1 {{names the record "cpu.activation_grad", which does not serve it: kind is 3, at most 2}}
  %y = step.activation_grad swiglu %half, %x {record = "cpu.activation_grad"} : (tensor<6x2xf32>, tensor<6x4xf32>) -> tensor<6x4xf32>
}

// -----

// Equal reasons are said once, with the nearest records.
step.func @type_that_no_record_takes {
  %x = step.input "x" : tensor<6x4xbf16>
  // expected-error @+1 {{no kernel record for cpu serves step.add (2 times): no kernel of target cpu serves 'add'; the nearest are:}}
  %y = step.add %x, %x : (tensor<6x4xbf16>, tensor<6x4xbf16>) -> tensor<6x4xbf16>
  // expected-error @+1 {{no kernel record for cpu serves step.activation: no kernel of target cpu serves 'activation'; the nearest are:}}
  %z = step.activation relu2 %y : (tensor<6x4xbf16>) -> tensor<6x4xbf16>
  %s = step.add %y, %z : (tensor<6x4xbf16>, tensor<6x4xbf16>) -> tensor<6x4xbf16>
}

// -----

// The families that a target lacks are one error.
// expected-error @+1 {{no kernel record for none: add, linear, linear_grad_weight+accumulate; fix: --target=cpu, or leave out what needs them}}
module attributes {megacc.target = "none"} {
  step.parameter @w : tensor<5x4xf32> init normal {block = 0 : i64, decays, trained, init_a = 0.02 : f64}
  step.func @micro_batch {
    %x = step.input "x" : tensor<6x4xf32>
    %w = step.read @w : tensor<5x4xf32>
    %y = step.linear %x, %w : (tensor<6x4xf32>, tensor<5x4xf32>) -> tensor<6x5xf32>
    %s = step.add %y, %y : (tensor<6x5xf32>, tensor<6x5xf32>) -> tensor<6x5xf32>
    %t = step.add %y, %s : (tensor<6x5xf32>, tensor<6x5xf32>) -> tensor<6x5xf32>
    step.fused {
      %d = step.linear_grad_weight %t, %x : (tensor<6x5xf32>, tensor<6x4xf32>) -> tensor<5x4xf32>
      step.accumulate @w, %d : tensor<5x4xf32>
      step.yield
    }
  }
}
