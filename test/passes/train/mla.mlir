// Multi-head latent attention: one rotated key part a token, repeated for the heads.
// RUN: megacc-opt %s -model-pipeline -mega-to-step -step-differentiate -step-add-optimizer -step-check-global | FileCheck %s

mega.model @mla hidden 48 vocab 67 sequence 24 {
  mega.pattern "A" depth 1
  mega.family "A" = mla<heads = 4, q_rank = 12, kv_rank = 16, nope = 8, rope = 4, value = 6>
}

mega.train @step of @mla { micro_batch = 2, accumulate = 4, optimizer = adamw<lr = 3.0e-3> }

// CHECK: step.parameter @blocks.0.mixer.q_down.weight : tensor<12x48xf32>
// CHECK-LABEL: step.func @micro_batch
// CHECK: %[[N:.*]] = step.rms_norm
// CHECK: %[[QD:.*]] = step.linear %[[N]]
// CHECK: %[[QN:.*]] = step.rms_norm %[[QD]]
// CHECK: %[[QU:.*]] = step.linear %[[QN]]
// CHECK: %[[Q:.*]] = step.rope %[[QU]] {{.*}}head_dim = 12 : i64, heads = 4 : i64, offset = 8 : i64
// CHECK: %[[KVD:.*]] = step.linear %[[N]]
// CHECK: %[[KV:.*]]:2 = step.split %[[KVD]] {{.*}}groups = 1 : i64, {{.*}}widths = array<i64: 16, 4>
// CHECK: %[[KR:.*]] = step.rope %[[KV]]#1 {{.*}}heads = 1 : i64
// CHECK: %[[SHARED:.*]] = step.repeat_groups %[[KR]] {{.*}}groups = 4 : i64
// CHECK: %[[KVN:.*]] = step.rms_norm %[[KV]]#0
// CHECK: %[[KVU:.*]] = step.linear %[[KVN]]
// CHECK: %[[UP:.*]]:2 = step.split %[[KVU]] {{.*}}groups = 4 : i64, {{.*}}widths = array<i64: 8, 6>
// CHECK: %[[K:.*]] = step.concat %[[UP]]#0, %[[SHARED]] {{.*}}widths = array<i64: 8, 4>
// CHECK: step.attention %[[Q]], %[[K]], %[[UP]]#1 {{.*}}qk_dim = 12 : i64, scale = 0.28867{{.*}}v_dim = 6 : i64
// CHECK: step.linear_cross_entropy {{.*}}scale = 2.500000e-01
// CHECK: step.sum_groups
