// Streams from the first placed block to the last; the block between reads their mean and joins all of them.
// RUN: megacc-opt %s -model-pipeline -mega-to-step -step-differentiate -step-add-optimizer -step-check-global --verify-roundtrip -o %t
// RUN: FileCheck %s < %t
// RUN: megacc-opt %t -step-print-sharding-rules 2>&1 | FileCheck %s --check-prefix=RULES
// RUN: megacc %s --emit=rt | FileCheck %s --check-prefix=RT

mega.model @mhc hidden 16 vocab 61 sequence 12 {
  mega.pattern "FGFG" depth 4
  mega.family "F" = mlp<width = 24>
  mega.family "G" = mlp<width = 20>
  mega.place mhc<streams = 2, sinkhorn = 3> on "F" ranks [0, 1]
}

mega.train @step of @mhc { micro_batch = 2, accumulate = 4, optimizer = adamw<lr = 3.0e-3> }

// CHECK: step.parameter @blocks.0.mhc.proj.weight : tensor<8x32xf32> init constant {{.*}}decays
// CHECK: step.parameter @blocks.0.mhc.bias : tensor<8xf32> init mhc {block = 0 : i64, init_a = 2.000000e+00 : f64
// CHECK: step.parameter @blocks.2.mhc.bias : tensor<8xf32> init mhc {block = 2 : i64, init_a = 2.015625 : f64

// CHECK-LABEL: step.func @micro_batch
// CHECK: %[[X:.*]] = step.embedding
// CHECK: %[[X0:.*]] = step.repeat_groups %[[X]] {{.*}} -> tensor<24x32xf32>
// CHECK: %[[L0:.*]] = step.linear %[[X0]]
// CHECK: %[[U0:.*]], %[[M0:.*]] = step.mhc_read %[[X0]], %[[L0]], %{{.*}} {{.*}}iterations = 3
// CHECK: step.rms_norm %[[U0]]
// CHECK: step.activation
// CHECK: %[[D0:.*]] = step.linear
// CHECK: %[[X1:.*]] = step.mhc_write %[[X0]], %[[D0]], %[[M0]]
// The mean that nobody asked for as the block's output is not here.
// CHECK-NOT: step.sum_groups
// CHECK: %[[U1:.*]] = step.sum_groups %[[X1]] {{.*}}scale = 5.000000e-01
// CHECK: step.rms_norm %[[U1]]
// CHECK: step.activation
// CHECK: %[[D1:.*]] = step.linear
// CHECK: %[[ALL:.*]] = step.repeat_groups %[[D1]]
// CHECK: %[[X2:.*]] = step.add %[[X1]], %[[ALL]] {{.*}} tensor<24x32xf32>
// CHECK: step.mhc_read %[[X2]]
// CHECK: %[[X3:.*]] = step.mhc_write %[[X2]]
// CHECK: %[[END:.*]] = step.sum_groups %[[X3]] {{.*}}scale = 5.000000e-01
// CHECK: step.rms_norm %[[END]]
// CHECK: step.add %[[END]], %{{.*}} tensor<24x16xf32>
// CHECK: step.mhc_write_grad
// CHECK: step.mhc_read_grad
// CHECK: step.accumulate @blocks.2.mhc.bias

// RULES-DAG: remark: ([t, n d], [t, m], [m]) -> ([t, d], [t, k])
// RULES-DAG: remark: ([t, n d], [t, n d], [t, d], [t, k]) -> ([t, n d], [t, d], [t, k]) reduce{d}
// Joining all streams is one launch, and so are sums of gradients.
// RT: rt.call @mg_repeat_groups(out temporaries{{.*}}, in temporaries{{.*}}, in temporaries
// RT: rt.call @mg_mhc_read_grad
