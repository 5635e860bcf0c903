// The kept rows enter the block, their statistics and counts are the router's; the loss of the choice has its own gradient.
// RUN: megacc-opt %s -model-pipeline -mega-to-step -step-differentiate -step-add-optimizer -step-check-global --verify-roundtrip -o %t
// RUN: FileCheck %s < %t
// RUN: megacc-opt %t -step-print-sharding-rules 2>&1 | FileCheck %s --check-prefix=RULES

mega.model @mod hidden 16 vocab 61 sequence 12 {
  mega.pattern "E" depth 1
  mega.family "E" = moe<experts = 4, top_k = 2, width = 8>
  mega.place mod<capacity = 0.3, aux = 0.5> on "E" ranks [0]
}

mega.train @step of @mod { micro_batch = 2, accumulate = 4, optimizer = adamw<lr = 3.0e-3> }

// CHECK: step.parameter @blocks.0.mod.router.weight : tensor<1x16xf32> init normal
// CHECK-LABEL: step.func @micro_batch
// CHECK: %[[X:.*]] = step.embedding
// CHECK: %[[R:.*]] = step.linear %[[X]], {{.*}} -> tensor<24x1xf32>
// CHECK: %[[P:.*]] = step.mod_select %[[R]] {{.*}}count = 3 {{.*}} -> tensor<2x12xi32>
// CHECK: %[[LOSS:.*]] = step.mod_loss %[[R]], %[[P]] {aux = 5.000000e-01 : f64, {{.*}}tokens = 24 : i64}
// CHECK: %[[KEPT:.*]] = step.mod_take %[[X]], %[[P]] {{.*}} -> tensor<6x16xf32>
// CHECK: step.rms_norm %[[KEPT]]
// CHECK: step.moe_losses {{.*}}tokens = 6 : i64
// CHECK: %[[D:.*]] = step.moe_combine
// CHECK: %[[ALL:.*]] = step.mod_put %[[D]], %[[R]], %[[P]] {{.*}} -> tensor<24x16xf32>
// CHECK: step.add %[[X]], %[[ALL]]
// CHECK: step.loss %[[LOSS]] {{.*}}name = "mod_aux"
// CHECK: step.mod_put_grad %{{.*}}, %[[D]], %[[R]], %[[P]]
// CHECK: step.mod_put %{{.*}}, %[[P]] {{.*}} -> tensor<24x16xf32>
// CHECK: step.mod_loss_grad %[[R]], %[[P]] {{.*}}scale = 0.005208
// RULES-DAG: remark: ([b s, one]) -> ([b, s]) replicate{s: a row picks among all its tokens}
// RULES-DAG: remark: ([b s, one], [b, s]) -> ([one]) reduce{b s}
// CHECK-LABEL: step.func @evaluate
// CHECK: step.mod_select
// CHECK-NOT: step.mod_loss
