// RUN: megacc-opt %s -split-input-file -verify-diagnostics

step.func @intervene.0 {
  // expected-error @+1 {{unknown parameter @gone}}
  step.fire @gone {iterations = 10 : i64, piece = array<i64: 0, 8, 8, 8, 1, 0>, report = "r"}
}

// -----

step.parameter @w : tensor<8xf32> init normal {block = 0 : i64, init_a = 2.0e-2 : f64, trained}
step.func @intervene.0 {
  // expected-error @+1 {{changes parameter @w, which is no matrix}}
  step.fire @w {iterations = 10 : i64, piece = array<i64: 0, 8, 8, 8, 1, 0>, report = "r"}
}

// -----

step.parameter @w : tensor<8x4xf32> init normal {block = 0 : i64, init_a = 2.0e-2 : f64, trained}
step.func @intervene.0 {
  // expected-error @+1 {{has a piece outside of the 8 rows of @w}}
  step.dash @w {floor = 0.3 : f64, margin = 0.05 : f64, piece = array<i64: 4, 5, 5, 5, 1, 0>, rate = 0.01 : f64, report = "r"}
}

// -----

step.parameter @w : tensor<8x4xf32> init normal {block = 0 : i64, init_a = 2.0e-2 : f64, trained}
step.func @intervene.0 {
  // expected-error @+1 {{has 3 numbers of a piece, expected [first, run, stride, rows, count, spacing]}}
  step.fire @w {iterations = 10 : i64, piece = array<i64: 0, 8, 8>, report = "r"}
}

// -----

step.parameter @up : tensor<8x4xf32> init normal {block = 0 : i64, init_a = 2.0e-2 : f64, trained}
step.parameter @down : tensor<4x8xf32> init normal {block = 0 : i64, init_a = 2.0e-2 : f64, trained}
step.func @intervene.0 {
  %step = step.input "step" : tensor<1xi32>
  // expected-error @+1 {{pairs @up 'tensor<8x4xf32>' with @down 'tensor<4x8xf32>', 2 rows a column}}
  step.redo @up, @down, %step {activity = "a", deviation = 0.02 : f64, halves = 2 : i64, least = 20 : i64, report = "r",
    seen = 48 : i64, tau = 0.1 : f64} : tensor<1xi32>
}
