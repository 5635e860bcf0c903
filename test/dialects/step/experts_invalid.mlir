// RUN: megacc-opt %s -split-input-file -verify-diagnostics

step.func @f {
  %x = step.zero : tensor<6x4xf32>
  // expected-error @+1 {{has 4 columns of logits, expected 5}}
  %w, %c, %p, %o, %a, %z = step.moe_route %x {experts = 4 : i64, slots = 2 : i64, nulls = 1 : i64, scale = 1.0 : f64, aux = 0.0 : f64, z = 0.0 : f64}
    : (tensor<6x4xf32>) -> (tensor<6x2xf32>, tensor<6x2xi32>, tensor<6x2xi32>, tensor<5xi32>, tensor<1xf32>, tensor<1xf32>)
}

// -----

step.func @f {
  %x = step.zero : tensor<6x4xf32>
  // expected-error @+1 {{needs a bias of 4 numbers with a sigmoid, and none without}}
  %w, %c, %p, %o, %a, %z = step.moe_route %x {experts = 4 : i64, slots = 2 : i64, nulls = 0 : i64, sigmoid, scale = 1.0 : f64, aux = 0.0 : f64,
    z = 0.0 : f64} : (tensor<6x4xf32>) -> (tensor<6x2xf32>, tensor<6x2xi32>, tensor<6x2xi32>, tensor<5xi32>, tensor<1xf32>, tensor<1xf32>)
}

// -----

step.func @f {
  %x = step.zero : tensor<6x4xf32>
  // expected-error @+1 {{expected 4 picks for each of 6 rows}}
  %w, %c, %p, %o, %a, %z = step.moe_route %x {experts = 4 : i64, slots = 5 : i64, nulls = 0 : i64, scale = 1.0 : f64, aux = 0.0 : f64, z = 0.0 : f64}
    : (tensor<6x4xf32>) -> (tensor<6x5xf32>, tensor<6x5xi32>, tensor<6x5xi32>, tensor<5xi32>, tensor<1xf32>, tensor<1xf32>)
}

// -----

step.func @f {
  %x = step.zero : tensor<6x4xf32>
  // expected-error @+1 {{makes 4 offsets for 4 experts; expected one more, and two losses of one number}}
  %w, %c, %p, %o, %a, %z = step.moe_route %x {experts = 4 : i64, slots = 2 : i64, nulls = 0 : i64, scale = 1.0 : f64, aux = 0.0 : f64, z = 0.0 : f64}
    : (tensor<6x4xf32>) -> (tensor<6x2xf32>, tensor<6x2xi32>, tensor<6x2xi32>, tensor<4xi32>, tensor<1xf32>, tensor<1xf32>)
}

// -----

step.func @f {
  %o = step.input "offsets" : tensor<4xi32>
  // expected-error @+1 {{names no parameter: @missing}}
  step.moe_count_picks %o {name = "picks.0", bias = @missing, rate = 0.001 : f64} : tensor<4xi32>
}

// -----

step.parameter @bias : tensor<3xf32> {block = 0 : i64, init = "constant", init_a = 0.0 : f64}
step.func @f {
  %norm = step.zero : tensor<1xf32>
  // expected-error @+1 {{counts 4 experts, but parameter @bias has 'tensor<3xf32>'}}
  step.moe_bias_update @bias, %norm {experts = 4 : i64, picks = "picks.0", rate = 0.001 : f64} : tensor<1xf32>
}

// -----

step.func @f {
  %x = step.zero : tensor<6x4xf32>
  %p = step.input "position" : tensor<6x2xi32>
  %o = step.input "offsets" : tensor<4xi32>
  // expected-error @+1 {{has rows 'tensor<6x4xf32>' and tokens 'tensor<6x4xf32>' for positions 'tensor<6x2xi32>'}}
  %rows = step.moe_dispatch %x, %p, %o : (tensor<6x4xf32>, tensor<6x2xi32>, tensor<4xi32>) -> tensor<6x4xf32>
}

// -----

step.func @f {
  %rows = step.zero : tensor<12x4xf32>
  %w = step.zero : tensor<6x2xf32>
  %p = step.input "position" : tensor<6x2xi32>
  %o = step.input "offsets" : tensor<4xi32>
  // expected-error @+1 {{has rows 'tensor<12x4xf32>' and tokens 'tensor<6x5xf32>'}}
  %y = step.moe_combine %rows, %w, %p, %o : (tensor<12x4xf32>, tensor<6x2xf32>, tensor<6x2xi32>, tensor<4xi32>) -> tensor<6x5xf32>
}

// -----

step.func @f {
  %x = step.zero : tensor<12x4xf32>
  %w = step.zero : tensor<3x5x6xf32>
  %o = step.input "offsets" : tensor<4xi32>
  // expected-error @+1 {{makes 'tensor<12x5xf32>' from 'tensor<12x4xf32>' and weights 'tensor<3x5x6xf32>'}}
  %y = step.grouped_linear %x, %w, %o {expected_rows = 12 : i64} : (tensor<12x4xf32>, tensor<3x5x6xf32>, tensor<4xi32>) -> tensor<12x5xf32>
}

// -----

step.func @f {
  %x = step.zero : tensor<12x4xf32>
  %w = step.zero : tensor<3x5x4xf32>
  %o = step.input "offsets" : tensor<3xi32>
  // expected-error @+1 {{has 3 offsets for 3 experts; expected one more}}
  %y = step.grouped_linear %x, %w, %o {expected_rows = 12 : i64} : (tensor<12x4xf32>, tensor<3x5x4xf32>, tensor<3xi32>) -> tensor<12x5xf32>
}

// -----

step.func @f {
  %x = step.zero : tensor<6x4xf32>
  // expected-error @+1 {{has 24 gates for rows of 'tensor<6x4xf32>'}}
  %y = step.row_gate %x, %x : (tensor<6x4xf32>, tensor<6x4xf32>) -> tensor<6x4xf32>
}

// -----

step.func @f {
  %x = step.zero : tensor<2xf32>
  // expected-error @+1 {{takes numbers, at least one}}
  step.loss %x {name = "main", weight = 1.0 : f64} : tensor<2xf32>
}
