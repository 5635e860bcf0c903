// RUN: megacc-opt %s -split-input-file -verify-diagnostics

step.func @route_without_the_null_column {
  %x = step.zero : tensor<6x4xf32>
  // expected-error @+1 {{has 4 columns of logits, expected 5}}
  %w, %c, %p, %o = step.moe_route %x {experts = 4 : i64, slots = 2 : i64, nulls = 1 : i64, scale = 1.0 : f64, aux = 0.0 : f64,
                   z = 0.0 : f64}
                   : (tensor<6x4xf32>) -> (tensor<6x2xf32>, tensor<6x2xi32>, tensor<6x2xi32>, tensor<5xi32>)
}

// -----

step.func @sigmoid_without_a_bias {
  %x = step.zero : tensor<6x4xf32>
  // expected-error @+1 {{needs a bias of 4 numbers with a sigmoid, and none without}}
  %w, %c, %p, %o = step.moe_route %x {experts = 4 : i64, slots = 2 : i64, nulls = 0 : i64, sigmoid, scale = 1.0 : f64, aux = 0.0 : f64,
                   z = 0.0 : f64}
                   : (tensor<6x4xf32>) -> (tensor<6x2xf32>, tensor<6x2xi32>, tensor<6x2xi32>, tensor<5xi32>)
}

// -----

step.func @more_picks_than_experts {
  %x = step.zero : tensor<6x4xf32>
  // expected-error @+1 {{expected 4 picks for each of 6 rows}}
  %w, %c, %p, %o = step.moe_route %x {experts = 4 : i64, slots = 5 : i64, nulls = 0 : i64, scale = 1.0 : f64, aux = 0.0 : f64,
                   z = 0.0 : f64}
                   : (tensor<6x4xf32>) -> (tensor<6x5xf32>, tensor<6x5xi32>, tensor<6x5xi32>, tensor<5xi32>)
}

// -----

step.func @route_of_no_slots {
  %x = step.zero : tensor<6x4xf32>
  // expected-error @+1 {{picks 0 slots of 4 experts and 0 null experts}}
  %w, %c, %p, %o = step.moe_route %x {experts = 4 : i64, slots = 0 : i64, nulls = 0 : i64, scale = 1.0 : f64, aux = 0.0 : f64,
                   z = 0.0 : f64}
                   : (tensor<6x4xf32>) -> (tensor<6x0xf32>, tensor<6x0xi32>, tensor<6x0xi32>, tensor<5xi32>)
}

// -----

step.func @route_of_too_few_offsets {
  %x = step.zero : tensor<6x4xf32>
  // expected-error @+1 {{'offsets' is 'tensor<4xi32>', expected 5}}
  %w, %c, %p, %o = step.moe_route %x {experts = 4 : i64, slots = 2 : i64, nulls = 0 : i64, scale = 1.0 : f64, aux = 0.0 : f64,
                   z = 0.0 : f64}
                   : (tensor<6x4xf32>) -> (tensor<6x2xf32>, tensor<6x2xi32>, tensor<6x2xi32>, tensor<4xi32>)
}

// -----

step.func @route_in_bf16 {
  %x = step.zero : tensor<6x4xbf16>
  // expected-error @+1 {{operand #0 must be statically shaped tensor of 32-bit float values, but got 'tensor<6x4xbf16>'}}
  %w, %c, %p, %o = step.moe_route %x {experts = 4 : i64, slots = 2 : i64, nulls = 0 : i64, scale = 1.0 : f64, aux = 0.0 : f64,
                   z = 0.0 : f64}
                   : (tensor<6x4xbf16>) -> (tensor<6x2xf32>, tensor<6x2xi32>, tensor<6x2xi32>, tensor<5xi32>)
}

// -----

step.func @statistics_without_the_null_column {
  %x = step.zero : tensor<6x4xf32>
  %o = step.input "offsets" : tensor<5xi32>
  // expected-error @+1 {{has 4 columns of logits, expected 5}}
  %s = step.moe_statistics %x, %o {experts = 4 : i64, nulls = 1 : i64} : (tensor<6x4xf32>, tensor<5xi32>) -> tensor<9xf64>
}

// -----

step.func @statistics_of_too_few_offsets {
  %x = step.zero : tensor<6x4xf32>
  %o = step.input "offsets" : tensor<4xi32>
  // expected-error @+1 {{'offsets' is 'tensor<4xi32>', expected 5}}
  %s = step.moe_statistics %x, %o {experts = 4 : i64, nulls = 0 : i64} : (tensor<6x4xf32>, tensor<4xi32>) -> tensor<9xf64>
}

// -----

step.func @too_few_statistics {
  %x = step.zero : tensor<6x4xf32>
  %o = step.input "offsets" : tensor<5xi32>
  // expected-error @+1 {{'statistics' is 'tensor<8xf64>', expected 9}}
  %s = step.moe_statistics %x, %o {experts = 4 : i64, nulls = 0 : i64} : (tensor<6x4xf32>, tensor<5xi32>) -> tensor<8xf64>
}

// -----

step.func @losses_of_other_statistics {
  %s = step.input "statistics" : tensor<9xf64>
  // expected-error @+1 {{'statistics' is 'tensor<9xf64>', expected 7}}
  %a, %z = step.moe_losses %s {tokens = 6 : i64, experts = 3 : i64, aux = 0.0 : f64, z = 0.0 : f64}
           : (tensor<9xf64>) -> (tensor<1xf32>, tensor<1xf32>)
}

// -----

step.func @losses_of_two_numbers {
  %s = step.input "statistics" : tensor<9xf64>
  // expected-error @+1 {{'z_loss' is 'tensor<2xf32>', expected 1}}
  %a, %z = step.moe_losses %s {tokens = 6 : i64, experts = 4 : i64, aux = 0.0 : f64, z = 0.0 : f64}
           : (tensor<9xf64>) -> (tensor<1xf32>, tensor<2xf32>)
}

// -----

step.func @route_grad_of_other_picks {
  %dw = step.zero : tensor<6x3xf32>
  %x = step.zero : tensor<6x4xf32>
  %c = step.input "choice" : tensor<6x2xi32>
  %s = step.input "statistics" : tensor<9xf64>
  // expected-error @+1 {{'d_weights' is 'tensor<6x3xf32>', expected 6 x 2}}
  %d = step.moe_route_grad %dw, %x, %c, %s {tokens = 6 : i64, experts = 4 : i64, slots = 2 : i64, nulls = 0 : i64, scale = 1.0 : f64,
       aux = 0.0 : f64,
       z = 0.0 : f64} : (tensor<6x3xf32>, tensor<6x4xf32>, tensor<6x2xi32>, tensor<9xf64>) -> tensor<6x4xf32>
}

// -----

step.func @route_grad_of_other_statistics {
  %dw = step.zero : tensor<6x2xf32>
  %x = step.zero : tensor<6x4xf32>
  %c = step.input "choice" : tensor<6x2xi32>
  %s = step.input "statistics" : tensor<5xf64>
  // expected-error @+1 {{'statistics' is 'tensor<5xf64>', expected 9}}
  %d = step.moe_route_grad %dw, %x, %c, %s {tokens = 6 : i64, experts = 4 : i64, slots = 2 : i64, nulls = 0 : i64, scale = 1.0 : f64,
       aux = 0.0 : f64,
       z = 0.0 : f64} : (tensor<6x2xf32>, tensor<6x4xf32>, tensor<6x2xi32>, tensor<5xf64>) -> tensor<6x4xf32>
}

// -----

step.func @route_grad_without_the_null_column {
  %dw = step.zero : tensor<6x2xf32>
  %x = step.zero : tensor<6x4xf32>
  %c = step.input "choice" : tensor<6x2xi32>
  %s = step.input "statistics" : tensor<9xf64>
  // expected-error @+1 {{'logits' is 'tensor<6x4xf32>', expected 6 x 5}}
  %d = step.moe_route_grad %dw, %x, %c, %s {tokens = 6 : i64, experts = 4 : i64, slots = 2 : i64, nulls = 3 : i64, scale = 1.0 : f64,
       aux = 0.0 : f64,
       z = 0.0 : f64} : (tensor<6x2xf32>, tensor<6x4xf32>, tensor<6x2xi32>, tensor<9xf64>) -> tensor<6x4xf32>
}

// -----

step.func @route_grad_of_another_d_logits {
  %dw = step.zero : tensor<6x2xf32>
  %x = step.zero : tensor<6x4xf32>
  %c = step.input "choice" : tensor<6x2xi32>
  %s = step.input "statistics" : tensor<9xf64>
  // expected-error @+1 {{'d_logits' is 'tensor<6x5xf32>', expected 6 x 4}}
  %d = step.moe_route_grad %dw, %x, %c, %s {tokens = 6 : i64, experts = 4 : i64, slots = 2 : i64, nulls = 0 : i64, scale = 1.0 : f64,
       aux = 0.0 : f64,
       z = 0.0 : f64} : (tensor<6x2xf32>, tensor<6x4xf32>, tensor<6x2xi32>, tensor<9xf64>) -> tensor<6x5xf32>
}

// -----

step.func @picks_of_no_bias {
  %o = step.input "offsets" : tensor<4xi32>
  // expected-error @+1 {{unknown parameter @missing}}
  step.moe_count_picks %o {name = "picks.0", bias = @missing, rate = 0.001 : f64} : tensor<4xi32>
}

// -----

step.parameter @bias : tensor<3xf32> init constant {block = 0 : i64, init_a = 0.0 : f64}
step.func @bias_of_fewer_experts {
  %norm = step.zero : tensor<1xf32>
  // expected-error @+1 {{counts 4 experts, but parameter @bias has 'tensor<3xf32>'}}
  step.moe_bias_update @bias, %norm {experts = 4 : i64, picks = "picks.0", rate = 0.001 : f64} : tensor<1xf32>
}

// -----

step.func @dispatch_to_too_few_rows {
  %x = step.zero : tensor<6x4xf32>
  %p = step.input "position" : tensor<6x2xi32>
  %o = step.input "offsets" : tensor<4xi32>
  // expected-error @+1 {{has rows 'tensor<6x4xf32>' and tokens 'tensor<6x4xf32>' for positions 'tensor<6x2xi32>'}}
  %rows = step.moe_dispatch %x, %p, %o : (tensor<6x4xf32>, tensor<6x2xi32>, tensor<4xi32>) -> tensor<6x4xf32>
}

// -----

step.func @combine_of_other_columns {
  %rows = step.zero : tensor<12x4xf32>
  %p = step.input "position" : tensor<6x2xi32>
  %o = step.input "offsets" : tensor<4xi32>
  // expected-error @+1 {{has rows 'tensor<12x4xf32>' and tokens 'tensor<6x5xf32>'}}
  %y = step.moe_combine %rows, %p, %o : (tensor<12x4xf32>, tensor<6x2xi32>, tensor<4xi32>) -> tensor<6x5xf32>
}

// -----

step.func @combine_of_other_tokens {
  %rows = step.zero : tensor<12x4xf32>
  %p = step.input "position" : tensor<6x2xi32>
  %o = step.input "offsets" : tensor<4xi32>
  // expected-error @+1 {{has rows 'tensor<12x4xf32>' and tokens 'tensor<5x4xf32>' for positions 'tensor<6x2xi32>'}}
  %y = step.moe_combine %rows, %p, %o : (tensor<12x4xf32>, tensor<6x2xi32>, tensor<4xi32>) -> tensor<5x4xf32>
}

// -----

step.func @weights_of_too_few_rows {
  %w = step.zero : tensor<6x2xf32>
  %p = step.input "position" : tensor<6x2xi32>
  %o = step.input "offsets" : tensor<4xi32>
  // expected-error @+1 {{'rows' is 'tensor<6x1xf32>', expected 12 x 1}}
  %rows = step.moe_dispatch_weights %w, %p, %o : (tensor<6x2xf32>, tensor<6x2xi32>, tensor<4xi32>) -> tensor<6x1xf32>
}

// -----

step.func @weights_grad_of_other_picks {
  %rows = step.zero : tensor<12x1xf32>
  %p = step.input "position" : tensor<6x2xi32>
  // expected-error @+1 {{'weights' is 'tensor<6x3xf32>', expected 6 x 2}}
  %d = step.moe_dispatch_weights_grad %rows, %p : (tensor<12x1xf32>, tensor<6x2xi32>) -> tensor<6x3xf32>
}

// -----

step.func @scales_of_other_rows {
  %x = step.zero : tensor<12x4xf32>
  %s = step.zero : tensor<11x1xf32>
  // expected-error @+1 {{has 11 numbers for rows of 'tensor<12x4xf32>'}}
  %y = step.row_scale %x, %s : (tensor<12x4xf32>, tensor<11x1xf32>) -> tensor<12x4xf32>
}

// -----

step.func @scale_grad_of_other_scales {
  %x = step.zero : tensor<12x4xf32>
  %s = step.zero : tensor<12x1xf32>
  // expected-error @+1 {{'d_scale' is 'tensor<6x1xf32>', expected 12 x 1}}
  %d:2 = step.row_scale_grad %x, %x, %s : (tensor<12x4xf32>, tensor<12x4xf32>, tensor<12x1xf32>) -> (tensor<12x4xf32>, tensor<6x1xf32>)
}

// -----

step.func @experts_of_other_inputs {
  %x = step.zero : tensor<12x4xf32>
  %w = step.zero : tensor<3x5x6xf32>
  %o = step.input "offsets" : tensor<4xi32>
  // expected-error @+1 {{makes 'tensor<12x5xf32>' from 'tensor<12x4xf32>' and weights 'tensor<3x5x6xf32>'}}
  %y = step.grouped_linear %x, %w, %o {expected_rows = 12 : i64} : (tensor<12x4xf32>, tensor<3x5x6xf32>, tensor<4xi32>) -> tensor<12x5xf32>
}

// -----

step.func @experts_of_too_few_offsets {
  %x = step.zero : tensor<12x4xf32>
  %w = step.zero : tensor<3x5x4xf32>
  %o = step.input "offsets" : tensor<3xi32>
  // expected-error @+1 {{'offsets' is 'tensor<3xi32>', expected 4}}
  %y = step.grouped_linear %x, %w, %o {expected_rows = 12 : i64} : (tensor<12x4xf32>, tensor<3x5x4xf32>, tensor<3xi32>) -> tensor<12x5xf32>
}

// -----

step.func @experts_grad_input_of_other_outputs {
  %dy = step.zero : tensor<12x6xf32>
  %w = step.zero : tensor<3x5x4xf32>
  %o = step.input "offsets" : tensor<4xi32>
  // expected-error @+1 {{makes 'tensor<12x6xf32>' from 'tensor<12x4xf32>' and weights 'tensor<3x5x4xf32>'}}
  %d = step.grouped_linear_grad_input %dy, %w, %o {expected_rows = 12 : i64}
       : (tensor<12x6xf32>, tensor<3x5x4xf32>, tensor<4xi32>) -> tensor<12x4xf32>
}

// -----

step.func @experts_grad_weight_of_too_few_offsets {
  %dy = step.zero : tensor<12x5xf32>
  %x = step.zero : tensor<12x4xf32>
  %o = step.input "offsets" : tensor<3xi32>
  // expected-error @+1 {{'offsets' is 'tensor<3xi32>', expected 4}}
  %d = step.grouped_linear_grad_weight %dy, %x, %o {expected_rows = 12 : i64}
       : (tensor<12x5xf32>, tensor<12x4xf32>, tensor<3xi32>) -> tensor<3x5x4xf32>
}

// -----

step.func @experts_grad_weight_in_bf16 {
  %dy = step.zero : tensor<12x5xbf16>
  %x = step.zero : tensor<12x4xbf16>
  %o = step.input "offsets" : tensor<4xi32>
  // expected-error @+1 {{result #0 must be statically shaped tensor of 32-bit float values, but got 'tensor<3x5x4xbf16>'}}
  %d = step.grouped_linear_grad_weight %dy, %x, %o {expected_rows = 12 : i64}
       : (tensor<12x5xbf16>, tensor<12x4xbf16>, tensor<4xi32>) -> tensor<3x5x4xbf16>
}

// -----

step.func @gate_a_number {
  %x = step.zero : tensor<6x4xf32>
  %g = step.zero : tensor<6x3xf32>
  // expected-error @+1 {{has 18 numbers for rows of 'tensor<6x4xf32>'}}
  %y = step.row_gate %x, %g : (tensor<6x4xf32>, tensor<6x3xf32>) -> tensor<6x4xf32>
}

// -----

step.func @gate_grad_of_another_d_y {
  %x = step.zero : tensor<6x4xf32>
  %dy = step.zero : tensor<6x5xf32>
  %g = step.zero : tensor<6x1xf32>
  // expected-error @+1 {{'y' is 'tensor<6x5xf32>', expected 6 x 4}}
  %d:2 = step.row_gate_grad %dy, %x, %g : (tensor<6x5xf32>, tensor<6x4xf32>, tensor<6x1xf32>) -> (tensor<6x4xf32>, tensor<6x1xf32>)
}

// -----

step.func @gate_grad_of_another_d_gate {
  %x = step.zero : tensor<6x4xf32>
  %g = step.zero : tensor<6x1xf32>
  // expected-error @+1 {{'d_gate' is 'tensor<6xf32>', expected 6 x 1}}
  %d:2 = step.row_gate_grad %x, %x, %g : (tensor<6x4xf32>, tensor<6x4xf32>, tensor<6x1xf32>) -> (tensor<6x4xf32>, tensor<6xf32>)
}
