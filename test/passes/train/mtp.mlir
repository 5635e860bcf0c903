// Two depths of multi-token prediction: one loss term of two values, the embedding and head shared, nothing of it in the evaluation.
// RUN: megacc-opt %s -model-pipeline -mega-to-step -step-differentiate -step-add-optimizer -step-check-global | FileCheck %s
// RUN: megacc %s --documents --emit=rt | FileCheck %s --check-prefix=RT

mega.model @ahead hidden 16 vocab 61 sequence 12 {
  mega.pattern "F" depth 1
  mega.family "F" = mlp<width = 24>
  mega.family "A" = attention<heads = 2, head_dim = 8>
  mega.place mtp<depth = 2, width = 20, weight = 0.5> on objective
}

mega.train @step of @ahead { micro_batch = 2, accumulate = 5, optimizer = adamw<lr = 3.0e-3> }

// CHECK: step.parameter @mtp.0.embed_norm.weight
// CHECK: step.parameter @mtp.1.blocks.1.mixer.down.weight : tensor<16x20xf32>
// CHECK-LABEL: step.func @micro_batch
// CHECK: %[[E:.*]] = step.embedding
// CHECK: %[[H:.*]] = step.rms_norm
// CHECK: %[[TARGETS:.*]] = step.input "targets"
// CHECK: %[[V0:.*]] = step.count_valid %[[TARGETS]]
// CHECK: %[[MAIN:.*]], %{{.*}}, %{{.*}} = step.linear_cross_entropy %[[H0:[^ ,]*]], %{{.*}}, %[[TARGETS]], %[[V0]] {{.*}}scale = 2.000000e-01
// CHECK: step.loss %[[MAIN]] {{.*}}name = "main", {{.*}}weight = 1.000000e+00
// CHECK: %[[E1:.*]] = step.shift %[[E]] {{.*}}distance = 1 : i64
// CHECK: %[[E1N:.*]] = step.rms_norm %[[E1]]
// CHECK: %[[H0N:.*]] = step.rms_norm %[[H0]]
// CHECK: %[[BOTH:.*]] = step.concat %[[E1N]], %[[H0N]]
// CHECK: step.linear %[[BOTH]]
// CHECK: step.attention
// CHECK: step.activation
// CHECK: %[[H1:.*]] = step.rms_norm
// CHECK: %[[T1:.*]] = step.shift_targets %[[TARGETS]] {{.*}}distance = 1 : i64
// CHECK: %[[V1:.*]] = step.count_valid %[[T1]]
// CHECK: %[[L1:.*]], %{{.*}}, %{{.*}} = step.linear_cross_entropy %[[H1]], %{{.*}}, %[[T1]], %[[V1]] {{.*}}scale = 5.000000e-02
// CHECK: step.shift %[[E]] {{.*}}distance = 2 : i64
// CHECK: step.rms_norm %[[H1]]
// CHECK: %[[T2:.*]] = step.shift_targets %[[TARGETS]] {{.*}}distance = 2 : i64
// CHECK: %[[L2:.*]], %{{.*}}, %{{.*}} = step.linear_cross_entropy %{{.*}}, %{{.*}}, %[[T2]], %{{.*}} {{.*}}scale = 5.000000e-02
// CHECK: step.loss %[[L1]], %[[L2]] {{.*}}name = "mtp", {{.*}}weight = 2.500000e-01
// CHECK-NEXT: step.loss %[[L1]] {{.*}}name = "mtp.1"
// CHECK-NEXT: step.loss %[[L2]] {{.*}}name = "mtp.2"
// CHECK: step.shift %{{.*}} {{.*}}distance = -2 : i64
// CHECK: step.shift %{{.*}} {{.*}}distance = -1 : i64
// CHECK: step.accumulate @embedding.weight
// CHECK-LABEL: step.func @evaluate
// CHECK-NOT: step.shift

// RT-LABEL: rt.func @micro_batch
// RT: rt.call @mg_shift(out temporaries{{.*}}, in temporaries{{.*}}, in io{{.*}}) {batch = 2, sequence = 12, cols = 16, distance = 1}
// RT: rt.call @mg_shift_targets(out temporaries{{.*}}, in io{{.*}}, in io{{.*}}) {batch = 2, sequence = 12, distance = 1}
// RT: rt.call @mg_accumulate_terms(sum io{{.*}}, in temporaries{{.*}}, in temporaries{{.*}}) {accumulate = 1, parts = 2, scale = 2.000000e-01}
