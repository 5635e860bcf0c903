// Values get the shapes of a rank's part, reshards become collectives, attributes follow the factors.
// RUN: megacc-opt %s -split-input-file -step-propagate-sharding -step-insert-reshards -step-partition -step-check-local | FileCheck %s

// CHECK-LABEL: module @attention
module @attention attributes {megacc.config = {mesh = {dp = 2, tp = 2, ep = 1}}} {
  // CHECK: step.parameter @qkv : tensor<8x4xf32> init normal {{.*}}sharding = "tp 0:8/,2x4/", {{.*}}whole = tensor<16x4xf32>
  step.parameter @qkv : tensor<16x4xf32> init normal {block = 0 : i64, trained, decays, init_a = 0.02 : f64, sharding = "tp 0:8/,2x4/"}
  // CHECK: step.parameter @table : tensor<5x4xf32> init normal {{.*}}whole = tensor<10x4xf32>
  step.parameter @table : tensor<10x4xf32> init normal {block = -1 : i64, trained, decays, init_a = 0.02 : f64, sharding = "tp 0:10/"}
  step.func @micro_batch {
    // CHECK: step.input "tokens" {{.*}}: tensor<1x3xi32>
    %tokens = step.input "tokens" : tensor<2x3xi32>
    %table = step.read @table : tensor<10x4xf32>
    // Every rank looks up the tokens of its part of the vocabulary; the sum over tp has all.
    // CHECK: %[[ROWS:.*]] = step.embedding {{.*}} {vocab_axis = 1 : i64} : (tensor<5x4xf32>, tensor<1x3xi32>) -> tensor<3x4xf32>
    // CHECK: %[[X:.*]] = step.all_reduce %[[ROWS]] {axis = 1 : i64, ranks = 2 : i64}
    %x = step.embedding %table, %tokens : (tensor<10x4xf32>, tensor<2x3xi32>) -> tensor<6x4xf32>
    %w = step.read @qkv : tensor<16x4xf32>
    // CHECK: step.linear %[[X]]{{.*}} -> tensor<3x8xf32>
    %p = step.linear %x, %w : (tensor<6x4xf32>, tensor<16x4xf32>) -> tensor<6x16xf32>
    // CHECK: step.split {{.*}} {groups = 1 : i64, widths = array<i64: 4, 2, 2>} : (tensor<3x8xf32>) -> (tensor<3x4xf32>, tensor<3x2xf32>, tensor<3x2xf32>)
    %qkv:3 = step.split %p {groups = 1 : i64, widths = array<i64: 8, 4, 4>} 
             : (tensor<6x16xf32>) -> (tensor<6x8xf32>, tensor<6x4xf32>, tensor<6x4xf32>)
    // CHECK: %[[Y:.*]] = step.attention {{.*}} {batch = 1 : i64, {{.*}}heads = 2 : i64, kv_heads = 1 : i64, {{.*}}sequence = 3 : i64
    %y = step.attention %qkv#0, %qkv#1, %qkv#2 {batch = 2 : i64, sequence = 3 : i64, heads = 4 : i64, kv_heads = 2 : i64, qk_dim = 2 : i64,
        v_dim = 2 : i64, scale = 0.5 : f64} : (tensor<6x8xf32>, tensor<6x4xf32>, tensor<6x4xf32>) -> tensor<6x8xf32>
    // The host sees its rank's rows with all channels.
    // CHECK: %[[ALL:.*]] = step.gather_parts %[[Y]] {axis = 1 : i64, dim = 1 : i64, ranks = 2 : i64} : (tensor<3x4xf32>) -> tensor<3x8xf32>
    // CHECK: step.output "y", %[[ALL]] {shape = array<i64: 1, 3, 8>}
    step.output "y", %y {shape = array<i64: 2, 3, 8>} : tensor<6x8xf32>
    // CHECK-NOT: sharding
  }
  step.func @update {
  }
}

// -----

// Rows go to the ranks of their experts and come back. Of the 8 tokens each rank of dp x ep has 2, with 2 rows each; of a token at most
// min(2, 4 / 2) = 2 rows are of one rank's experts, so that it has room for 2 x 2 x 2. The gradient of the experts is owed over dp alone.
// CHECK-LABEL: module @experts
module @experts attributes {megacc.config = {mesh = {dp = 2, tp = 1, ep = 2}}} {
  step.parameter @w : tensor<4x6x3xf32> init normal {block = 0 : i64, trained, decays, init_a = 0.02 : f64, sharding = "ep 0:4/"}
  step.func @micro_batch {
    // CHECK: %[[X:.*]] = step.input "x" {{.*}}: tensor<2x3xf32>
    %x = step.input "x" : tensor<8x3xf32>
    %logits = step.input "logits" : tensor<8x4xf32>
    // CHECK: step.moe_route {{.*}} -> (tensor<2x2xf32>, tensor<2x2xi32>, tensor<2x2xi32>, tensor<5xi32>)
    %route:4 = step.moe_route %logits
            {experts = 4 : i64, slots = 2 : i64, nulls = 0 : i64, scale = 1.0 : f64, aux = 0.0 : f64, z = 0.0 : f64}
             : (tensor<8x4xf32>) -> (tensor<8x2xf32>, tensor<8x2xi32>, tensor<8x2xi32>, tensor<5xi32>)
    %rows = step.moe_dispatch %x, %route#2, %route#3 : (tensor<8x3xf32>, tensor<8x2xi32>, tensor<5xi32>) -> tensor<16x3xf32>
    // CHECK: step.exchange_rows {{.*}} -> (tensor<8x3xf32>, tensor<3xi32>)
    %mine:2 = step.exchange_rows %rows, %route#3 {kept = 2 : i64, most = 2 : i64, ranks = 2 : i64, axis = 2 : i64}
            : (tensor<16x3xf32>, tensor<5xi32>) -> (tensor<32x3xf32>, tensor<5xi32>)
    %w = step.read @w : tensor<4x6x3xf32>
    // CHECK: step.grouped_linear {{.*}} {expected_rows = 4 : i64} : (tensor<8x3xf32>, tensor<2x6x3xf32>, tensor<3xi32>) -> tensor<8x6xf32>
    %y = step.grouped_linear %mine#0, %w, %mine#1 {expected_rows = 16 : i64}
            : (tensor<32x3xf32>, tensor<4x6x3xf32>, tensor<5xi32>) -> tensor<32x6xf32>
    // CHECK: step.activation gelu {{.*}} : (tensor<8x6xf32>) -> tensor<8x6xf32>
    %a = step.activation gelu %y : (tensor<32x6xf32>) -> tensor<32x6xf32>
    // CHECK: step.return_rows {{.*}} : (tensor<8x6xf32>, tensor<5xi32>) -> tensor<4x6xf32>
    %back = step.return_rows %a, %route#3 {kept = 2 : i64, most = 2 : i64, ranks = 2 : i64, axis = 2 : i64}
            : (tensor<32x6xf32>, tensor<5xi32>) -> tensor<16x6xf32>
    // CHECK: step.moe_combine {{.*}} -> tensor<2x6xf32>
    %z = step.moe_combine %back, %route#2, %route#3 : (tensor<16x6xf32>, tensor<8x2xi32>, tensor<5xi32>) -> tensor<8x6xf32>
    step.output "z", %z : tensor<8x6xf32>
    %dw = step.grouped_linear_grad_weight %a, %mine#0, %mine#1 {expected_rows = 16 : i64}
            : (tensor<32x6xf32>, tensor<32x3xf32>, tensor<5xi32>) -> tensor<4x6x3xf32>
    // CHECK: step.accumulate @w, {{.*}} : tensor<2x6x3xf32>
    step.accumulate @w, %dw : tensor<4x6x3xf32>
  }
  // CHECK: step.func @update
  // CHECK-NEXT: step.all_reduce_state gradient "*f32_decays"[0 : 128] over 0 of 2
  // CHECK-NOT: step.all_reduce_state
  step.func @update {
  }
}
