// M2RNN: a convolution over q, k and v, the recurrence, gate, norm and projection.
// RUN: megacc-opt %s -model-pipeline -mega-to-step -step-differentiate -step-add-optimizer -step-check-global | FileCheck %s
// RUN: megacc %s --documents --emit=rt | FileCheck %s --check-prefix=RT

mega.model @recurrent hidden 32 vocab 61 sequence 130 {
  mega.pattern "R" depth 1
  mega.family "R" = m2rnn<key = 9, value = 5, heads = 3, conv = 4>
}

mega.train @step of @recurrent { micro_batch = 2, optimizer = adamw<lr = 3.0e-3> }

// CHECK: step.parameter @blocks.0.mixer.in_proj.weight : tensor<51x32xf32>
// CHECK: step.parameter @blocks.0.mixer.conv.weight : tensor<33x4xf32> init uniform {{.*}}init_a = 5.000000e-01
// CHECK: step.parameter @blocks.0.mixer.A_log : tensor<3xf32> init a_log {block = 0 : i64
// CHECK: step.parameter @blocks.0.mixer.dt_bias : tensor<3xf32> init dt_bias {block = 0 : i64
// CHECK: step.parameter @blocks.0.mixer.state_weight : tensor<3x5x5xf32> init identity {block = 0 : i64, decays, init_a = 5.000000e+00
// CHECK: step.parameter @blocks.0.mixer.D : tensor<3x5xf32> init constant {block = 0 : i64
// CHECK-LABEL: step.func @micro_batch
// CHECK: %[[IN:.*]] = step.linear
// CHECK: %[[PARTS:.*]]:3 = step.split %[[IN]] {{.*}}widths = array<i64: 33, 3, 15>
// CHECK: %[[CONV:.*]] = step.causal_conv %[[PARTS]]#0, {{.*}}silu} : (tensor<260x33xf32>, tensor<33x4xf32>, tensor<33xf32>) -> tensor<260x33xf32>
// CHECK: %[[QKV:.*]]:3 = step.split %[[CONV]] {{.*}}widths = array<i64: 9, 9, 15>
// CHECK: %[[Y:.*]] = step.m2rnn_scan %[[QKV]]#0, %[[QKV]]#1, %[[QKV]]#2, %[[PARTS]]#1, {{.*}}pair = [[PAIR:[0-9]+]] : i64{{.*}} -> tensor<260x15xf32>
// CHECK: %[[GATED:.*]] = step.skip_gate %[[Y]], %[[QKV]]#2, %[[PARTS]]#2,
// CHECK: %[[NORM:.*]] = step.rms_norm %[[GATED]]
// CHECK: step.linear %[[NORM]]
// CHECK: step.loss
// CHECK: step.skip_gate_grad
// CHECK: step.m2rnn_scan_grad %{{.*}}, %[[QKV]]#0, {{.*}}pair = [[PAIR]] : i64
// CHECK: step.causal_conv_grad
// CHECK-LABEL: step.func @update

// Weight gradients go straight to their segment; documents reach the convolution and the recurrence.
// RT-LABEL: rt.func @micro_batch
// RT: rt.call @mg_causal_conv(out temporaries{{.*}}, in weights{{.*}}, in weights{{.*}}, in io{{.*}}, scratch {{.*}}) {batch = 2, sequence = 130, channels = 33, taps = 4, silu = 1}
// RT: rt.call @mg_m2rnn_scan({{.*}} in io{{.*}}, scratch {{.*}} interval = 64} block 0 cost 596700
// RT: rt.call @mg_skip_gate_grad({{.*}} sum gradients
// RT: rt.call @mg_m2rnn_scan_grad({{.*}} sum gradients{{.*}} interval = 64, accumulate = 1} block 0 cost 1193400
// RT: rt.call @mg_causal_conv_grad({{.*}} sum gradients
