// Every launch gets the first record of the target that serves it; one that is there stays.
// RUN: megacc-opt %s -step-select-kernels | FileCheck %s
module {
  step.parameter @w : tensor<5x4xf32> init normal {block = 0 : i64, decays, trained, init_a = 0.02 : f64}
  // CHECK-LABEL: step.func @micro_batch
  step.func @micro_batch {
    // Inputs and reads are not launches.
    // CHECK-NEXT: step.input "x" : tensor
    %x = step.input "x" : tensor<6x4xf32>
    // CHECK-NEXT: step.read @w : tensor
    %w = step.read @w : tensor<5x4xf32>
    // CHECK-NEXT: step.linear {{.*}} {record = "cpu.linear"}
    %y = step.linear %x, %w : (tensor<6x4xf32>, tensor<5x4xf32>) -> tensor<6x5xf32>
    // The second record of a family where the first refuses.
    // CHECK-NEXT: step.activation_grad relu2 {{.*}} {record = "cpu.activation_grad"}
    %a = step.activation_grad relu2 %y, %y : (tensor<6x5xf32>, tensor<6x5xf32>) -> tensor<6x5xf32>
    %half = step.input "half" : tensor<6x2xf32>
    // CHECK: step.activation_grad swiglu {{.*}} {record = "cpu.activation_grad_swiglu"}
    %b = step.activation_grad swiglu %half, %x : (tensor<6x2xf32>, tensor<6x4xf32>) -> tensor<6x4xf32>
    // CHECK-NEXT: step.activation_grad relu2 {{.*}} {record = "cpu.activation_grad_swiglu"}
    %c = step.activation_grad relu2 %y, %y {record = "cpu.activation_grad_swiglu"} : (tensor<6x5xf32>, tensor<6x5xf32>) -> tensor<6x5xf32>
    // A group is one launch; what is inside is none.
    // CHECK-NEXT: step.fused attributes {record = "cpu.linear_grad_weight+accumulate"} {
    // CHECK-NEXT: step.linear_grad_weight %{{.*}}, %{{.*}} : (
    // CHECK-NEXT: step.accumulate @w, %{{.*}} : tensor
    step.fused {
      %d = step.linear_grad_weight %a, %x : (tensor<6x5xf32>, tensor<6x4xf32>) -> tensor<5x4xf32>
      step.accumulate @w, %d : tensor<5x4xf32>
      step.yield
    }
  }
  // CHECK-LABEL: step.func @evaluate
  step.func @evaluate {
    // CHECK: step.zero {record = "cpu.zero"}
    %z = step.zero : tensor<4xf32>
  }
}
