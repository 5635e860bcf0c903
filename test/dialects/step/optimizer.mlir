// Muon, and moments in bf16.
// RUN: megacc-opt %s | megacc-opt | FileCheck %s

// CHECK: step.parameter @w : tensor<6x4xf32> init normal {{.*}}pieces = array<i64: 0, 2, 2, 2, 1, 0, 2, 1, 2, 2, 2, 1>
step.parameter @w : tensor<6x4xf32> init normal {block = 0 : i64, decays, trained,
  init_a = 0.02 : f64, pieces = array<i64: 0, 2, 2, 2, 1, 0, 2, 1, 2, 2, 2, 1>}
step.parameter @n : tensor<4xf32> init constant {block = 0 : i64, trained, init_a = 1.0 : f64}
// CHECK-LABEL: step.func @update
step.func @update {
  %matrices = step.square_sum muon_f32 : tensor<1xf64>
  %rest = step.square_sum f32_plain : tensor<1xf64>
  %norm = step.norm %matrices, %rest : (tensor<1xf64>, tensor<1xf64>) -> tensor<1xf32>
  %scalars = step.input "scalars" : tensor<3xf32>
  // CHECK: %[[STEP:.*]] = step.input "step"
  %step = step.input "step" : tensor<1xi32>
  // CHECK: step.adamw f32_plain, %{{.*}}, %{{.*}}, %[[STEP]] : tensor<1xf32>, tensor<3xf32>, tensor<1xi32>
  step.adamw f32_plain, %norm, %scalars, %step : tensor<1xf32>, tensor<3xf32>, tensor<1xi32>
  // CHECK: step.muon @w[0], %{{.*}}, %{{.*}} : tensor<1xf32>, tensor<3xf32>
  step.muon @w[0], %norm, %scalars : tensor<1xf32>, tensor<3xf32>
  // CHECK: step.muon @w[1], %{{.*}}, %{{.*}}, %[[STEP]] : tensor<1xf32>, tensor<3xf32>, tensor<1xi32>
  step.muon @w[1], %norm, %scalars, %step : tensor<1xf32>, tensor<3xf32>, tensor<1xi32>
}
