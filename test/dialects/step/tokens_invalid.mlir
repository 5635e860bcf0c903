// RUN: megacc-opt %s -split-input-file -verify-diagnostics

step.func @f {
  %tokens = step.input "tokens" : tensor<2x3xi32>
  // expected-error @+1 {{has 2 orders and 1 sizes}}
  %rows = step.ngram_rows %tokens {orders = array<i64: 2, 3>, sizes = array<i64: 7>, seed = 0 : i64} : (tensor<2x3xi32>) -> tensor<6x1xi32>
}

// -----

step.func @f {
  %tokens = step.input "tokens" : tensor<2x3xi32>
  // expected-error @+1 {{has an order below 1}}
  %rows = step.ngram_rows %tokens {orders = array<i64: 0>, sizes = array<i64: 7>, seed = 0 : i64} : (tensor<2x3xi32>) -> tensor<6x1xi32>
}

// -----

step.func @f {
  %tokens = step.input "tokens" : tensor<2x3xi32>
  // expected-error @+1 {{has tables of more rows than an i32 can count}}
  %rows = step.ngram_rows %tokens {orders = array<i64: 2, 2>, sizes = array<i64: 2147483629, 2147483647>, seed = 0 : i64}
          : (tensor<2x3xi32>) -> tensor<6x2xi32>
}

// -----

step.func @f {
  %x = step.zero : tensor<6x4xf32>
  // expected-error @+1 {{turns 'tensor<6x4xf32>' into 'tensor<6x4xf32>'; expected 8 rows of both}}
  %y = step.shift %x {batch = 2 : i64, sequence = 4 : i64, distance = 1 : i64} : (tensor<6x4xf32>) -> tensor<6x4xf32>
}

// -----

step.func @f {
  %table = step.zero : tensor<9x4xf32>
  %ids = step.input "ids" : tensor<6x2xi32>
  // expected-error @+1 {{has a result of 'tensor<6x6xf32>'}}
  %y = step.embedding %table, %ids : (tensor<9x4xf32>, tensor<6x2xi32>) -> tensor<6x6xf32>
}
