// Sums: the kernel before or after takes the other side, on a card and, in fp32, on the cpu.
// RUN: megacc-opt %s -split-input-file -step-fuse --verify-roundtrip | FileCheck %s
// RUN: sed -e 's/sm_90a/cpu/' -e 's/bf16/f32/g' %s > %t
// RUN: megacc-opt %t -split-input-file -step-fuse | FileCheck %t

// A product takes the other side of a sum; of two products the later one does, whatever side it is. What reads the product
// otherwise, or needs it before the sum, keeps it apart.
// CHECK-LABEL: module @addend attributes
module @addend attributes {megacc.target = "sm_90a"} {
  step.parameter @w : tensor<16x16xbf16> init normal {block = 0 : i64, decays, trained, init_a = 0.02 : f64}
  step.func @micro_batch {
    %w = step.read @w : tensor<16x16xbf16>
    // CHECK: %[[X:.*]] = step.linear
    // CHECK-NEXT: %[[FUSED:.*]] = step.fused : tensor<8x16xbf16>
    // CHECK-NEXT: %[[Y:.*]] = step.linear_grad_input %[[X]]
    // CHECK-NEXT: %[[SUM:.*]] = step.add %[[X]], %[[Y]]
    // CHECK-NEXT: step.yield %[[SUM]]
    // CHECK: step.linear %[[FUSED]]
    // CHECK: %[[TWICE:.*]] = step.linear
    // CHECK-NEXT: step.add %[[FUSED]], %[[TWICE]]
    // CHECK-NEXT: step.add %{{.*}}, %[[TWICE]]
    // CHECK: %[[SOON:.*]] = step.linear
    // CHECK-NEXT: %[[OTHER:.*]] = step.activation gelu %[[SOON]]
    // CHECK-NEXT: step.add %[[SOON]], %[[OTHER]]
    %zero = step.zero : tensor<8x16xbf16>
    %x = step.linear %zero, %w : (tensor<8x16xbf16>, tensor<16x16xbf16>) -> tensor<8x16xbf16>
    %y = step.linear_grad_input %x, %w : (tensor<8x16xbf16>, tensor<16x16xbf16>) -> tensor<8x16xbf16>
    %s = step.add %x, %y : (tensor<8x16xbf16>, tensor<8x16xbf16>) -> tensor<8x16xbf16>
    %z = step.linear %s, %w : (tensor<8x16xbf16>, tensor<16x16xbf16>) -> tensor<8x16xbf16>
    %t = step.linear %z, %w : (tensor<8x16xbf16>, tensor<16x16xbf16>) -> tensor<8x16xbf16>
    %a = step.add %s, %t : (tensor<8x16xbf16>, tensor<8x16xbf16>) -> tensor<8x16xbf16>
    %b = step.add %a, %t : (tensor<8x16xbf16>, tensor<8x16xbf16>) -> tensor<8x16xbf16>
    %c = step.linear %b, %w : (tensor<8x16xbf16>, tensor<16x16xbf16>) -> tensor<8x16xbf16>
    %d = step.activation gelu %c : (tensor<8x16xbf16>) -> tensor<8x16xbf16>
    %e = step.add %c, %d : (tensor<8x16xbf16>, tensor<8x16xbf16>) -> tensor<8x16xbf16>
    step.output "e", %e : tensor<8x16xbf16>
  }
}

// -----

// A residual sum is made by the norm after it, and stays where something else reads it; the gradient of a norm takes the residual's and is
// accumulated, three ops in one launch.
// CHECK-LABEL: module @residual attributes
module @residual attributes {megacc.target = "sm_90a"} {
  step.parameter @norm : tensor<16xbf16> init constant {block = 1 : i64, trained, init_a = 1.0 : f64}
  step.func @micro_batch {
    // CHECK: %[[SUM:.*]]:2 = step.fused : tensor<8x16xbf16>, tensor<8x16xbf16> attributes {block = 1 : i64, phase = #step.phase<forward>} {
    // CHECK-NEXT: %[[S:.*]] = step.add
    // CHECK-NEXT: %[[N:.*]] = step.rms_norm %[[S]]
    // CHECK-NEXT: step.yield %[[S]], %[[N]]
    // CHECK: step.fused : tensor<8x16xbf16> attributes {block = 1 : i64
    // CHECK-NEXT: %[[D:.*]], %[[W:.*]] = step.rms_norm_grad
    // CHECK-NEXT: step.accumulate @norm, %[[W]]
    // CHECK-NEXT: %[[G:.*]] = step.add %[[SUM]]#0, %[[D]]
    // CHECK-NEXT: step.yield %[[G]]
    %w = step.read @norm : tensor<16xbf16>
    %x = step.zero {block = 0 : i64} : tensor<8x16xbf16>
    %y = step.zero {block = 0 : i64} : tensor<8x16xbf16>
    %s = step.add %x, %y {block = 0 : i64, phase = #step.phase<forward>} : (tensor<8x16xbf16>, tensor<8x16xbf16>) -> tensor<8x16xbf16>
    %n = step.rms_norm %s, %w {block = 1 : i64, phase = #step.phase<forward>, eps = 1.0e-5 : f64} : (tensor<8x16xbf16>,
        tensor<16xbf16>) -> tensor<8x16xbf16>
    %d, %dw = step.rms_norm_grad %n, %s, %w {block = 1 : i64, eps = 1.0e-5 : f64}
              : (tensor<8x16xbf16>, tensor<8x16xbf16>, tensor<16xbf16>) -> (tensor<8x16xbf16>, tensor<16xf32>)
    %g = step.add %s, %d {block = 1 : i64} : (tensor<8x16xbf16>, tensor<8x16xbf16>) -> tensor<8x16xbf16>
    step.accumulate @norm, %dw {block = 1 : i64} : tensor<16xf32>
    step.output "g", %g : tensor<8x16xbf16>
  }
}

// -----

// An op with parameters stays in its slot.
// CHECK-LABEL: module @other_slot attributes
module @other_slot attributes {megacc.target = "sm_90a"} {
  step.parameter @w : tensor<16x16xbf16> init normal {block = 0 : i64, decays, trained, init_a = 0.02 : f64}
  step.func @micro_batch {
    // CHECK-NOT: step.fused
    %w = step.read @w : tensor<16x16xbf16>
    %x = step.zero {block = 0 : i64} : tensor<8x16xbf16>
    %y = step.linear %x, %w {block = 0 : i64} : (tensor<8x16xbf16>, tensor<16x16xbf16>) -> tensor<8x16xbf16>
    %s = step.add %x, %y {block = 1 : i64} : (tensor<8x16xbf16>, tensor<8x16xbf16>) -> tensor<8x16xbf16>
    step.output "s", %s : tensor<8x16xbf16>
  }
}
