// Disagreements become reshards, what is owed of state is summed at the start of @update.
// RUN: megacc-opt %s -split-input-file -step-propagate-sharding -step-insert-reshards | FileCheck %s
// RUN: megacc-opt %s -split-input-file -step-propagate-sharding -step-insert-reshards=explain=true 2>&1 | FileCheck %s --check-prefix=WHY

// WHY: "" is shared as "dp 0:6/; tp +", 'step.add' at "" needs it as "dp 0:6/"

// CHECK-LABEL: module @mlp
module @mlp attributes {megacc.config = {mesh = {dp = 2, tp = 2, ep = 1}}} {
  step.parameter @down : tensor<4x8xf32> init normal {block = 0 : i64, trained, decays, init_a = 0.02 : f64, sharding = "tp 1:8/"}
  step.parameter @w : tensor<4x4xf32> init normal {block = 0 : i64, trained, decays, init_a = 0.02 : f64}
  step.func @micro_batch {
    %x = step.input "x" {block = 0 : i64, phase = #step.phase<forward>} : tensor<6x4xf32>
    %a = step.input "a" {block = 0 : i64, phase = #step.phase<forward>} : tensor<6x8xf32>
    %down = step.read @down {block = 0 : i64, phase = #step.phase<forward>} : tensor<4x8xf32>
    %y = step.linear %a, %down {block = 0 : i64, phase = #step.phase<forward>} : (tensor<6x8xf32>, tensor<4x8xf32>) -> tensor<6x4xf32>
    // One reshard for both that need it; the activation `a`, which all ranks have, is cut without moving anything.
    // CHECK: %[[CUT:.*]] = step.reshard %{{.*}} {block = 0 : i64, from = "dp 0:6/", phase = #step.phase<forward>, sharding = ["dp 0:6/; tp 1:8/"]}
    // CHECK: %[[Y:.*]] = step.linear %[[CUT]]
    // CHECK: %[[SUM:.*]] = step.reshard %[[Y]] {block = 0 : i64, from = "dp 0:6/; tp +", phase = #step.phase<forward>, sharding = ["dp 0:6/"]}
    // CHECK: step.add %{{.*}}, %[[SUM]] {block = 0 : i64, phase = #step.phase<forward>, sharding = ["dp 0:6/"]
    // CHECK-NOT: step.reshard
    // CHECK: step.add %{{.*}}, %[[SUM]]
    %r = step.add %x, %y {block = 0 : i64, phase = #step.phase<forward>} : (tensor<6x4xf32>, tensor<6x4xf32>) -> tensor<6x4xf32>
    %s = step.add %r, %y {block = 0 : i64, phase = #step.phase<forward>} : (tensor<6x4xf32>, tensor<6x4xf32>) -> tensor<6x4xf32>
    %dd = step.linear_grad_weight %s, %a {block = 0 : i64, phase = #step.phase<backward>}
         : (tensor<6x4xf32>, tensor<6x8xf32>) -> tensor<4x8xf32>
    step.accumulate @down, %dd {block = 0 : i64, phase = #step.phase<backward>} : tensor<4x8xf32>
    %dw = step.linear_grad_weight %s, %x {block = 0 : i64, phase = #step.phase<backward>}
         : (tensor<6x4xf32>, tensor<6x4xf32>) -> tensor<4x4xf32>
    step.accumulate @w, %dw {block = 0 : i64, phase = #step.phase<backward>} : tensor<4x4xf32>
  }
  // The whole group is owed over dp; the squares are summed over tp, on which @w is whole and counts once.
  // CHECK: step.func @update
  // CHECK-NEXT: step.all_reduce_state gradient "*f32_decays"[0 : 256] over 0 of 2
  // CHECK-NEXT: %[[PART:.*]] = step.square_sum f32_decays {{.*}}sharding = ["tp +"], shared = array<i64: 128, 144, 2>}
  // CHECK-NEXT: %[[ALL:.*]] = step.reshard %[[PART]] {{.*}}from = "tp +"
  // CHECK-NEXT: step.norm %[[ALL]]
  step.func @update {
    %sum = step.square_sum f32_decays {block = -1 : i64, phase = #step.phase<update>} : tensor<1xf64>
    %norm = step.norm %sum {block = -1 : i64, phase = #step.phase<update>} : (tensor<1xf64>) -> tensor<1xf32>
    step.set_metric "grad_norm", %norm {block = -1 : i64, phase = #step.phase<update>} : tensor<1xf32>
  }
}

// -----

// Two axes: @experts is cut by both, @up by tp, @router by none; what all ranks of an axis have counts on the first of it alone.
// CHECK-LABEL: module @two_axes
module @two_axes attributes {megacc.config = {mesh = {dp = 1, tp = 2, ep = 2}}} {
  step.parameter @experts : tensor<2x8x8xf32>
          init normal {block = 0 : i64, trained, decays, init_a = 0.02 : f64, sharding = "tp 1:8/; ep 0:2/"}
  step.parameter @up : tensor<8x4xf32> init normal {block = 0 : i64, trained, decays, init_a = 0.02 : f64, sharding = "tp 0:8/"}
  step.parameter @router : tensor<2x4xf32> init normal {block = 0 : i64, trained, decays, init_a = 0.02 : f64}
  // CHECK: %[[PART:.*]] = step.square_sum f32_decays {{.*}}sharding = ["tp +; ep +"], shared = array<i64: 128, 144, 4, 256, 264, 6>}
  // CHECK-NEXT: step.reshard %[[PART]] {{.*}}from = "tp +; ep +"
  step.func @update {
    %sum = step.square_sum f32_decays {block = -1 : i64, phase = #step.phase<update>} : tensor<1xf64>
    %norm = step.norm %sum {block = -1 : i64, phase = #step.phase<update>} : (tensor<1xf64>) -> tensor<1xf32>
    step.set_metric "grad_norm", %norm {block = -1 : i64, phase = #step.phase<update>} : tensor<1xf32>
  }
}

// -----

// With zero = 1, ranks sum, square and update their parts: @w over both data axes, dp first, @experts over dp alone.
// CHECK-LABEL: module @shared_updates
// CHECK: step.parameter @w {{.*}}owes = 5
// CHECK: step.parameter @experts {{.*}}owes = 1
module @shared_updates attributes {megacc.config = {mesh = {dp = 2, tp = 1, ep = 2}, zero = 1 : i64}} {
  step.parameter @w : tensor<4x4xf32> init normal {block = 0 : i64, trained, decays, init_a = 0.02 : f64}
  step.parameter @experts : tensor<2x4x4xf32> init normal {block = 0 : i64, trained, decays, init_a = 0.02 : f64, sharding = "ep 0:2/"}
  step.func @micro_batch {
    %x = step.input "x" {block = 0 : i64, phase = #step.phase<forward>} : tensor<8x4xf32>
    %dw = step.linear_grad_weight %x, %x {block = 0 : i64, phase = #step.phase<backward>}
         : (tensor<8x4xf32>, tensor<8x4xf32>) -> tensor<4x4xf32>
    step.accumulate @w, %dw {block = 0 : i64, phase = #step.phase<backward>} : tensor<4x4xf32>
    %zero = step.zero {block = 0 : i64, phase = #step.phase<backward>} : tensor<2x4x4xf32>
    step.accumulate @experts, %zero {block = 0 : i64, phase = #step.phase<backward>} : tensor<2x4x4xf32>
  }
  // CHECK: step.func @update
  // CHECK: step.reduce_scatter_state f32_decays owing 5 over 0 of 2
  // CHECK: step.reduce_scatter_state f32_decays owing 5 over 2 of 2
  // CHECK: step.square_sum f32_decays {{.*}}owes = 5 : i64, {{.*}}sharding = ["dp +; ep +"], shared = array<i64>}
  // CHECK: step.adamw f32_decays, {{.*}}owes = 5
  // CHECK-NEXT: step.gather_state f32_decays owing 5 over 2 of 2
  // CHECK-NEXT: step.gather_state f32_decays owing 5 over 0 of 2
  step.func @update {
    %sum = step.square_sum f32_decays {block = -1 : i64, phase = #step.phase<update>} : tensor<1xf64>
    %norm = step.norm %sum {block = -1 : i64, phase = #step.phase<update>} : (tensor<1xf64>) -> tensor<1xf32>
    %scalars = step.input "scalars" {block = -1 : i64, phase = #step.phase<update>} : tensor<3xf32>
    step.adamw f32_decays, %norm, %scalars {block = -1 : i64, phase = #step.phase<update>} : tensor<1xf32>, tensor<3xf32>
  }
}
