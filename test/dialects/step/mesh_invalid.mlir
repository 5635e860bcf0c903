// RUN: megacc-opt %s -split-input-file -verify-diagnostics

step.func @part_of_no_dimension {
  %x = step.input "x" : tensor<4x6xf32>
  // expected-error @+1 {{names dimension 2 of 'tensor<4x3xf32>'}}
  %part = step.take_part %x {axis = 1 : i64, dim = 2 : i64, ranks = 2 : i64} : (tensor<4x6xf32>) -> tensor<4x3xf32>
}

// -----

step.func @part_of_other_size {
  %x = step.input "x" : tensor<4x6xf32>
  // expected-error @+1 {{'the whole' is 'tensor<4x6xf32>', expected 4 x 9}}
  %part = step.take_part %x {axis = 1 : i64, dim = 1 : i64, ranks = 3 : i64} : (tensor<4x6xf32>) -> tensor<4x3xf32>
}

// -----

step.func @gathered_to_other_size {
  %x = step.input "x" : tensor<4x3xf32>
  // expected-error @+1 {{'the whole' is 'tensor<4x6xf32>', expected 8 x 3}}
  %whole = step.gather_parts %x {axis = 1 : i64, dim = 0 : i64, ranks = 2 : i64} : (tensor<4x3xf32>) -> tensor<4x6xf32>
}
