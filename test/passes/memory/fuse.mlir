// A gradient and its accumulation become one launch where a record serves both.
// RUN: megacc-opt %s -split-input-file -step-fuse --verify-roundtrip | FileCheck %s
// RUN: sed 's/module @\([a-z_]*\) {/module @\1 attributes {megacc.target = "none"} {/' %s | megacc-opt -split-input-file -step-fuse | FileCheck %s --check-prefix=NONE

// Without records nothing is fused.
// NONE-LABEL: module @used_once
// NONE-NOT: step.fused

// The group stands where the gradient stood, in the phase of the gradient and the slot of the accumulation.
// CHECK-LABEL: module @used_once
module @used_once {
  step.parameter @w : tensor<5x4xf32> init normal {block = 2 : i64, decays, trained, init_a = 0.02 : f64}
  step.func @micro_batch {
    %dy = step.input "d_y" : tensor<6x5xf32>
    %x = step.input "x" : tensor<6x4xf32>
    %w = step.read @w : tensor<5x4xf32>
    // CHECK: step.fused attributes {block = 2 : i64, phase = #step.phase<backward>} {
    // CHECK-NEXT: %[[D:.*]] = step.linear_grad_weight
    // CHECK-NEXT: step.accumulate @w, %[[D]] {block = 2 : i64, phase = #step.phase<update>}
    // CHECK-NEXT: step.yield
    // CHECK-NEXT: }
    // CHECK-NEXT: step.linear_grad_input
    // CHECK-NEXT: step.output
    // CHECK-NEXT: }
    %d = step.linear_grad_weight %dy, %x {block = 1 : i64, phase = #step.phase<backward>}
         : (tensor<6x5xf32>, tensor<6x4xf32>) -> tensor<5x4xf32>
    %dx = step.linear_grad_input %dy, %w {block = 1 : i64, phase = #step.phase<backward>}
          : (tensor<6x5xf32>, tensor<5x4xf32>) -> tensor<6x4xf32>
    step.accumulate @w, %d {block = 2 : i64, phase = #step.phase<update>} : tensor<5x4xf32>
    step.output "dx", %dx : tensor<6x4xf32>
  }
}

// -----

// What else the gradient op makes leaves the group.
// CHECK-LABEL: module @other_results
module @other_results {
  step.parameter @norm : tensor<4xf32> init constant {block = 0 : i64, trained, init_a = 1.0 : f64}
  step.func @micro_batch {
    %x = step.input "x" : tensor<6x4xf32>
    %w = step.read @norm : tensor<4xf32>
    // CHECK: %[[DX:.*]] = step.fused : tensor<6x4xf32> attributes {block = 0 : i64, phase = #step.phase<backward>} {
    // CHECK-NEXT: %[[INNER:.*]], %[[D:.*]] = step.rms_norm_grad
    // CHECK-NEXT: step.accumulate @norm, %[[D]]
    // CHECK-NEXT: step.yield %[[INNER]] : tensor<6x4xf32>
    // CHECK: step.output "dx", %[[DX]]
    %dx, %d = step.rms_norm_grad %x, %x, %w {block = 0 : i64, phase = #step.phase<backward>, eps = 1.0e-5 : f64}
              : (tensor<6x4xf32>, tensor<6x4xf32>, tensor<4xf32>) -> (tensor<6x4xf32>, tensor<4xf32>)
    step.accumulate @norm, %d {block = 0 : i64, phase = #step.phase<backward>} : tensor<4xf32>
    step.output "dx", %dx : tensor<6x4xf32>
  }
}

// -----

// A gradient that something else reads must exist.
// CHECK-LABEL: module @used_twice
module @used_twice {
  step.parameter @w : tensor<5x4xf32> init normal {block = 0 : i64, decays, trained, init_a = 0.02 : f64}
  step.func @micro_batch {
    %dy = step.input "d_y" : tensor<6x5xf32>
    %x = step.input "x" : tensor<6x4xf32>
    // CHECK-NOT: step.fused
    // CHECK: %[[D:.*]] = step.linear_grad_weight
    // CHECK-NEXT: step.accumulate @w, %[[D]]
    // CHECK-NEXT: step.output "d", %[[D]]
    %d = step.linear_grad_weight %dy, %x : (tensor<6x5xf32>, tensor<6x4xf32>) -> tensor<5x4xf32>
    step.accumulate @w, %d : tensor<5x4xf32>
    step.output "d", %d : tensor<5x4xf32>
  }
}

// -----

// No kernel adds and accumulates, and none accumulates the gradient of a bias with its convolution.
// CHECK-LABEL: module @no_record
module @no_record {
  step.parameter @w : tensor<6x4xf32> init normal {block = 0 : i64, decays, trained, init_a = 0.02 : f64}
  step.parameter @taps : tensor<4x3xf32> init normal {block = 0 : i64, decays, trained, init_a = 0.02 : f64}
  step.parameter @bias : tensor<4xf32> init constant {block = 0 : i64, trained, init_a = 0.0 : f64}
  step.func @micro_batch {
    %x = step.input "x" : tensor<6x4xf32>
    %taps = step.read @taps : tensor<4x3xf32>
    %bias = step.read @bias : tensor<4xf32>
    // CHECK: %[[S:.*]] = step.add
    // CHECK-NEXT: step.accumulate @w, %[[S]]
    %s = step.add %x, %x : (tensor<6x4xf32>, tensor<6x4xf32>) -> tensor<6x4xf32>
    step.accumulate @w, %s : tensor<6x4xf32>
    // CHECK-NEXT: %[[OUT:.*]]:2 = step.fused : tensor<6x4xf32>, tensor<4xf32> {
    // CHECK-NEXT: %[[DX:.*]], %[[DT:.*]], %[[DB:.*]] = step.causal_conv_grad
    // CHECK-NEXT: step.accumulate @taps, %[[DT]]
    // CHECK-NEXT: step.yield %[[DX]], %[[DB]]
    // CHECK: step.accumulate @bias, %[[OUT]]#1
    %dx, %dt, %db = step.causal_conv_grad %x, %x, %taps, %bias {batch = 2 : i64, sequence = 3 : i64, operandSegmentSizes = array<i32: 1,
                    1, 1, 1, 0>}
                    : (tensor<6x4xf32>, tensor<6x4xf32>, tensor<4x3xf32>, tensor<4xf32>)
                    -> (tensor<6x4xf32>, tensor<4x3xf32>, tensor<4xf32>)
    step.accumulate @bias, %db : tensor<4xf32>
    step.accumulate @taps, %dt : tensor<4x3xf32>
    step.output "dx", %dx : tensor<6x4xf32>
  }
}

// -----

// Two sites of one parameter: in the order of the gradients, whose first overwrites.
// CHECK-LABEL: module @two_sites
module @two_sites {
  step.parameter @w : tensor<5x4xf32> init normal {block = 0 : i64, decays, trained, init_a = 0.02 : f64}
  step.func @micro_batch {
    %a = step.input "a" : tensor<6x5xf32>
    %b = step.input "b" : tensor<6x5xf32>
    // CHECK: %[[A:.*]] = step.input "a"
    // CHECK: %[[B:.*]] = step.input "b"
    %x = step.input "x" : tensor<6x4xf32>
    // CHECK: step.fused {
    // CHECK-NEXT: %[[DA:.*]] = step.linear_grad_weight %[[A]]
    // CHECK-NEXT: step.accumulate @w, %[[DA]] : tensor<5x4xf32>
    // CHECK: step.fused {
    // CHECK-NEXT: %[[DB:.*]] = step.linear_grad_weight %[[B]]
    // CHECK-NEXT: step.accumulate @w, %[[DB]] {adds} : tensor<5x4xf32>
    %da = step.linear_grad_weight %a, %x : (tensor<6x5xf32>, tensor<6x4xf32>) -> tensor<5x4xf32>
    %db = step.linear_grad_weight %b, %x : (tensor<6x5xf32>, tensor<6x4xf32>) -> tensor<5x4xf32>
    step.accumulate @w, %db : tensor<5x4xf32>
    step.accumulate @w, %da {adds} : tensor<5x4xf32>
  }
}

// -----

// One of them cannot be fused and stays behind.
// CHECK-LABEL: module @one_of_two_sites
module @one_of_two_sites {
  step.parameter @w : tensor<5x4xf32> init normal {block = 0 : i64, decays, trained, init_a = 0.02 : f64}
  step.func @micro_batch {
    %a = step.input "a" : tensor<6x5xf32>
    %x = step.input "x" : tensor<6x4xf32>
    %y = step.input "y" : tensor<5x4xf32>
    // CHECK: %[[S:.*]] = step.add
    // CHECK: step.fused {
    // CHECK-NEXT: %[[D:.*]] = step.linear_grad_weight
    // CHECK-NEXT: step.accumulate @w, %[[D]] : tensor<5x4xf32>
    // CHECK: step.accumulate @w, %[[S]] {adds} : tensor<5x4xf32>
    %s = step.add %y, %y : (tensor<5x4xf32>, tensor<5x4xf32>) -> tensor<5x4xf32>
    %d = step.linear_grad_weight %a, %x : (tensor<6x5xf32>, tensor<6x4xf32>) -> tensor<5x4xf32>
    step.accumulate @w, %s : tensor<5x4xf32>
    step.accumulate @w, %d {adds} : tensor<5x4xf32>
  }
}
