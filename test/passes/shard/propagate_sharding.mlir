// How values are shared follows from parameters, rows and sharding rules.
// RUN: megacc-opt %s -split-input-file -step-propagate-sharding | FileCheck %s

// Rows over dp; the width of a swiglu, gate and up each, over tp; summands where it was summed over, in both directions.
// CHECK-LABEL: module @mlp
module @mlp attributes {megacc.config = {mesh = {dp = 2, tp = 2, ep = 1}}} {
  step.parameter @up : tensor<16x4xf32> init normal {block = 0 : i64, trained, decays, init_a = 0.02 : f64, sharding = "tp 0:2x8/"}
  step.parameter @down : tensor<4x8xf32> init normal {block = 0 : i64, trained, decays, init_a = 0.02 : f64, sharding = "tp 1:8/"}
  step.func @micro_batch {
    // CHECK: step.input "x" {sharding = ["dp 0:6/"]}
    %x = step.input "x" : tensor<6x4xf32>
    // CHECK: step.read @up {sharding = ["tp 0:2x8/"]}
    %up = step.read @up : tensor<16x4xf32>
    %down = step.read @down : tensor<4x8xf32>
    // CHECK: step.linear {{.*}}needs = ["dp 0:6/", "tp 0:2x8/"], sharding = ["dp 0:6/; tp 1:2x8/"], splits = {dp = {t = 3 : i64}, tp = {o = 8 : i64}}
    %u = step.linear %x, %up : (tensor<6x4xf32>, tensor<16x4xf32>) -> tensor<6x16xf32>
    // CHECK: step.activation swiglu {{.*}}sharding = ["dp 0:6/; tp 1:8/"], splits = {dp = {t = 3 : i64}, tp = {w = 4 : i64}}
    %a = step.activation swiglu %u : (tensor<6x16xf32>) -> tensor<6x8xf32>
    // CHECK: step.linear {{.*}}needs = ["dp 0:6/; tp 1:8/", "tp 1:8/"], sharding = ["dp 0:6/; tp +"]
    %y = step.linear %a, %down : (tensor<6x8xf32>, tensor<4x8xf32>) -> tensor<6x4xf32>
    // What comes beside a sum that is owed is whole: the sum is made here.
    // CHECK: step.add {{.*}}needs = ["dp 0:6/", "dp 0:6/"], sharding = ["dp 0:6/"]
    %r = step.add %x, %y : (tensor<6x4xf32>, tensor<6x4xf32>) -> tensor<6x4xf32>
    // CHECK: step.linear_grad_weight {{.*}}sharding = ["dp +; tp 1:8/"]
    %dw = step.linear_grad_weight %r, %a : (tensor<6x4xf32>, tensor<6x8xf32>) -> tensor<4x8xf32>
    // CHECK: step.accumulate @down, {{.*}}needs = ["dp +; tp 1:8/"]
    step.accumulate @down, %dw : tensor<4x8xf32>
    // CHECK: step.linear_grad_input {{.*}}sharding = ["dp 0:6/; tp 1:8/"]
    %da = step.linear_grad_input %r, %down : (tensor<6x4xf32>, tensor<4x8xf32>) -> tensor<6x8xf32>
    // CHECK: step.activation_grad swiglu {{.*}}sharding = ["dp 0:6/; tp 1:2x8/"]
    %du = step.activation_grad swiglu %da, %u : (tensor<6x8xf32>, tensor<6x16xf32>) -> tensor<6x16xf32>
    // CHECK: step.linear_grad_input {{.*}}sharding = ["dp 0:6/; tp +"]
    %dx = step.linear_grad_input %du, %up : (tensor<6x16xf32>, tensor<16x4xf32>) -> tensor<6x4xf32>
    // A host sees no summands; rows are those of the rank.
    // CHECK: step.output "d_x", {{.*}}needs = ["dp 0:6/"]
    step.output "d_x", %dx : tensor<6x4xf32>
  }
}

// -----

// What all ranks have of a projection, and the summands that come back to it, which linear maps carry on.
// CHECK-LABEL: module @packed
module @packed attributes {megacc.config = {mesh = {tp = 2}}} {
  step.parameter @in : tensor<10x4xf32> init normal {block = 0 : i64, trained, decays, init_a = 0.02 : f64, sharding = "tp 0:8/,2"}
  step.func @micro_batch {
    %x = step.input "x" : tensor<6x4xf32>
    %in = step.read @in : tensor<10x4xf32>
    // CHECK: step.linear {{.*}}sharding = ["tp 1:8/,2"], splits = {tp = {o = 6 : i64}}
    %p = step.linear %x, %in : (tensor<6x4xf32>, tensor<10x4xf32>) -> tensor<6x10xf32>
    // CHECK: step.split {{.*}}sharding = ["tp 1:8/", ""], splits = {tp = {c0 = 4 : i64}}
    %parts:2 = step.split %p {groups = 1 : i64, widths = array<i64: 8, 2>} : (tensor<6x10xf32>) -> (tensor<6x8xf32>, tensor<6x2xf32>)
    // CHECK: step.sum_groups {{.*}}sharding = ["tp +"], splits = {tp = {g = 2 : i64}}
    %s = step.sum_groups %parts#0 {groups = 4 : i64} : (tensor<6x8xf32>) -> tensor<6x2xf32>
    // CHECK: step.concat {{.*}}needs = ["tp 1:8/", "tp +"], sharding = ["tp 1:8/,2+"]
    %d = step.concat %parts#0, %s {groups = 1 : i64, widths = array<i64: 8, 2>} : (tensor<6x8xf32>, tensor<6x2xf32>) -> tensor<6x10xf32>
    // CHECK: step.linear_grad_weight {{.*}}sharding = ["tp 0:8/,2+"]
    %dw = step.linear_grad_weight %d, %x : (tensor<6x10xf32>, tensor<6x4xf32>) -> tensor<10x4xf32>
    // CHECK: step.linear_grad_input {{.*}}sharding = ["tp +"]
    %dx = step.linear_grad_input %d, %in : (tensor<6x10xf32>, tensor<10x4xf32>) -> tensor<6x4xf32>
    // CHECK: step.accumulate @in, {{.*}}needs = ["tp 0:8/,2+"]
    step.accumulate @in, %dw : tensor<10x4xf32>
  }
}

// -----

// Without a mesh nothing is marked.
// CHECK-LABEL: module @alone
// CHECK-NOT: sharding
module @alone {
  step.func @micro_batch {
    %x = step.input "x" : tensor<6x4xf32>
    step.output "x", %x : tensor<6x4xf32>
  }
}
