// Gated DeltaNet: a convolution over q, k and v, the delta rule, a norm of every head with its gate, and a projection.
// RUN: megacc-opt %s -model-pipeline -mega-to-step -step-differentiate -step-add-optimizer -step-check-global | FileCheck %s
// RUN: megacc %s --documents --emit=rt | FileCheck %s --check-prefix=RT
// RUN: megacc %s --emit=plan | FileCheck %s --check-prefix=PLAN

mega.model @delta hidden 32 vocab 61 sequence 130 {
  mega.pattern "D" depth 1
  mega.family "D" = gated_deltanet<heads = 6, key = 5, value = 7, key_heads = 2, conv = 3, chunk = 32, neg_eigval = true>
}

mega.train @step of @delta { micro_batch = 2, optimizer = adamw<lr = 3.0e-3> }

// CHECK: step.parameter @blocks.0.mixer.in_proj.weight : tensor<116x32xf32>
// CHECK: step.parameter @blocks.0.mixer.conv.weight : tensor<62x3xf32> init uniform {block = 0 : i64, decays, init_a = 0.57735{{.*}}
// CHECK: step.parameter @blocks.0.mixer.A_log : tensor<6xf32> init a_log {block = 0 : i64, init
// CHECK: step.parameter @blocks.0.mixer.dt_bias : tensor<6xf32> init dt_bias {block = 0 : i64, init
// CHECK: step.parameter @blocks.0.mixer.norm.weight : tensor<7xf32> init constant {block = 0 : i64, init
// CHECK: step.parameter @blocks.0.mixer.out_proj.weight : tensor<32x42xf32> init normal {block = 0 : i64, decays, init_a = 2.000000e-02
// CHECK-LABEL: step.func @micro_batch
// CHECK: %[[IN:.*]] = step.linear
// CHECK: %[[PARTS:.*]]:4 = step.split %[[IN]] {{.*}}widths = array<i64: 62, 42, 6, 6>
// CHECK: %[[CONV:.*]] = step.causal_conv %[[PARTS]]#0, {{.*}}silu} : (tensor<260x62xf32>, tensor<62x3xf32>) -> tensor<260x62xf32>
// CHECK: %[[QKV:.*]]:3 = step.split %[[CONV]] {{.*}}widths = array<i64: 10, 10, 42>
// CHECK: %[[Y:.*]] = step.gated_delta %[[QKV]]#0, %[[QKV]]#1, %[[QKV]]#2, %[[PARTS]]#2, %[[PARTS]]#3, {{.*}}chunk = 32 : i64, key_heads = 2 : i64, neg_eigval, pair = [[PAIR:[0-9]+]] : i64{{.*}} -> tensor<260x42xf32>
// CHECK: %[[NORM:.*]] = step.gated_norm %[[Y]], %[[PARTS]]#1, {{.*}}eps = 1.000000e-05 : f64
// CHECK: step.linear %[[NORM]]
// CHECK: step.loss
// CHECK: step.gated_norm_grad
// CHECK: step.gated_delta_grad %{{.*}}, %[[QKV]]#0, {{.*}}pair = [[PAIR]] : i64
// CHECK: step.causal_conv_grad
// CHECK-LABEL: step.func @update

// FLOPs are those of the chunk: 260 tokens, 6 heads, 4 * 32 * (5 + 7) + 6 * 5 * 7 each.
// RT-LABEL: rt.func @micro_batch
// RT: rt.call @mg_causal_conv(out temporaries{{.*}}, in weights{{.*}}, in io{{.*}}, scratch {{.*}}) {batch = 2, sequence = 130, channels = 62, taps = 3, silu = 1}
// RT: rt.call @mg_gated_delta({{.*}} in io{{.*}}, scratch {{.*}}heads = 6, key_heads = 2, key = 5, value = 7, chunk = 32, neg_eigval = 1} block 0 cost 2723760
// RT: rt.call @mg_gated_norm({{.*}}rows = 1560, cols = 7
// RT: rt.call @mg_gated_norm_grad({{.*}} sum gradients{{.*}}accumulate = 1
// RT: rt.call @mg_gated_delta_grad({{.*}} block 0 cost 5447520

// Of the block, a token, forward: 64 * (2 * 10 + 2 * 42 + 2 * 6) + 64 * 42 + 6 * (4 * 32 * 12 + 6 * 35) = 20,588.
// PLAN: gated_deltanet {{ *}}1 {{ *}}5,293 {{ *}}5,293 {{ *}}61.764 KFLOP
