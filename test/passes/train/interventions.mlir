// FIRE, DASH and ReDo are functions of their own, over the segments that patterns take; the activity that ReDo judges by is summed in the
// forward.
// RUN: megacc %s --emit=step 2>%t | FileCheck %s
// RUN: FileCheck %s --check-prefix=WARNING <%t
// RUN: sed 's/redo<at = .1., tau = 0.5>/fire<at = [2]>/' %s | megacc - --emit=step 2>/dev/null | FileCheck %s --check-prefix=AWAKE
mega.model @changed hidden 16 vocab 32 sequence 8 {
  mega.pattern "AEF" depth 3
  mega.family "A" = attention<heads = 4, kv_heads = 2, head_dim = 6>
  mega.family "E" = moe<experts = 3, top_k = 1, width = 10, activation = swiglu>
  mega.family "F" = mlp<width = 20>
}
mega.train @step of @changed {
  micro_batch = 2, accumulate = 3, optimizer = adamw<lr = 1.0e-2, beta2 = 0.999>,
  interventions = [fire<at = [5], on = ["A:*#k", "*.experts.up.*"], except = ["*#gate"]>, dash<every = 2, moments = reset, on = ["F:*"]>,
                   redo<at = [1], tau = 0.5>]
}
// WARNING: :14:20: warning: fire resets moments: with beta1 = 0.9, beta2 = 0.999 the updates after it reach 6.57 lr; take moments = keep or a smaller beta2
// WARNING: dash resets moments
// WARNING: redo resets moments: {{.*}} lr; take a smaller beta2

// CHECK-LABEL: step.func @micro_batch
// CHECK: step.abs_column_sum %{{.*}}, %{{.*}} {{.*}}name = "activity.blocks.1.mixer.experts"
// CHECK: step.abs_column_sum %{{.*}} {{.*}}name = "activity.blocks.2.mixer"
// CHECK-LABEL: step.func @evaluate
// CHECK-NOT: abs_column_sum
// CHECK-LABEL: step.func @intervene.0
// CHECK-NEXT: step.fire @blocks.0.mixer.qkv_proj.weight {{.*}}piece = array<i64: 24, 12, 48, 12, 1, 0>, report = "intervene.0", resets}
// CHECK-NEXT: step.fire @blocks.1.mixer.experts.up.weight {adds, {{.*}}piece = array<i64: 10, 10, 20, 10, 1, 0>
// CHECK-NOT: step.{{fire|dash}}
// CHECK-LABEL: step.func @intervene.1
// CHECK-NEXT: step.dash @blocks.2.mixer.up.weight
// CHECK-NEXT: step.dash @blocks.2.mixer.down.weight {adds,
// CHECK-NOT: step.{{fire|dash}}
// CHECK-LABEL: step.func @intervene.2
// CHECK: step.redo @blocks.1.mixer.experts.up.weight, @blocks.1.mixer.experts.down.weight, %{{.*}}halves = 2 : i64, {{.*}}picks = "picks.1"
// CHECK: step.redo @blocks.2.mixer.up.weight, {{.*}}halves = 1 : i64, {{.*}}seen = 48 : i64
// AWAKE-NOT: abs_column_sum
// AWAKE: step.func @intervene.2
// AWAKE-NEXT: step.fire
