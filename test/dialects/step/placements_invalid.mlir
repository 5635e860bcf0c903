// RUN: megacc-opt %s -split-input-file -verify-diagnostics

step.func @window_of_other_rows {
  %x = step.zero : tensor<6x4xf32>
  // expected-error @+1 {{has x 'tensor<6x4xf32>' for 8 rows}}
  %y = step.window_sum %x {batch = 2 : i64, scale = 0.5 : f64, sequence = 4 : i64, window = 2 : i64} : (tensor<6x4xf32>) -> tensor<6x4xf32>
}

// -----

step.func @window_of_nothing {
  %x = step.zero : tensor<6x4xf32>
  // expected-error @+1 {{has a window of 0 rows, expected at least 1}}
  %y = step.window_sum %x {batch = 2 : i64, scale = 0.5 : f64, sequence = 3 : i64, window = 0 : i64} : (tensor<6x4xf32>) -> tensor<6x4xf32>
}

// -----

step.func @gate_of_columns {
  %x = step.zero : tensor<6x4xf32>
  // expected-error @+1 {{'gate' is 'tensor<6x4xf32>', expected 6 x 1}}
  %y = step.alignment %x, %x {eps = 1.0e-5 : f64} : (tensor<6x4xf32>, tensor<6x4xf32>) -> tensor<6x4xf32>
}

// -----

step.func @components_without_sizes {
  %a = step.input "structure.structure" : tensor<2x3xi32>
  // expected-error @+1 {{has 1 components and 2 sizes; expected the same number, at least 1}}
  %rows = step.component_rows %a {sizes = array<i64: 9, 16>} : (tensor<2x3xi32>) -> tensor<6x2xi32>
}

// -----

step.func @table_without_rows {
  %a = step.input "structure.structure" : tensor<2x3xi32>
  // expected-error @+1 {{has a table without rows}}
  %rows = step.component_rows %a {sizes = array<i64: 0>} : (tensor<2x3xi32>) -> tensor<6x1xi32>
}

// -----

step.func @components_of_other_rows {
  %a = step.input "structure.structure" : tensor<2x3xi32>
  %b = step.input "structure.dep_level" : tensor<3x2xi32>
  // expected-error @+1 {{has components of 'tensor<2x3xi32>' and of 'tensor<3x2xi32>'}}
  %rows = step.component_rows %a, %b {sizes = array<i64: 9, 16>} : (tensor<2x3xi32>, tensor<3x2xi32>) -> tensor<6x2xi32>
}

// -----

step.func @weights_of_other_parts {
  %x = step.zero : tensor<6x8xf32>
  %weight = step.zero : tensor<3xf32>
  // expected-error @+1 {{has a weight of 'tensor<3xf32>' for the columns of 'tensor<6x8xf32>'}}
  %y = step.weighted_parts %x, %weight : (tensor<6x8xf32>, tensor<3xf32>) -> tensor<6x4xf32>
}

// -----

step.func @bank_of_other_heads {
  %q = step.zero : tensor<6x8xf32>
  // expected-error @+1 {{has 3 heads for 8 columns}}
  %y = step.bank_attention %q, %q, %q {heads = 3 : i64, scale = 0.5 : f64}
       : (tensor<6x8xf32>, tensor<6x8xf32>, tensor<6x8xf32>) -> tensor<6x8xf32>
}

// -----

step.func @spans_of_two_places {
  %spans = step.input "stp.spans" : tensor<4x2xi32>
  // expected-error @+1 {{'spans' is 'tensor<4x2xi32>', expected 4 x 3}}
  %count = step.count_spans %spans {batch = 2 : i64} : (tensor<4x2xi32>) -> tensor<1xf32>
}

// -----

step.func @spans_of_other_rows {
  %spans = step.input "stp.spans" : tensor<4x3xi32>
  %documents = step.input "documents" : tensor<2x3xi32>
  // expected-error @+1 {{has documents of 'tensor<2x3xi32>' for 3 rows}}
  %count = step.count_spans %spans, %documents {batch = 3 : i64} : (tensor<4x3xi32>, tensor<2x3xi32>) -> tensor<1xf32>
}

// -----

step.func @straightness_of_other_rows {
  %x = step.zero : tensor<6x8xf32>
  %spans = step.input "stp.spans" : tensor<4x3xi32>
  %count = step.count_spans %spans {batch = 2 : i64} : (tensor<4x3xi32>) -> tensor<1xf32>
  // expected-error @+1 {{has x 'tensor<6x8xf32>' for 8 rows}}
  %loss = step.straightness %x, %spans, %count
          {batch = 2 : i64, layers = 2 : i64, sequence = 4 : i64, weight = 0.05 : f64}
          : (tensor<6x8xf32>, tensor<4x3xi32>, tensor<1xf32>) -> tensor<1xf32>
}
