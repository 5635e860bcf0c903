// RUN: megacc-opt %s --verify-roundtrip | FileCheck %s
// RUN: megacc-opt %s --mlir-print-op-generic | megacc-opt | FileCheck %s

// CHECK-LABEL: step.func @moves
step.func @moves {
  %x = step.input "x" : tensor<4x6xf32>
  // CHECK: step.reshard {{.*}} {from = "tp +"{{.*}}} : tensor<4x6xf32>
  %owed = step.reshard %x {from = "tp +", sharding = [""]} : tensor<4x6xf32>
  // CHECK: step.all_reduce {{.*}} {axis = 1 : i64, ranks = 2 : i64} : (tensor<4x6xf32>) -> tensor<4x6xf32>
  %sum = step.all_reduce %x {axis = 1 : i64, ranks = 2 : i64} : (tensor<4x6xf32>) -> tensor<4x6xf32>
  // CHECK: step.take_part {{.*}} {axis = 1 : i64, dim = 1 : i64, ranks = 2 : i64} : (tensor<4x6xf32>) -> tensor<4x3xf32>
  %part = step.take_part %sum {axis = 1 : i64, dim = 1 : i64, ranks = 2 : i64} : (tensor<4x6xf32>) -> tensor<4x3xf32>
  // CHECK: step.gather_parts {{.*}} {axis = 1 : i64, dim = 1 : i64, ranks = 2 : i64} : (tensor<4x3xf32>) -> tensor<4x6xf32>
  %whole = step.gather_parts %part {axis = 1 : i64, dim = 1 : i64, ranks = 2 : i64} : (tensor<4x3xf32>) -> tensor<4x6xf32>
  // CHECK: step.reduce_scatter {{.*}} {axis = 1 : i64, dim = 0 : i64, ranks = 2 : i64} : (tensor<4x6xf32>) -> tensor<2x6xf32>
  %rows_of_sum = step.reduce_scatter %x {axis = 1 : i64, dim = 0 : i64, ranks = 2 : i64} : (tensor<4x6xf32>) -> tensor<2x6xf32>
  %offsets = step.input "offsets" : tensor<3xi32>
  // CHECK: step.exchange_rows {{.*}} {axis = 2 : i64, kept = 1 : i64, most = 1 : i64, ranks = 2 : i64} : (tensor<4x6xf32>, tensor<3xi32>) -> (tensor<8x6xf32>, tensor<2xi32>)
  %mine:2 = step.exchange_rows %x, %offsets {axis = 2 : i64, kept = 1 : i64, most = 1 : i64, ranks = 2 : i64}
          : (tensor<4x6xf32>, tensor<3xi32>) -> (tensor<8x6xf32>, tensor<2xi32>)
  // CHECK: step.return_rows {{.*}} {axis = 2 : i64, kept = 1 : i64, most = 1 : i64, ranks = 2 : i64} : (tensor<8x6xf32>, tensor<3xi32>) -> tensor<4x6xf32>
  %rows = step.return_rows %mine#0, %offsets {axis = 2 : i64, kept = 1 : i64, most = 1 : i64, ranks = 2 : i64}
          : (tensor<8x6xf32>, tensor<3xi32>) -> tensor<4x6xf32>
  // CHECK: step.all_reduce_state gradient "w"[0 : 24] over 0 of 2
  step.all_reduce_state gradient "w" [0 : 24] over 0 of 2
  // CHECK: step.all_reduce_state metric "picks.blocks.1"[0 : 8] over 0 of 2
  step.all_reduce_state metric "picks.blocks.1" [0 : 8] over 0 of 2
  // CHECK: step.reduce_scatter_state f32_decays owing 5 over 0 of 2
  step.reduce_scatter_state f32_decays owing 5 over 0 of 2
  // CHECK: step.gather_state f32_decays owing 5 over 0 of 2
  step.gather_state f32_decays owing 5 over 0 of 2
}

// CHECK-LABEL: step.func @shares_the_vocabulary
step.func @shares_the_vocabulary {
  %x = step.input "x" : tensor<6x4xf32>
  %weight = step.input "weight" : tensor<10x4xf32>
  %targets = step.input "targets" : tensor<2x3xi32>
  %valid = step.count_valid %targets : (tensor<2x3xi32>) -> tensor<1xf32>
  // CHECK: step.head_statistics {{.*}} {batch = 2 : i64, parts = 2 : i64} : (tensor<6x4xf32>, tensor<10x4xf32>) -> tensor<2x12xf32>
  %statistics = step.head_statistics %x, %weight {batch = 2 : i64, parts = 2 : i64}
          : (tensor<6x4xf32>, tensor<10x4xf32>) -> tensor<2x12xf32>
  // CHECK: step.linear_cross_entropy_parts {{.*}} {parts = 2 : i64, scale = 1.000000e+00 : f64}
  %loss:3 = step.linear_cross_entropy_parts %x, %weight, %targets, %valid, %statistics {parts = 2 : i64, scale = 1.0 : f64}
          : (tensor<6x4xf32>, tensor<10x4xf32>, tensor<2x3xi32>, tensor<1xf32>, tensor<2x12xf32>)
          -> (tensor<1xf32>, tensor<6x4xf32>, tensor<10x4xf32>)
  // CHECK: step.linear_cross_entropy_evaluate_parts {{.*}} {batch = 2 : i64, parts = 2 : i64, sequence = 3 : i64}
  %sums:2 = step.linear_cross_entropy_evaluate_parts %x, %weight, %targets, %statistics
          {batch = 2 : i64, parts = 2 : i64, sequence = 3 : i64}
          : (tensor<6x4xf32>, tensor<10x4xf32>, tensor<2x3xi32>, tensor<2x12xf32>) -> (tensor<2xf32>, tensor<2xf32>)
}
