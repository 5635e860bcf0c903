// RUN: megacc-opt %s -split-input-file -step-assign-buffers -verify-diagnostics

step.func @launch_without_a_record {
  %x = step.input "x" : tensor<4xf32>
  // expected-error @+1 {{has no 'record'; run step-select-kernels first}}
  %y = step.add %x, %x : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
}

// -----

step.func @launch_with_an_unknown_record {
  %x = step.input "x" : tensor<4xf32>
  // expected-error @+1 {{has no 'record'; run step-select-kernels first}}
  %y = step.add %x, %x {record = "cpu.subtract"} : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
}

// -----

step.func @micro_batch {
  %x = step.input "x" : tensor<4xf32>
}
step.func @update {
  // expected-error @+1 {{"x" has 20 bytes here and 16 elsewhere}}
  %x = step.input "x" : tensor<5xf32>
}

// -----

step.func @micro_batch {
  %x = step.input "x" : tensor<4xf32>
  %y = step.input "y" : tensor<5xf32>
  step.set_metric "m", %x {record = "cpu.copy"} : tensor<4xf32>
  // expected-error @+1 {{metric "m" has 20 bytes here and 16 elsewhere}}
  step.set_metric "m", %y {record = "cpu.copy"} : tensor<5xf32>
}
