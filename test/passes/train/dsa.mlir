// Two of three blocks have an indexer, the last one takes the keys of the second; the indexer learns from the divergence alone.
// RUN: megacc-opt %s -model-pipeline -mega-to-step | FileCheck %s --check-prefix=FORWARD
// RUN: megacc-opt %s -model-pipeline -mega-to-step -step-differentiate -step-add-optimizer -step-check-global | FileCheck %s
// RUN: sed "s/kl = 0.1/kl = 0.0/" %s | megacc-opt -model-pipeline -mega-to-step -step-differentiate | FileCheck %s --check-prefix=NO-KL

mega.model @dsa hidden 48 vocab 67 sequence 24 {
  mega.pattern "A" depth 3
  mega.family "A" = mla<heads = 4, q_rank = 12, kv_rank = 16, nope = 8, rope = 4, value = 6>
  mega.place dsa<heads = 3, dim = 8, top_k = 100> on "A" ranks [0]
  mega.place dsa<heads = 2, dim = 8, top_k = 5, kl = 0.1, share = 2> on "A" ranks [1, 2]
}

mega.train @step of @dsa { micro_batch = 2, accumulate = 4, optimizer = adamw<lr = 3.0e-3> }

// More keys than a row has are all of them.
// FORWARD-LABEL: step.func @micro_batch
// FORWARD: step.select_keys {{.*}} -> tensor<48x24xi32>
// FORWARD: %[[N:.*]] = step.rms_norm {{.*}}tensor<48x48xf32>, tensor<48xf32>
// FORWARD: step.linear %[[N]]
// FORWARD: %[[LATENT:.*]] = step.rms_norm {{.*}}tensor<48x12xf32>, tensor<12xf32>
// FORWARD: %[[Q:.*]] = step.rope
// FORWARD: %[[K:.*]] = step.concat
// FORWARD-DAG: %[[DN:.*]] = step.detach %[[N]]
// FORWARD-DAG: %[[DL:.*]] = step.detach %[[LATENT]]
// FORWARD: %[[IQ:.*]] = step.linear %[[DL]]
// FORWARD: %[[IQR:.*]] = step.rope %[[IQ]] {{.*}}head_dim = 8 : i64, heads = 2 : i64, offset = 0 : i64, {{.*}}width = 4 : i64
// FORWARD: %[[IK:.*]] = step.linear %[[DN]]
// FORWARD: %[[IKN:.*]] = step.layer_norm %[[IK]]
// FORWARD: %[[IKR:.*]] = step.rope %[[IKN]]
// FORWARD: %[[W:.*]] = step.linear %[[DN]]
// FORWARD: %[[SUPPORT:.*]] = step.select_keys %[[IQR]], %[[IKR]], %[[W]] {{.*}} -> tensor<48x5xi32>
// FORWARD: step.support_kl %[[Q]], %[[K]], %[[IQR]], %[[IKR]], %[[W]], %[[SUPPORT]] {{.*}}kl = 1.000000e-01 : f64{{.*}}tokens = 48
// FORWARD: step.sparse_attention %[[Q]], %[[K]], %{{.*}}, %[[SUPPORT]]
// FORWARD-NOT: step.select_keys
// FORWARD: step.sparse_attention %{{.*}}, %[[SUPPORT]] {{.*}}block = 2
// FORWARD-NOT: step.attention
// FORWARD: step.loss {{.*}}name = "dsa_kl", {{.*}}weight = 1.0
// FORWARD-LABEL: step.func @evaluate
// FORWARD-COUNT-2: step.select_keys
// FORWARD-NOT: step.support_kl
// FORWARD-NOT: step.detach

// kl / tokens / accumulate = 0.1 / 48 / 4.
// CHECK-LABEL: step.func @micro_batch
// CHECK-NOT: step.detach
// CHECK-COUNT-2: step.sparse_attention_grad
// CHECK: step.support_kl_grad {{.*}}factor = 5.208{{.*}}E-4
// CHECK-NOT: step.linear_grad_input
// CHECK: step.layer_norm_grad
// CHECK: step.accumulate @blocks.1.mixer.indexer.k_norm.bias
// CHECK-NOT: step.linear_grad_input
// CHECK: step.accumulate @blocks.1.mixer.indexer.q_up.weight
// CHECK: step.sparse_attention_grad

// NO-KL-LABEL: step.func @micro_batch
// NO-KL-NOT: step.support_kl
// NO-KL: %[[ZERO:.*]] = step.zero {{.*}}: tensor<16x12xf32>
// NO-KL-NEXT: step.accumulate @blocks.1.mixer.indexer.q_up.weight, %[[ZERO]]
// NO-KL-NOT: step.layer_norm_grad
