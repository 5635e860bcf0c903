// With log-blocks, what ops offer to look at stands right behind them: the entropy of attention, of picked keys too, and the norms of last
// states. Without there is none of it.
// RUN: megacc-opt %s -model-pipeline -mega-to-step=log-blocks -step-differentiate | FileCheck %s
// RUN: megacc-opt %s -model-pipeline -mega-to-step -step-differentiate | FileCheck %s --check-prefix=OFF

mega.model @measured hidden 16 vocab 61 sequence 12 {
  mega.pattern "AMRFA" depth 5
  mega.family "A" = mla<heads = 2, q_rank = 8, kv_rank = 8, nope = 4, rope = 4, value = 4>
  mega.family "M" = mamba3<head_dim = 8, state = 8, rank = 2>
  mega.family "R" = m2rnn<key = 4, value = 4>
  mega.family "F" = mlp<width = 24>
  mega.place dsa<heads = 2, dim = 4, top_k = 3> on "A" ranks [1]
  mega.place mtp<depth = 1, width = 16> on objective
}

mega.train @step of @measured { micro_batch = 2, optimizer = adamw<lr = 3.0e-3> }

// CHECK-LABEL: step.func @micro_batch
// CHECK: step.attention %[[Q:[^,]*]], %[[K:[^,]*]], %{{.*}} {
// CHECK-NEXT: %[[H:.*]] = step.attention_entropy %[[Q]], %[[K]] {{.*}}share = 0.020833{{.*}} (tensor<24x16xf32>, tensor<24x16xf32>)
// CHECK-NEXT: step.set_metric "attention_entropy.0", %[[H]]
// CHECK: step.mamba3_scan
// CHECK-NEXT: step.mamba3_state_norm {{.*}}share = 1.250000e-01
// CHECK-NEXT: step.set_metric "state_norm.1"
// CHECK: step.m2rnn_scan
// CHECK-NEXT: step.m2rnn_state_norm
// CHECK-NEXT: step.set_metric "state_norm.2"
// CHECK: step.sparse_attention
// CHECK-NEXT: step.attention_entropy {{.*}}tensor<24x3xi32>) -> tensor<1xf32>
// CHECK-NEXT: step.set_metric "attention_entropy.4"
// The attention of a prediction is of no block.
// CHECK: step.attention
// CHECK-NOT: step.attention_entropy
// CHECK-NOT: state_norm
// OFF-NOT: attention_entropy
// OFF-NOT: state_norm
