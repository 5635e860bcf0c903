// Wrong shapes of streams and of kept tokens.
// RUN: megacc-opt %s -split-input-file -verify-diagnostics

step.func @streams {
  %x = step.input "x" : tensor<6x9xf32>
  %logits = step.input "logits" : tensor<6x8xf32>
  %bias = step.input "bias" : tensor<8xf32>
  // expected-error @+1 {{has 2 streams, 'tensor<6x9xf32>' and 'tensor<6x4xf32>'}}
  %u, %maps = step.mhc_read %x, %logits, %bias {streams = 2 : i64, iterations = 5 : i64, eps = 1.0e-05 : f64}
      : (tensor<6x9xf32>, tensor<6x8xf32>, tensor<8xf32>) -> (tensor<6x4xf32>, tensor<6x6xf32>)
}

// -----

step.func @logits {
  %x = step.input "x" : tensor<6x8xf32>
  %logits = step.input "logits" : tensor<6x7xf32>
  %bias = step.input "bias" : tensor<8xf32>
  // expected-error @+1 {{'logits' is 'tensor<6x7xf32>', expected 6 x 8}}
  %u, %maps = step.mhc_read %x, %logits, %bias {streams = 2 : i64, iterations = 5 : i64, eps = 1.0e-05 : f64}
      : (tensor<6x8xf32>, tensor<6x7xf32>, tensor<8xf32>) -> (tensor<6x4xf32>, tensor<6x6xf32>)
}

// -----

step.func @iterations {
  %x = step.input "x" : tensor<6x8xf32>
  %bias = step.input "bias" : tensor<8xf32>
  // expected-error @+1 {{has 0 iterations, expected at least 1}}
  %u, %maps = step.mhc_read %x, %x, %bias {streams = 2 : i64, iterations = 0 : i64, eps = 1.0e-05 : f64}
      : (tensor<6x8xf32>, tensor<6x8xf32>, tensor<8xf32>) -> (tensor<6x4xf32>, tensor<6x6xf32>)
}

// -----

step.func @maps {
  %x = step.input "x" : tensor<6x8xf32>
  %v = step.input "v" : tensor<6x4xf32>
  // expected-error @+1 {{'maps' is 'tensor<6x4xf32>', expected 6 x 6}}
  %y = step.mhc_write %x, %v, %v {streams = 2 : i64} : (tensor<6x8xf32>, tensor<6x4xf32>, tensor<6x4xf32>) -> tensor<6x8xf32>
}

// -----

step.func @more_than_there_are {
  %r = step.input "r" : tensor<6x1xf32>
  // expected-error @+1 {{keeps 4 of the 3 tokens of a row}}
  %position = step.mod_select %r {count = 4 : i64} : (tensor<6x1xf32>) -> tensor<2x3xi32>
}

// -----

step.func @other_tokens {
  %r = step.input "r" : tensor<5x1xf32>
  // expected-error @+1 {{'logits' is 'tensor<5x1xf32>', expected 6 x 1}}
  %position = step.mod_select %r {count = 2 : i64} : (tensor<5x1xf32>) -> tensor<2x3xi32>
}

// -----

step.func @uneven_rows {
  %x = step.input "x" : tensor<6x4xf32>
  %position = step.input "position" : tensor<2x3xi32>
  // expected-error @+1 {{has rows 'tensor<6x4xf32>' and kept ones 'tensor<5x4xf32>' for positions 'tensor<2x3xi32>'}}
  %kept = step.mod_take %x, %position : (tensor<6x4xf32>, tensor<2x3xi32>) -> tensor<5x4xf32>
}
