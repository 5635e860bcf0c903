// RUN: megacc-opt %s -split-input-file -verify-diagnostics

step.func @f {
  %x = step.zero : tensor<6x10xf32>
  %w = step.zero : tensor<9x4xf32>
  // expected-error @+1 {{has x 'tensor<6x10xf32>', weight 'tensor<9x4xf32>' and result 'tensor<6x10xf32>' for 6 rows}}
  %y = step.causal_conv %x, %w {batch = 2 : i64, sequence = 3 : i64, operandSegmentSizes = array<i32: 1, 1, 0, 0>}
       : (tensor<6x10xf32>, tensor<9x4xf32>) -> tensor<6x10xf32>
}

// -----

step.func @f {
  %x = step.zero : tensor<6x10xf32>
  %skip = step.zero : tensor<2x4xf32>
  // expected-error @+1 {{has a skip of 'tensor<2x4xf32>' for 10 columns}}
  %y = step.skip_gate %x, %x, %x, %skip : (tensor<6x10xf32>, tensor<6x10xf32>, tensor<6x10xf32>, tensor<2x4xf32>) -> tensor<6x10xf32>
}

// -----

step.func @f {
  %q = step.zero : tensor<6x5xf32>
  %v = step.zero : tensor<6x4xf32>
  %f = step.zero : tensor<6x2xf32>
  %a = step.zero : tensor<2xf32>
  %w = step.zero : tensor<2x2x2xf32>
  // expected-error @+1 {{has shapes that do not follow from its sizes}}
  %y, %s = step.m2rnn_scan %q, %q, %v, %f, %a, %a, %w {batch = 2 : i64, sequence = 3 : i64, interval = 2 : i64}
           : (tensor<6x5xf32>, tensor<6x5xf32>, tensor<6x4xf32>, tensor<6x2xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2x2x2xf32>)
           -> (tensor<6x4xf32>, tensor<2x2x1x5x2xf32>)
}

// -----

step.func @f {
  %q = step.zero : tensor<6x5xf32>
  %v = step.zero : tensor<6x4xf32>
  %f = step.zero : tensor<6x2xf32>
  %a = step.zero : tensor<2xf32>
  %w = step.zero : tensor<2x2x2xf32>
  // expected-error @+1 {{needs an 'interval' of at least one token}}
  %y, %s = step.m2rnn_scan %q, %q, %v, %f, %a, %a, %w {batch = 2 : i64, sequence = 3 : i64, interval = 0 : i64}
           : (tensor<6x5xf32>, tensor<6x5xf32>, tensor<6x4xf32>, tensor<6x2xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2x2x2xf32>)
           -> (tensor<6x4xf32>, tensor<2x2x1x5x2xf32>)
}
