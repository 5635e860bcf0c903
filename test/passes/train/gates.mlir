// Gates of attention and of states, fewer rotated pairs and biases of scores, as the forward has them and what their gradients are.
// RUN: megacc-opt %s -model-pipeline -mega-to-step | FileCheck %s --check-prefix=FORWARD
// RUN: megacc-opt %s -model-pipeline -mega-to-step -step-differentiate -step-add-optimizer -step-check-global | FileCheck %s

mega.model @gates hidden 48 vocab 67 sequence 24 {
  mega.pattern "MAB" depth 4
  mega.family "M" = mamba3<head_dim = 16, state = 16, rank = 2, chunk = 8, state_gate = true>
  mega.family "A" = mla<heads = 4, q_rank = 12, kv_rank = 16, nope = 8, rope = 8, value = 6, gate = channel>
  mega.family "B" = attention<heads = 4, kv_heads = 2, head_dim = 8, gate = head>
  mega.place nope<share = 0.5> on "A" ranks [0]
  mega.place nope<> on "B" ranks [0]
  mega.place relation_bias<relations = 3, chunks = 7> on "B" ranks [0]
}

mega.train @step of @gates { micro_batch = 2, optimizer = adamw<lr = 3.0e-3> }

// FORWARD: step.parameter @blocks.0.mixer.state_gate.weight : tensor<6x48xf32> init constant {block = 0 : i64, decays, init_a = 0.000000e+00 : f64, trained}
// FORWARD: step.parameter @blocks.0.mixer.state_gate.bias : tensor<6xf32> init constant {block = 0 : i64, init_a = 8.000000e+00 : f64, trained}
// FORWARD: step.parameter @blocks.1.mixer.gate_proj.weight : tensor<24x48xf32> init constant {block = 1 : i64, decays
// FORWARD: step.parameter @blocks.2.mixer.gate_proj.weight : tensor<4x48xf32>
// FORWARD: step.parameter @blocks.2.relation_bias.weight : tensor<4x3xf32> init constant {block = 2 : i64, decays
// FORWARD-LABEL: step.func @micro_batch
// FORWARD: %[[N:.*]] = step.rms_norm
// FORWARD: %[[LOGITS:.*]] = step.linear %[[N]], {{.*}} -> tensor<48x6xf32>
// FORWARD: %[[CUT:.*]] = step.state_gate %[[LOGITS]]
// FORWARD: step.mamba3_scan {{.*}}, %[[CUT]] {{.*}}state_gate
// Half of the pairs of an mla turn.
// FORWARD-COUNT-2: step.rope {{.*}}pairs = 2 : i64
// FORWARD: %[[Y:.*]] = step.attention
// FORWARD: %[[GATES:.*]] = step.linear {{.*}} -> tensor<48x24xf32>
// FORWARD: %[[GATED:.*]] = step.row_gate %[[Y]], %[[GATES]]
// FORWARD: step.linear %[[GATED]]
// None of the other block's; its scores get a bias.
// FORWARD-NOT: step.rope
// FORWARD: %[[CHUNK:.*]] = step.input "relation.chunk" {{.*}}tensor<2x24xi32>
// FORWARD: %[[BITS:.*]] = step.input "relation.bits" {{.*}}tensor<2x7x7xi32>
// FORWARD: %[[BY:.*]] = step.biased_attention {{.*}}, %[[CHUNK]], %[[BITS]]
// FORWARD: step.row_gate %[[BY]], %{{.*}} : (tensor<48x32xf32>, tensor<48x4xf32>)
// FORWARD: step.func @evaluate

// CHECK-LABEL: step.func @micro_batch
// CHECK: step.row_gate_grad
// CHECK: step.biased_attention_grad
// CHECK: step.accumulate @blocks.2.relation_bias.weight
// CHECK: step.rope {{.*}}inverse, {{.*}}pairs = 2 : i64
// CHECK: step.mamba3_scan_grad {{.*}}state_gate
// CHECK: step.state_gate_grad
// CHECK: step.accumulate @blocks.0.mixer.state_gate.bias
