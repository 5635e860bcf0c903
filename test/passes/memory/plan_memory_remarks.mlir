// Every decision is a remark where the option asks for it, and none where it does not.
// RUN: megacc-opt %s "-step-plan-memory=recompute=A:norm remarks" -verify-diagnostics
// RUN: megacc-opt %s "-step-plan-memory=recompute=A:norm" 2>&1 | FileCheck %s
// CHECK-NOT: remark:
// expected-remark @unknown {{A:norm: computed again, 1 op, 192 bytes not kept, 0.001 ms a micro-batch}}
// expected-remark @unknown {{A:mixer/up: kept, 1 op, 192 bytes, computing again would take 0.001 ms a micro-batch}}
module attributes {megacc.target = "sm_90a", megacc.slots = [{family = "mlp", letter = "A", slot = 0 : i64}]} {
  step.parameter @u : tensor<16x16xbf16> init normal {block = 0 : i64, trained, init_a = 0.02 : f64}
  step.func @micro_batch {
    %x = step.zero {block = -1 : i64} : tensor<6x16xbf16>
    %n = step.zero {block = -1 : i64} : tensor<16xbf16>
    %u = step.read @u {block = 0 : i64} : tensor<16x16xbf16>
    %y = step.rms_norm %x, %n {block = 0 : i64, eps = 1.0e-5 : f64}
         : (tensor<6x16xbf16>, tensor<16xbf16>) -> tensor<6x16xbf16> loc("blocks.0/norm")
    %h = step.linear %y, %u {block = 0 : i64} : (tensor<6x16xbf16>, tensor<16x16xbf16>) -> tensor<6x16xbf16> loc("blocks.0.mixer/up")
    %a = step.activation gelu %h {block = 0 : i64} : (tensor<6x16xbf16>) -> tensor<6x16xbf16> loc("blocks.0.mixer/activation")
    step.output "r", %a {block = -1 : i64, phase = #step.phase<forward>} : tensor<6x16xbf16>
    %3 = step.activation_grad gelu %a, %h {block = 0 : i64, phase = #step.phase<backward>}
         : (tensor<6x16xbf16>, tensor<6x16xbf16>) -> tensor<6x16xbf16>
    %4 = step.linear_grad_weight %3, %y {block = 0 : i64, phase = #step.phase<backward>}
         : (tensor<6x16xbf16>, tensor<6x16xbf16>) -> tensor<16x16xf32>
    step.accumulate @u, %4 {block = 0 : i64, phase = #step.phase<backward>} : tensor<16x16xf32>
  }
}
