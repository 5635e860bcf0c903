// What happens at some steps only, as it is printed and read again.
// RUN: megacc-opt %s | megacc-opt | FileCheck %s

step.parameter @up : tensor<8x4xf32> init normal {block = 0 : i64, decays, init_a = 2.0e-2 : f64, trained}
step.parameter @down : tensor<4x4xf32> init normal {block = 0 : i64, decays, init_a = 2.0e-2 : f64, trained}

// CHECK-LABEL: step.func @intervene.0
step.func @intervene.0 {
  // CHECK: step.fire @up {iterations = 10 : i64, piece = array<i64: 0, 8, 8, 8, 1, 0>, report = "intervene.0", resets}
  step.fire @up {iterations = 10 : i64, piece = array<i64: 0, 8, 8, 8, 1, 0>, report = "intervene.0", resets}
}
// CHECK-LABEL: step.func @intervene.1
step.func @intervene.1 {
  // CHECK: step.dash @up {floor = 3.000000e-01 : f64, gradient, margin = 5.000000e-02 : f64
  step.dash @up {floor = 0.3 : f64, gradient, margin = 0.05 : f64, piece = array<i64: 4, 4, 4, 4, 1, 0>, rate = 0.01 : f64, report = "r"}
}
// CHECK-LABEL: step.func @intervene.2
step.func @intervene.2 {
  %step = step.input "step" : tensor<1xi32>
  // CHECK: step.redo @up, @down, %{{.*}} {activity = "activity.a"
  step.redo @up, @down, %step {activity = "activity.a", deviation = 0.02 : f64, halves = 2 : i64, least = 20 : i64, report = "r",
                               seen = 48 : i64, tau = 0.1 : f64} : tensor<1xi32>
}
// CHECK-LABEL: step.func @micro_batch
step.func @micro_batch {
  %x = step.zero : tensor<6x4xf32>
  %offsets = step.input "offsets" : tensor<4xi32>
  // CHECK: step.abs_column_sum %{{.*}}, %{{.*}} {name = "activity.a"} : tensor<6x4xf32>, tensor<4xi32>
  step.abs_column_sum %x, %offsets {name = "activity.a"} : tensor<6x4xf32>, tensor<4xi32>
  // CHECK: step.abs_column_sum %{{.*}} {name = "activity.b"} : tensor<6x4xf32>
  step.abs_column_sum %x {name = "activity.b"} : tensor<6x4xf32>
}
