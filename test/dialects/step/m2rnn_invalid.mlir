// RUN: megacc-opt %s -split-input-file -verify-diagnostics

step.func @conv_of_other_channels {
  %x = step.zero : tensor<6x10xf32>
  %w = step.zero : tensor<9x4xf32>
  // expected-error @+1 {{has x 'tensor<6x10xf32>', weight 'tensor<9x4xf32>' and result 'tensor<6x10xf32>' for 6 rows}}
  %y = step.causal_conv %x, %w {batch = 2 : i64, sequence = 3 : i64, operandSegmentSizes = array<i32: 1, 1, 0, 0>}
       : (tensor<6x10xf32>, tensor<9x4xf32>) -> tensor<6x10xf32>
}

// -----

step.func @conv_of_another_result {
  %x = step.zero : tensor<6x10xf32>
  %w = step.zero : tensor<10x4xf32>
  // expected-error @+1 {{'y' is 'tensor<6x9xf32>', expected 6 x 10}}
  %y = step.causal_conv %x, %w {batch = 2 : i64, sequence = 3 : i64, operandSegmentSizes = array<i32: 1, 1, 0, 0>}
       : (tensor<6x10xf32>, tensor<10x4xf32>) -> tensor<6x9xf32>
}

// -----

step.func @conv_grad_of_another_d_x {
  %x = step.zero : tensor<6x10xf32>
  %w = step.zero : tensor<10x4xf32>
  // expected-error @+1 {{'d_x' is 'tensor<6x9xf32>', expected 6 x 10}}
  %d:3 = step.causal_conv_grad %x, %x, %w {batch = 2 : i64, sequence = 3 : i64, operandSegmentSizes = array<i32: 1, 1, 1, 0, 0>}
         : (tensor<6x10xf32>, tensor<6x10xf32>, tensor<10x4xf32>) -> (tensor<6x9xf32>, tensor<10x4xf32>, tensor<10xf32>)
}

// -----

step.func @conv_grad_of_other_taps {
  %x = step.zero : tensor<6x10xf32>
  %w = step.zero : tensor<10x4xf32>
  // expected-error @+1 {{'d_weight' is 'tensor<10x3xf32>', expected 10 x 4}}
  %d:3 = step.causal_conv_grad %x, %x, %w {batch = 2 : i64, sequence = 3 : i64, operandSegmentSizes = array<i32: 1, 1, 1, 0, 0>}
         : (tensor<6x10xf32>, tensor<6x10xf32>, tensor<10x4xf32>) -> (tensor<6x10xf32>, tensor<10x3xf32>, tensor<10xf32>)
}

// -----

step.func @conv_grad_of_another_d_bias {
  %x = step.zero : tensor<6x10xf32>
  %w = step.zero : tensor<10x4xf32>
  // expected-error @+1 {{'d_bias' is 'tensor<4xf32>', expected 10}}
  %d:3 = step.causal_conv_grad %x, %x, %w {batch = 2 : i64, sequence = 3 : i64, operandSegmentSizes = array<i32: 1, 1, 1, 0, 0>}
         : (tensor<6x10xf32>, tensor<6x10xf32>, tensor<10x4xf32>) -> (tensor<6x10xf32>, tensor<10x4xf32>, tensor<4xf32>)
}

// -----

step.func @skip_of_other_columns {
  %x = step.zero : tensor<6x10xf32>
  %skip = step.zero : tensor<2x4xf32>
  // expected-error @+1 {{has a skip of 'tensor<2x4xf32>' for 10 columns}}
  %y = step.skip_gate %x, %x, %x, %skip : (tensor<6x10xf32>, tensor<6x10xf32>, tensor<6x10xf32>, tensor<2x4xf32>) -> tensor<6x10xf32>
}

// -----

step.func @skip_gate_of_two_types {
  %x = step.zero : tensor<6x10xf32>
  %v = step.zero : tensor<6x10xbf16>
  %skip = step.zero : tensor<2x5xf32>
  // expected-error @+1 {{all of {x, v, gate, y} have same type}}
  %y = step.skip_gate %x, %v, %x, %skip : (tensor<6x10xf32>, tensor<6x10xbf16>, tensor<6x10xf32>, tensor<2x5xf32>) -> tensor<6x10xf32>
}

// -----

step.func @skip_gate_grad_of_another_d_v {
  %x = step.zero : tensor<6x10xf32>
  %skip = step.zero : tensor<2x5xf32>
  // expected-error @+1 {{'d_v' is 'tensor<6x5xf32>', expected 6 x 10}}
  %d:4 = step.skip_gate_grad %x, %x, %x, %x, %skip
         : (tensor<6x10xf32>, tensor<6x10xf32>, tensor<6x10xf32>, tensor<6x10xf32>, tensor<2x5xf32>)
         -> (tensor<6x10xf32>, tensor<6x5xf32>, tensor<6x10xf32>, tensor<2x5xf32>)
}

// -----

step.func @skip_gate_grad_of_another_d_skip {
  %x = step.zero : tensor<6x10xf32>
  %skip = step.zero : tensor<2x5xf32>
  // expected-error @+1 {{'d_skip' is 'tensor<10xf32>', expected 2 x 5}}
  %d:4 = step.skip_gate_grad %x, %x, %x, %x, %skip
         : (tensor<6x10xf32>, tensor<6x10xf32>, tensor<6x10xf32>, tensor<6x10xf32>, tensor<2x5xf32>)
         -> (tensor<6x10xf32>, tensor<6x10xf32>, tensor<6x10xf32>, tensor<10xf32>)
}

// -----

step.func @scan_of_other_heads {
  %q = step.zero : tensor<6x5xf32>
  %v = step.zero : tensor<6x4xf32>
  %f = step.zero : tensor<6x2xf32>
  %a = step.zero : tensor<2xf32>
  %w = step.zero : tensor<3x2x2xf32>
  // expected-error @+1 {{has shapes that do not follow from its sizes: q 'tensor<6x5xf32>', v 'tensor<6x4xf32>', f 'tensor<6x2xf32>', state_weight 'tensor<3x2x2xf32>', y 'tensor<6x4xf32>'}}
  %y = step.m2rnn_scan %q, %q, %v, %f, %a, %a, %w {batch = 2 : i64, sequence = 3 : i64}
       : (tensor<6x5xf32>, tensor<6x5xf32>, tensor<6x4xf32>, tensor<6x2xf32>, tensor<2xf32>, tensor<2xf32>, tensor<3x2x2xf32>)
       -> tensor<6x4xf32>
}

// -----

step.func @scan_with_a_decay_in_bf16 {
  %q = step.zero : tensor<6x5xbf16>
  %v = step.zero : tensor<6x4xbf16>
  %f = step.zero : tensor<6x2xbf16>
  %a = step.zero : tensor<2xbf16>
  %w = step.zero : tensor<2x2x2xbf16>
  // expected-error @+1 {{operand #4 must be statically shaped tensor of 32-bit float values, but got 'tensor<2xbf16>'}}
  %y = step.m2rnn_scan %q, %q, %v, %f, %a, %a, %w {batch = 2 : i64, sequence = 3 : i64}
       : (tensor<6x5xbf16>, tensor<6x5xbf16>, tensor<6x4xbf16>, tensor<6x2xbf16>, tensor<2xbf16>, tensor<2xbf16>, tensor<2x2x2xbf16>)
       -> tensor<6x4xbf16>
}

// -----

step.func @scan_cache_without_a_name {
  %q = step.zero : tensor<6x5xf32>
  %v = step.zero : tensor<6x4xf32>
  %f = step.zero : tensor<6x2xf32>
  %a = step.zero : tensor<2xf32>
  %w = step.zero : tensor<2x2x2xf32>
  // expected-error @+1 {{names 0 caches and has 1}}
  %y, %s = step.m2rnn_scan %q, %q, %v, %f, %a, %a, %w {batch = 2 : i64, sequence = 3 : i64}
           : (tensor<6x5xf32>, tensor<6x5xf32>, tensor<6x4xf32>, tensor<6x2xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2x2x2xf32>)
           -> (tensor<6x4xf32>, tensor<2x2x1x5x2xf32>)
}

// -----

step.func @scan_grad_of_another_d_y {
  %q = step.zero : tensor<6x5xf32>
  %v = step.zero : tensor<6x4xf32>
  %f = step.zero : tensor<6x2xf32>
  %a = step.zero : tensor<2xf32>
  %w = step.zero : tensor<2x2x2xf32>
  // expected-error @+1 {{has shapes that do not follow from its sizes}}
  %d:7 = step.m2rnn_scan_grad %q, %q, %q, %v, %f, %a, %a, %w {batch = 2 : i64, sequence = 3 : i64,
         operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 1, 1, 1, 0, 0>}
         : (tensor<6x5xf32>, tensor<6x5xf32>, tensor<6x5xf32>, tensor<6x4xf32>, tensor<6x2xf32>, tensor<2xf32>, tensor<2xf32>,
         tensor<2x2x2xf32>)
         -> (tensor<6x5xf32>, tensor<6x5xf32>, tensor<6x4xf32>, tensor<6x2xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2x2x2xf32>)
}

// -----

step.func @scan_grad_of_another_d_f {
  %q = step.zero : tensor<6x5xf32>
  %v = step.zero : tensor<6x4xf32>
  %f = step.zero : tensor<6x2xf32>
  %a = step.zero : tensor<2xf32>
  %w = step.zero : tensor<2x2x2xf32>
  // expected-error @+1 {{'d_f' is 'tensor<6x4xf32>', expected 6 x 2}}
  %d:7 = step.m2rnn_scan_grad %v, %q, %q, %v, %f, %a, %a, %w {batch = 2 : i64, sequence = 3 : i64,
         operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 1, 1, 1, 0, 0>}
         : (tensor<6x4xf32>, tensor<6x5xf32>, tensor<6x5xf32>, tensor<6x4xf32>, tensor<6x2xf32>, tensor<2xf32>, tensor<2xf32>,
         tensor<2x2x2xf32>)
         -> (tensor<6x5xf32>, tensor<6x5xf32>, tensor<6x4xf32>, tensor<6x4xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2x2x2xf32>)
}

// -----

step.func @scan_grad_of_another_d_state_weight {
  %q = step.zero : tensor<6x5xf32>
  %v = step.zero : tensor<6x4xf32>
  %f = step.zero : tensor<6x2xf32>
  %a = step.zero : tensor<2xf32>
  %w = step.zero : tensor<2x2x2xf32>
  // expected-error @+1 {{'d_state_weight' is 'tensor<2x4xf32>', expected 2 x 2 x 2}}
  %d:7 = step.m2rnn_scan_grad %v, %q, %q, %v, %f, %a, %a, %w {batch = 2 : i64, sequence = 3 : i64,
         operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 1, 1, 1, 0, 0>}
         : (tensor<6x4xf32>, tensor<6x5xf32>, tensor<6x5xf32>, tensor<6x4xf32>, tensor<6x2xf32>, tensor<2xf32>, tensor<2xf32>,
         tensor<2x2x2xf32>)
         -> (tensor<6x5xf32>, tensor<6x5xf32>, tensor<6x4xf32>, tensor<6x2xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2x4xf32>)
}
