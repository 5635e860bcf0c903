// RUN: megacc-opt %s -split-input-file -verify-diagnostics

// expected-error @+1 {{has pieces [2, 4, 4, 5, 1, 0] outside of its 6 rows}}
step.parameter @w : tensor<6x4xf32> init normal {block = 0 : i64, decays, trained,
  init_a = 0.02 : f64, pieces = array<i64: 2, 4, 4, 5, 1, 0>}

// -----

// expected-error @+1 {{has pieces [0, 2, 2, 2, 4, 2] outside of its 6 rows}}
step.parameter @w : tensor<6x4xf32> init normal {block = 0 : i64, decays, trained,
  init_a = 0.02 : f64, pieces = array<i64: 0, 2, 2, 2, 4, 2>}

// -----

// expected-error @+1 {{has 5 numbers of pieces, expected [first, run, stride, rows, count, spacing] of each}}
step.parameter @w : tensor<6x4xf32> init normal {block = 0 : i64, decays, trained,
  init_a = 0.02 : f64, pieces = array<i64: 0, 6, 6, 6, 1>}

// -----

// expected-error @+1 {{has pieces; such a parameter is trained, decays and has rows and columns, of experts or not}}
step.parameter @w : tensor<6xf32> init normal {block = 0 : i64, decays, trained,
  init_a = 0.02 : f64, pieces = array<i64: 0, 1, 1, 1, 1, 0>}

// -----

step.parameter @w : tensor<6x4xf32> init normal {block = 0 : i64, decays, trained,
  init_a = 0.02 : f64, pieces = array<i64: 0, 6, 6, 6, 1, 0>}
step.func @update {
  %sum = step.square_sum muon_f32 : tensor<1xf64>
  %norm = step.norm %sum : (tensor<1xf64>) -> tensor<1xf32>
  %scalars = step.input "scalars" : tensor<3xf32>
  // expected-error @+1 {{updates segment 1 of parameter @w, which has 1}}
  step.muon @w[1], %norm, %scalars : tensor<1xf32>, tensor<3xf32>
}

// -----

step.func @update {
  %sum = step.square_sum muon_f32 : tensor<1xf64>
  %norm = step.norm %sum : (tensor<1xf64>) -> tensor<1xf32>
  %scalars = step.input "scalars" : tensor<3xf32>
  // expected-error @+1 {{unknown parameter @missing}}
  step.muon @missing[0], %norm, %scalars : tensor<1xf32>, tensor<3xf32>
}
