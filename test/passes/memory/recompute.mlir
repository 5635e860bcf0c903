// What the backward computes again: marks of step-plan-memory, clones of step-apply-memory.
// RUN: megacc-opt %s -step-plan-memory=recompute=full | FileCheck %s --check-prefix=PLAN
// RUN: megacc-opt %s -step-plan-memory=recompute=full -step-apply-memory --verify-roundtrip | FileCheck %s --check-prefixes=CHECK,FULL
// RUN: megacc-opt %s "-step-plan-memory=recompute=A:norm,*/up" -step-apply-memory | FileCheck %s --check-prefixes=CHECK,SOME
// RUN: megacc-opt %s -step-plan-memory | FileCheck %s --check-prefix=NONE
// NONE-NOT: recompute
// RUN: not megacc-opt %s "-step-plan-memory=recompute=A:up,norm,B:*" 2>&1 | FileCheck %s --check-prefix=ERROR
// A name without a letter is that of the whole model.
// ERROR-DAG: recompute: A:up matches no op of the forward; the nearest are A:norm, A:mixer/up
// ERROR-DAG: recompute: norm matches no op of the forward
// ERROR-DAG: recompute: B:* matches no op of the forward

// Nothing is said of the residual, which the head reads, nor of what nobody reads again.
// PLAN: megacc.decisions = [{alternatives = [{bytes = 192 : i64, choice = "kept", milliseconds = 0.000000e+00 : f64}], block = "A",
// PLAN-SAME: bytes = 0 : i64, choice = "computed again", milliseconds = {{[0-9.e-]+}} : f64,
// PLAN-SAME: reason = "1 op, 192 bytes not kept, 0.001 ms a micro-batch", slots = array<i64: 0>, value = "norm"},
// PLAN-SAME: value = "mixer/up"}, {{.*}} value = "mixer/activation"}]
module attributes {megacc.target = "sm_90a", megacc.slots = [{family = "mlp", letter = "A", slot = 0 : i64}]} {
  step.parameter @n : tensor<16xbf16> init constant {block = 0 : i64, trained, init_a = 1.0 : f64}
  step.parameter @u : tensor<16x16xbf16> init normal {block = 0 : i64, trained, init_a = 0.02 : f64}
  step.parameter @d : tensor<16x16xbf16> init normal {block = 0 : i64, trained, init_a = 0.02 : f64}
  // CHECK-LABEL: step.func @micro_batch
  step.func @micro_batch {
    %x = step.zero {block = -1 : i64} : tensor<6x16xbf16>
    %delta = step.zero {block = -1 : i64} : tensor<6x16xbf16>
    %n = step.read @n {block = 0 : i64} : tensor<16xbf16>
    %u = step.read @u {block = 0 : i64} : tensor<16x16xbf16>
    %d = step.read @d {block = 0 : i64} : tensor<16x16xbf16>
    // Half of a group: the sum, of another block, is kept. Where the clone stands before what reads the cache, it keeps it.
    // PLAN: step.add
    // PLAN-NOT: recompute
    // PLAN: step.rms_norm {{.*}}recompute
    // PLAN: step.linear {{.*}}recompute
    // PLAN: step.activation {{.*}}recompute
    // PLAN: step.linear {{.*}}recompute
    // CHECK: %[[GROUP:.*]]:2 = step.fused
    // CHECK: step.rms_norm {{.*}} {{[{].*}}nonfinite = "bad"
    // CHECK-NOT: cached
    // CHECK: step.yield
    // CHECK: %[[UP:.*]] = step.linear
    // CHECK: %[[ACT:.*]] = step.activation gelu %[[UP]]
    // CHECK: %[[DOWN:.*]] = step.linear
    // CHECK: step.add
    %g:2 = step.fused : tensor<6x16xbf16>, tensor<6x16xbf16> attributes {block = 0 : i64} {
      %s = step.add %x, %delta {block = -1 : i64} : (tensor<6x16xbf16>, tensor<6x16xbf16>) -> tensor<6x16xbf16> loc("embedding/sum")
      %y = step.rms_norm %s, %n {block = 0 : i64, eps = 1.0e-5 : f64, nonfinite = "bad", pair = 0 : i64}
           : (tensor<6x16xbf16>, tensor<16xbf16>) -> tensor<6x16xbf16> loc("blocks.0/norm")
      step.yield %s, %y : tensor<6x16xbf16>, tensor<6x16xbf16>
    }
    %h = step.linear %g#1, %u {block = 0 : i64} : (tensor<6x16xbf16>, tensor<16x16xbf16>) -> tensor<6x16xbf16> loc("blocks.0.mixer/up")
    %a = step.activation gelu %h {block = 0 : i64} : (tensor<6x16xbf16>) -> tensor<6x16xbf16> loc("blocks.0.mixer/activation")
    %o = step.linear %a, %d {block = 0 : i64} : (tensor<6x16xbf16>, tensor<16x16xbf16>) -> tensor<6x16xbf16> loc("blocks.0.mixer/down")
    %r = step.add %g#0, %o {block = 0 : i64} : (tensor<6x16xbf16>, tensor<6x16xbf16>) -> tensor<6x16xbf16> loc("blocks.0/residual")
    step.output "r", %r {block = -1 : i64, phase = #step.phase<forward>} : tensor<6x16xbf16>

    // Each is made before the first op that reads it, from what is kept or made again, without flags.
    // FULL: %[[NORM:.*]], %[[RSTD:.*]] = step.rms_norm %[[GROUP]]#0,
    // FULL-SAME: {block = 0 : i64, cached = ["rstd"], eps = {{[^,]*}}, phase = #step.phase<recompute>}
    // FULL-NEXT: %[[UP2:.*]] = step.linear %[[NORM]], {{.*}} {block = 0 : i64, phase = #step.phase<recompute>}
    // FULL-NEXT: %[[ACT2:.*]] = step.activation gelu %[[UP2]] {block = 0 : i64, phase = #step.phase<recompute>}
    // FULL-NEXT: step.linear_grad_weight %{{.*}}, %[[ACT2]]
    // FULL: step.activation_grad gelu %{{.*}}, %[[UP2]]
    // FULL-NEXT: step.linear_grad_weight %{{.*}}, %[[NORM]]
    // FULL: step.rms_norm_grad %{{.*}}, %[[GROUP]]#0, %{{.*}}, %[[RSTD]]
    // SOME: step.linear_grad_weight %{{.*}}, %[[ACT]]
    // SOME: %[[NORM:.*]], %[[RSTD:.*]] = step.rms_norm %[[GROUP]]#0
    // SOME-NEXT: %[[UP2:.*]] = step.linear %[[NORM]]
    // SOME-NEXT: step.activation_grad gelu %{{.*}}, %[[UP2]]
    %1 = step.linear_grad_weight %r, %a {block = 0 : i64, phase = #step.phase<backward>}
         : (tensor<6x16xbf16>, tensor<6x16xbf16>) -> tensor<16x16xf32>
    step.accumulate @d, %1 {block = 0 : i64, phase = #step.phase<backward>} : tensor<16x16xf32>
    %2 = step.linear_grad_input %r, %d {block = 0 : i64, phase = #step.phase<backward>}
         : (tensor<6x16xbf16>, tensor<16x16xbf16>) -> tensor<6x16xbf16>
    %3 = step.activation_grad gelu %2, %h {block = 0 : i64, phase = #step.phase<backward>}
         : (tensor<6x16xbf16>, tensor<6x16xbf16>) -> tensor<6x16xbf16>
    %4 = step.linear_grad_weight %3, %g#1 {block = 0 : i64, phase = #step.phase<backward>}
         : (tensor<6x16xbf16>, tensor<6x16xbf16>) -> tensor<16x16xf32>
    step.accumulate @u, %4 {block = 0 : i64, phase = #step.phase<backward>} : tensor<16x16xf32>
    %5:2 = step.rms_norm_grad %3, %g#0, %n {block = 0 : i64, eps = 1.0e-5 : f64, pair = 0 : i64, phase = #step.phase<backward>}
           : (tensor<6x16xbf16>, tensor<6x16xbf16>, tensor<16xbf16>) -> (tensor<6x16xbf16>, tensor<16xf32>)
    step.accumulate @n, %5#1 {block = 0 : i64, phase = #step.phase<backward>} : tensor<16xf32>
  }
}
