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

// -----

step.func @groups_that_ranks_cannot_share {
  %x = step.input "x" : tensor<4x6xf32>
  %offsets = step.input "offsets" : tensor<4xi32>
  // expected-error @+1 {{has 3 groups on 2 ranks, 1 rows of a token at most and 1 on one rank, expected 1}}
  %rows = step.return_rows %x, %offsets {axis = 2 : i64, kept = 1 : i64, most = 1 : i64, ranks = 2 : i64}
          : (tensor<4x6xf32>, tensor<4xi32>) -> tensor<4x6xf32>
}

// -----

step.func @no_room_for_all_rows {
  %x = step.input "x" : tensor<4x6xf32>
  %offsets = step.input "offsets" : tensor<3xi32>
  // expected-error @+1 {{moves rows 'tensor<4x6xf32>' to and from 'tensor<4x6xf32>', expected 8 rows of 6 elements}}
  %mine:2 = step.exchange_rows %x, %offsets {axis = 2 : i64, kept = 1 : i64, most = 1 : i64, ranks = 2 : i64}
          : (tensor<4x6xf32>, tensor<3xi32>) -> (tensor<4x6xf32>, tensor<2xi32>)
}

// -----

step.func @offsets_of_other_groups {
  %x = step.input "x" : tensor<4x6xf32>
  %offsets = step.input "offsets" : tensor<5xi32>
  // expected-error @+1 {{makes offsets of 3 of 4 groups on 2 ranks}}
  %mine:2 = step.exchange_rows %x, %offsets {axis = 2 : i64, kept = 1 : i64, most = 1 : i64, ranks = 2 : i64}
          : (tensor<4x6xf32>, tensor<5xi32>) -> (tensor<8x6xf32>, tensor<4xi32>)
}

// -----

step.func @parts_that_do_not_divide {
  %x = step.input "x" : tensor<6x4xf32>
  %weight = step.input "weight" : tensor<9x4xf32>
  // expected-error @+1 {{has weight 'tensor<9x4xf32>' in 2 parts and statistics of 2}}
  %statistics = step.head_statistics %x, %weight {batch = 2 : i64, parts = 2 : i64} : (tensor<6x4xf32>, tensor<9x4xf32>) -> tensor<2x12xf32>
}

// -----

step.func @statistics_of_other_rows {
  %x = step.input "x" : tensor<6x4xf32>
  %weight = step.input "weight" : tensor<10x4xf32>
  // expected-error @+1 {{'statistics' is 'tensor<2x6xf32>', expected 2 x 12}}
  %statistics = step.head_statistics %x, %weight {batch = 2 : i64, parts = 2 : i64} : (tensor<6x4xf32>, tensor<10x4xf32>) -> tensor<2x6xf32>
}
