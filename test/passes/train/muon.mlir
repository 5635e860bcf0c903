// Matrices are updated by Muon, segment by segment or head by head, everything else and what `except` names by AdamW.
// RUN: megacc %s --emit=step | FileCheck %s
// RUN: sed 's/split = heads/split = segments/' %s | megacc - --emit=step | FileCheck %s --check-prefix=SEGMENTS
// RUN: sed 's/moments = bf16, //' %s | megacc - --emit=step | FileCheck %s --check-prefix=FULL
// RUN: megacc %s --emit=plan | FileCheck %s --check-prefix=PLAN
mega.model @muon hidden 16 vocab 32 sequence 8 {
  mega.pattern "AL" depth 3
  mega.family "A" = attention<heads = 4, kv_heads = 2, head_dim = 6>
  mega.family "L" = mla<heads = 3, q_rank = 7, kv_rank = 8, nope = 4, rope = 2, value = 5>
}
mega.train @step of @muon {
  micro_batch = 2, moments = bf16, optimizer = muon<lr = 1.0e-2, split = heads, except = ["A:*.out_proj.weight", "*q_down*"]>
}
// CHECK: step.parameter @embedding.weight {{.*}} {block = -1 : i64, decays, init_a
// CHECK: step.parameter @blocks.0.mixer.qkv_proj.weight {{.*}}pieces = array<i64: 0, 6, 6, 6, 4, 6, 24, 6, 6, 6, 2, 6, 36, 6, 6, 6, 2, 6>
// CHECK: step.parameter @blocks.0.mixer.out_proj.weight {{.*}}init_a = {{[^,]*}}, trained}
// CHECK: step.parameter @blocks.1.mixer.q_down.weight {{.*}}init_a = {{[^,]*}}, trained}
// CHECK: step.parameter @blocks.1.mixer.q_up.weight {{.*}}pieces = array<i64: 0, 4, 4, 4, 3, 6, 4, 2, 2, 2, 3, 6>
// CHECK: step.parameter @blocks.1.mixer.kv_down.weight {{.*}}pieces = array<i64: 0, 8, 10, 8, 1, 0, 8, 2, 10, 2, 1, 0>
// CHECK: step.parameter @blocks.1.mixer.out_proj.weight {{.*}}pieces = array<i64: 0, 16, 16, 16, 1, 0>
// CHECK: step.parameter @head.weight {{.*}}init_a = {{[^,]*}}, trained}
// SEGMENTS: step.parameter @blocks.0.mixer.qkv_proj.weight {{.*}}pieces = array<i64: 0, 24, 48, 24, 1, 0, 24, 12, 48, 12, 1, 0, 36, 12, 48, 12, 1, 0>
// SEGMENTS: step.parameter @blocks.1.mixer.q_up.weight {{.*}}pieces = array<i64: 0, 4, 6, 12, 1, 0, 4, 2, 6, 6, 1, 0>

// CHECK-LABEL: step.func @update
// CHECK: %[[DECAYS:.*]] = step.square_sum f32_decays
// CHECK: %[[PLAIN:.*]] = step.square_sum f32_plain
// CHECK: %[[MUON:.*]] = step.square_sum muon_f32
// CHECK: step.norm %[[DECAYS]], %[[PLAIN]], %[[MUON]]
// CHECK: %[[STEP:.*]] = step.input "step"
// CHECK: step.adamw f32_decays, %{{.*}}, %{{.*}}, %[[STEP]] {
// CHECK: step.adamw f32_plain, %{{.*}}, %{{.*}}, %[[STEP]] {
// CHECK-NEXT: step.muon @blocks.0.mixer.qkv_proj.weight[0], %{{.*}}, %{{.*}}, %[[STEP]] {
// CHECK-NEXT: step.muon @blocks.0.mixer.qkv_proj.weight[1]
// CHECK-NEXT: step.muon @blocks.0.mixer.qkv_proj.weight[2]
// CHECK-NEXT: step.muon @blocks.1.mixer.q_up.weight[0]
// CHECK-NOT: step.adamw

// FULL-LABEL: step.func @update
// FULL-NOT: step.input "step"

// Heads of q, k and v of two blocks, of q_up and kv_up, the segments of kv_down, and an out_proj.
// PLAN: muon: {{.*}}FLOP an update, of 2,278 parameters in 6 matrices, 31 pieces; not in the FLOPs of a token
