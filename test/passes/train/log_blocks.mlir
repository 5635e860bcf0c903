// Norms behind every block and of their gradients; without the option there is none of them.
// RUN: megacc-opt %s -model-pipeline -mega-to-step=log-blocks -step-differentiate -step-add-optimizer -step-check-global | FileCheck %s
// RUN: megacc %s --log-blocks --emit=rt | FileCheck %s --check-prefix=RT
// RUN: megacc %s --emit=rt | FileCheck %s --check-prefix=OFF

mega.model @logged hidden 16 vocab 61 sequence 12 {
  mega.pattern "FF" depth 2
  mega.family "F" = mlp<width = 24>
  mega.place mhc<streams = 2> on "F" ranks [0, 1]
}

mega.train @step of @logged { micro_batch = 2, optimizer = adamw<lr = 3.0e-3> }

// CHECK-LABEL: step.func @micro_batch
// CHECK: %[[X:.*]] = step.mhc_write
// CHECK: step.log_norm "block_norm.0", %[[X]] {{.*}} tensor<24x32xf32>
// CHECK: %[[END:.*]] = step.sum_groups
// CHECK: step.log_norm "block_norm.1", %[[END]] {{.*}} tensor<24x16xf32>
// CHECK: %[[D_END:.*]], %{{.*}} = step.rms_norm_grad
// CHECK: step.log_norm "gradient_block_norm.1", %[[D_END]]
// CHECK: step.log_norm "gradient_block_norm.0"
// CHECK-LABEL: step.func @evaluate
// CHECK-NOT: step.log_norm
// RT-COUNT-4: rt.call @mg_log_norm
// OFF-NOT: log_norm
