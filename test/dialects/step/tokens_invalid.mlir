// RUN: megacc-opt %s -split-input-file -verify-diagnostics

step.func @ngrams_of_other_orders {
  %tokens = step.input "tokens" : tensor<2x3xi32>
  // expected-error @+1 {{has 2 orders and 1 sizes}}
  %rows = step.ngram_rows %tokens {orders = array<i64: 2, 3>, sizes = array<i64: 7>, seed = 0 : i64} : (tensor<2x3xi32>) -> tensor<6x1xi32>
}

// -----

step.func @ngrams_of_order_0 {
  %tokens = step.input "tokens" : tensor<2x3xi32>
  // expected-error @+1 {{has an order below 1}}
  %rows = step.ngram_rows %tokens {orders = array<i64: 0>, sizes = array<i64: 7>, seed = 0 : i64} : (tensor<2x3xi32>) -> tensor<6x1xi32>
}

// -----

step.func @ngrams_of_too_many_rows {
  %tokens = step.input "tokens" : tensor<2x3xi32>
  // expected-error @+1 {{has tables of more rows than an i32 can count}}
  %rows = step.ngram_rows %tokens {orders = array<i64: 2, 2>, sizes = array<i64: 2147483629, 2147483647>, seed = 0 : i64}
          : (tensor<2x3xi32>) -> tensor<6x2xi32>
}

// -----

step.func @shift_of_other_rows {
  %x = step.zero : tensor<6x4xf32>
  // expected-error @+1 {{turns 'tensor<6x4xf32>' into 'tensor<6x4xf32>'; expected 8 rows of both}}
  %y = step.shift %x {batch = 2 : i64, sequence = 4 : i64, distance = 1 : i64} : (tensor<6x4xf32>) -> tensor<6x4xf32>
}

// -----

step.func @ngrams_of_other_tokens {
  %tokens = step.input "tokens" : tensor<2x3xi32>
  // expected-error @+1 {{has 1 orders and 1 sizes for tokens of 'tensor<2x3xi32>' and rows of 'tensor<5x1xi32>'}}
  %rows = step.ngram_rows %tokens {orders = array<i64: 2>, sizes = array<i64: 7>, seed = 0 : i64} : (tensor<2x3xi32>) -> tensor<5x1xi32>
}

// -----

step.func @shift_of_other_documents {
  %x = step.zero : tensor<6x4xf32>
  %d = step.input "documents" : tensor<2x4xi32>
  // expected-error @+1 {{turns 'tensor<6x4xf32>' into 'tensor<6x4xf32>'; expected 6 rows of both}}
  %y = step.shift %x, %d {batch = 2 : i64, sequence = 3 : i64, distance = 1 : i64} : (tensor<6x4xf32>, tensor<2x4xi32>) -> tensor<6x4xf32>
}

// -----

step.func @shift_targets_of_another_shape {
  %t = step.input "targets" : tensor<2x3xi32>
  // expected-error @+1 {{all of {targets, shifted} have same type}}
  %s = step.shift_targets %t {distance = 1 : i64} : (tensor<2x3xi32>) -> tensor<3x2xi32>
}
