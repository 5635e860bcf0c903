// RUN: megacc-opt %s -split-input-file -verify-diagnostics

step.func @count_valid_of_two_numbers {
  %t = step.input "targets" : tensor<2x3xi32>
  // expected-error @+1 {{'valid' is 'tensor<2xf32>', expected 1}}
  %v = step.count_valid %t : (tensor<2x3xi32>) -> tensor<2xf32>
}

// -----

step.func @head_of_other_rows {
  %x = step.zero : tensor<5x4xf32>
  %w = step.zero : tensor<9x4xf32>
  %t = step.input "targets" : tensor<2x3xi32>
  %v = step.count_valid %t : (tensor<2x3xi32>) -> tensor<1xf32>
  // expected-error @+1 {{has x 'tensor<5x4xf32>' and weight 'tensor<9x4xf32>' for 6 rows}}
  %l:3 = step.linear_cross_entropy %x, %w, %t, %v {scale = 1.0 : f64}
         : (tensor<5x4xf32>, tensor<9x4xf32>, tensor<2x3xi32>, tensor<1xf32>) -> (tensor<1xf32>, tensor<5x4xf32>, tensor<9x4xf32>)
}

// -----

step.func @head_of_a_loss_a_row {
  %x = step.zero : tensor<6x4xf32>
  %w = step.zero : tensor<9x4xf32>
  %t = step.input "targets" : tensor<2x3xi32>
  %v = step.count_valid %t : (tensor<2x3xi32>) -> tensor<1xf32>
  // expected-error @+1 {{'loss' is 'tensor<6xf32>', expected 1}}
  %l:3 = step.linear_cross_entropy %x, %w, %t, %v {scale = 1.0 : f64}
         : (tensor<6x4xf32>, tensor<9x4xf32>, tensor<2x3xi32>, tensor<1xf32>) -> (tensor<6xf32>, tensor<6x4xf32>, tensor<9x4xf32>)
}

// -----

step.func @head_of_a_count_a_row {
  %x = step.zero : tensor<6x4xf32>
  %w = step.zero : tensor<9x4xf32>
  %v = step.zero : tensor<2xf32>
  %t = step.input "targets" : tensor<2x3xi32>
  // expected-error @+1 {{'valid' is 'tensor<2xf32>', expected 1}}
  %l:3 = step.linear_cross_entropy %x, %w, %t, %v {scale = 1.0 : f64}
         : (tensor<6x4xf32>, tensor<9x4xf32>, tensor<2x3xi32>, tensor<2xf32>) -> (tensor<1xf32>, tensor<6x4xf32>, tensor<9x4xf32>)
}

// -----

step.func @head_of_another_d_x {
  %x = step.zero : tensor<6x4xf32>
  %w = step.zero : tensor<9x4xf32>
  %t = step.input "targets" : tensor<2x3xi32>
  %v = step.count_valid %t : (tensor<2x3xi32>) -> tensor<1xf32>
  // expected-error @+1 {{'d_x' is 'tensor<6x9xf32>', expected 6 x 4}}
  %l:3 = step.linear_cross_entropy %x, %w, %t, %v {scale = 1.0 : f64}
         : (tensor<6x4xf32>, tensor<9x4xf32>, tensor<2x3xi32>, tensor<1xf32>) -> (tensor<1xf32>, tensor<6x9xf32>, tensor<9x4xf32>)
}

// -----

step.func @head_of_another_d_weight {
  %x = step.zero : tensor<6x4xf32>
  %w = step.zero : tensor<9x4xf32>
  %t = step.input "targets" : tensor<2x3xi32>
  %v = step.count_valid %t : (tensor<2x3xi32>) -> tensor<1xf32>
  // expected-error @+1 {{'d_weight' is 'tensor<4x9xf32>', expected 9 x 4}}
  %l:3 = step.linear_cross_entropy %x, %w, %t, %v {scale = 1.0 : f64}
         : (tensor<6x4xf32>, tensor<9x4xf32>, tensor<2x3xi32>, tensor<1xf32>) -> (tensor<1xf32>, tensor<6x4xf32>, tensor<4x9xf32>)
}

// -----

step.func @head_of_d_weight_in_bf16 {
  %x = step.zero : tensor<6x4xbf16>
  %w = step.zero : tensor<9x4xbf16>
  %t = step.input "targets" : tensor<2x3xi32>
  %v = step.count_valid %t : (tensor<2x3xi32>) -> tensor<1xf32>
  // expected-error @+1 {{result #2 must be statically shaped tensor of 32-bit float values, but got 'tensor<9x4xbf16>'}}
  %l:3 = step.linear_cross_entropy %x, %w, %t, %v {scale = 1.0 : f64}
         : (tensor<6x4xbf16>, tensor<9x4xbf16>, tensor<2x3xi32>, tensor<1xf32>) -> (tensor<1xf32>, tensor<6x4xbf16>, tensor<9x4xbf16>)
}

// -----

step.func @evaluation_of_other_columns {
  %x = step.zero : tensor<6x4xf32>
  %w = step.zero : tensor<9x5xf32>
  %t = step.input "targets" : tensor<2x3xi32>
  // expected-error @+1 {{has x 'tensor<6x4xf32>' and weight 'tensor<9x5xf32>' for 6 rows}}
  %l:2 = step.linear_cross_entropy_evaluate %x, %w, %t {batch = 2 : i64, sequence = 3 : i64}
         : (tensor<6x4xf32>, tensor<9x5xf32>, tensor<2x3xi32>) -> (tensor<2xf32>, tensor<2xf32>)
}

// -----

step.func @evaluation_of_one_sum {
  %x = step.zero : tensor<6x4xf32>
  %w = step.zero : tensor<9x4xf32>
  %t = step.input "targets" : tensor<2x3xi32>
  // expected-error @+1 {{'loss_sum' is 'tensor<1xf32>', expected 2}}
  %l:2 = step.linear_cross_entropy_evaluate %x, %w, %t {batch = 2 : i64, sequence = 3 : i64}
         : (tensor<6x4xf32>, tensor<9x4xf32>, tensor<2x3xi32>) -> (tensor<1xf32>, tensor<2xf32>)
}

// -----

step.func @evaluation_of_one_count {
  %x = step.zero : tensor<6x4xf32>
  %w = step.zero : tensor<9x4xf32>
  %t = step.input "targets" : tensor<2x3xi32>
  // expected-error @+1 {{'count' is 'tensor<1xf32>', expected 2}}
  %l:2 = step.linear_cross_entropy_evaluate %x, %w, %t {batch = 2 : i64, sequence = 3 : i64}
         : (tensor<6x4xf32>, tensor<9x4xf32>, tensor<2x3xi32>) -> (tensor<2xf32>, tensor<1xf32>)
}

// -----

step.func @logits_at_other_positions {
  %x = step.zero : tensor<6x4xf32>
  %w = step.zero : tensor<9x4xf32>
  %p = step.input "positions" : tensor<3xi32>
  // expected-error @+1 {{'positions' is 'tensor<3xi32>', expected 2}}
  %l = step.logits_at %x, %w, %p {batch = 2 : i64, sequence = 3 : i64}
       : (tensor<6x4xf32>, tensor<9x4xf32>, tensor<3xi32>) -> tensor<2x9xf32>
}

// -----

step.func @logits_of_another_vocabulary {
  %x = step.zero : tensor<6x4xf32>
  %w = step.zero : tensor<9x4xf32>
  %p = step.input "positions" : tensor<2xi32>
  // expected-error @+1 {{'logits' is 'tensor<2x8xf32>', expected 2 x 9}}
  %l = step.logits_at %x, %w, %p {batch = 2 : i64, sequence = 3 : i64}
       : (tensor<6x4xf32>, tensor<9x4xf32>, tensor<2xi32>) -> tensor<2x8xf32>
}
