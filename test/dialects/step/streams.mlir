// Streams of a residual, and tokens that enter a block.
// RUN: megacc-opt %s | megacc-opt | FileCheck %s

step.func @micro_batch {
  %x = step.input "x" : tensor<6x8xf32>
  %logits = step.input "logits" : tensor<6x8xf32>
  %bias = step.input "bias" : tensor<8xf32>
  // CHECK: step.mhc_read
  %u, %maps = step.mhc_read %x, %logits, %bias {streams = 2 : i64, iterations = 5 : i64, eps = 1.0e-05 : f64}
      : (tensor<6x8xf32>, tensor<6x8xf32>, tensor<8xf32>) -> (tensor<6x4xf32>, tensor<6x6xf32>)
  // CHECK: step.mhc_write
  %y = step.mhc_write %x, %u, %maps {streams = 2 : i64} : (tensor<6x8xf32>, tensor<6x4xf32>, tensor<6x6xf32>) -> tensor<6x8xf32>
  // CHECK: step.mhc_write_grad
  %d:3 = step.mhc_write_grad %y, %x, %u, %maps {streams = 2 : i64}
      : (tensor<6x8xf32>, tensor<6x8xf32>, tensor<6x4xf32>, tensor<6x6xf32>) -> (tensor<6x8xf32>, tensor<6x4xf32>, tensor<6x6xf32>)
  // CHECK: step.mhc_read_grad
  %e:3 = step.mhc_read_grad %d#1, %d#2, %x, %logits, %bias {streams = 2 : i64, iterations = 5 : i64, eps = 1.0e-05 : f64}
      : (tensor<6x4xf32>, tensor<6x6xf32>, tensor<6x8xf32>, tensor<6x8xf32>, tensor<8xf32>)
      -> (tensor<6x8xf32>, tensor<6x8xf32>, tensor<8xf32>)
  // CHECK: step.sum_groups {{.*}}scale = 5.000000e-01
  %mean = step.sum_groups %y {groups = 2 : i64, scale = 0.5 : f64} : (tensor<6x8xf32>) -> tensor<6x4xf32>

  %r = step.input "r" : tensor<6x1xf32>
  // CHECK: step.mod_select
  %position = step.mod_select %r {count = 2 : i64} : (tensor<6x1xf32>) -> tensor<2x3xi32>
  // CHECK: step.mod_loss
  %loss = step.mod_loss %r, %position {tokens = 6 : i64, aux = 0.01 : f64} : (tensor<6x1xf32>, tensor<2x3xi32>) -> tensor<1xf32>
  // CHECK: step.mod_take
  %kept = step.mod_take %mean, %position : (tensor<6x4xf32>, tensor<2x3xi32>) -> tensor<4x4xf32>
  // CHECK: step.mod_put
  %all = step.mod_put %kept, %r, %position : (tensor<4x4xf32>, tensor<6x1xf32>, tensor<2x3xi32>) -> tensor<6x4xf32>
  // CHECK: step.mod_put_grad
  %f:2 = step.mod_put_grad %all, %kept, %r, %position
      : (tensor<6x4xf32>, tensor<4x4xf32>, tensor<6x1xf32>, tensor<2x3xi32>) -> (tensor<4x4xf32>, tensor<6x1xf32>)
  // CHECK: step.mod_loss_grad
  %g = step.mod_loss_grad %r, %position {scale = 0.5 : f64} : (tensor<6x1xf32>, tensor<2x3xi32>) -> tensor<6x1xf32>
  // CHECK: step.log_norm "block_norm.0"
  step.log_norm "block_norm.0", %all : tensor<6x4xf32>
}
