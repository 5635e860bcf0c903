// Functions, state, metrics and fused groups.
// RUN: megacc-opt %s -split-input-file -verify-diagnostics

step.func @read_of_nothing {
  // expected-error @+1 {{unknown parameter @missing}}
  %0 = step.read @missing : tensor<4xf32>
}

// -----

step.parameter @w : tensor<4xf32> init constant {block = -1 : i64, trained, init_a = 1.0 : f64}
step.func @read_of_another_shape {
  // expected-error @+1 {{has type 'tensor<5xf32>', but parameter @w has 'tensor<4xf32>'}}
  %0 = step.read @w : tensor<5xf32>
}

// -----

step.parameter @w : tensor<4xbf16> init constant {block = -1 : i64, trained, init_a = 1.0 : f64}
step.func @read_of_another_type {
  // expected-error @+1 {{has type 'tensor<4xf32>', but parameter @w has 'tensor<4xbf16>'}}
  %0 = step.read @w : tensor<4xf32>
}

// -----

// expected-error @+2 {{failed to parse Step_InitializerAttr}}
// expected-error @+1 {{expected ::megacc::step::Initializer to be one of: constant, normal, uniform, dt_bias, a_log, identity}}
step.parameter @w : tensor<4xf32> init ones {block = -1 : i64, trained, init_a = 1.0 : f64}

// -----

// expected-error @+1 {{'type' failed to satisfy constraint}}
step.parameter @w : tensor<4xi32> init constant {block = -1 : i64, trained, init_a = 1.0 : f64}

// -----

step.func @accumulate_of_nothing {
  %x = step.zero : tensor<4xf32>
  // expected-error @+1 {{unknown parameter @missing}}
  step.accumulate @missing, %x : tensor<4xf32>
}

// -----

step.parameter @w : tensor<4xbf16> init constant {block = -1 : i64, trained, init_a = 1.0 : f64}
step.func @accumulate_of_another_shape {
  %x = step.zero : tensor<5xf32>
  // expected-error @+1 {{has type 'tensor<5xf32>', but parameter @w has 'tensor<4xbf16>'}}
  step.accumulate @w, %x : tensor<5xf32>
}

// -----

step.parameter @w : tensor<4xbf16> init constant {block = -1 : i64, trained, init_a = 1.0 : f64}
step.func @accumulate_in_bf16 {
  %x = step.zero : tensor<4xbf16>
  // expected-error @+1 {{operand #0 must be statically shaped tensor of 32-bit float values, but got 'tensor<4xbf16>'}}
  step.accumulate @w, %x : tensor<4xbf16>
}

// -----

step.func @loss_of_two_numbers {
  %x = step.zero : tensor<2xf32>
  // expected-error @+1 {{takes numbers, at least one}}
  step.loss %x {name = "main", weight = 1.0 : f64} : tensor<2xf32>
}

// -----

step.func @output_of_another_shape {
  %x = step.zero : tensor<6x4xf32>
  // expected-error @+1 {{has 'shape' of 12 elements for a value of 24}}
  step.output "x", %x {shape = array<i64: 3, 4>} : tensor<6x4xf32>
}

// -----

step.func @square_sum_of_no_group {
  // expected-error @+2 {{failed to parse Step_GroupAttr}}
  // expected-error @+1 {{expected ::megacc::step::Group to be one of: f32_decays, f32_plain, bf16_decays, bf16_plain, muon_f32, muon_bf16, untrained}}
  %x = step.square_sum decays : tensor<1xf64>
}

// -----

step.func @norm_of_f32 {
  %x = step.zero : tensor<1xf32>
  // expected-error @+1 {{operand #0 must be variadic of statically shaped tensor of 64-bit float values, but got 'tensor<1xf32>'}}
  %n = step.norm %x : (tensor<1xf32>) -> tensor<1xf32>
}

// -----

step.func @dynamic_shape {
  // expected-error @+1 {{must be statically shaped tensor of 32-bit float or bfloat16 type values, but got 'tensor<?x4xf32>'}}
  %x = step.zero : tensor<?x4xf32>
}

// -----

step.func @fused_of_nothing {
  // expected-error @+1 {{expects a non-empty block}}
  step.fused {
  }
}

// -----

step.func @fused_of_one {
  // expected-error @+1 {{needs at least two ops and a step.yield}}
  step.fused {
    %x = step.zero : tensor<4xf32>
    step.yield
  }
}

// -----

step.func @fused_yields_less {
  // expected-error @+1 {{yields 0 values that are not its 1 results}}
  %y = step.fused : tensor<4xf32> {
    %x = step.zero : tensor<4xf32>
    %s = step.add %x, %x : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
    step.yield
  }
}

// -----

step.func @fused_yields_another_type {
  // expected-error @+1 {{yields 1 values that are not its 1 results}}
  %y = step.fused : tensor<5xf32> {
    %x = step.zero : tensor<4xf32>
    %s = step.add %x, %x : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
    step.yield %s : tensor<4xf32>
  }
}

// -----

step.parameter @w : tensor<4xf32> init constant {block = -1 : i64, trained, init_a = 1.0 : f64}
step.func @fused_with_a_read {
  %y = step.fused : tensor<4xf32> {
    // expected-error @+1 {{is not a launch and cannot be part of a fused group}}
    %x = step.read @w : tensor<4xf32>
    %s = step.add %x, %x : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
    step.yield %s : tensor<4xf32>
  }
}

// -----

step.func @yield_outside {
  // expected-error @+1 {{expects parent op 'step.fused'}}
  step.yield
}
