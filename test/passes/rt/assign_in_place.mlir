// A result takes the place of an operand that dies there, where the record allows it.
// RUN: megacc-opt %s -split-input-file -step-select-kernels -step-assign-buffers -rt-check-schedule | FileCheck %s

// CHECK-LABEL: rt.func @dies
step.func @dies {
  %x = step.zero : tensor<16x16xf32>
  %y = step.zero : tensor<16x16xf32>
  // CHECK: rt.call @mg_fill_zero(sum temporaries[[[X:[0-9]+]] : 1024] value 0)
  // CHECK: rt.call @mg_fill_zero(sum temporaries[[[Y:[0-9]+]] : 1024] value 1)
  // The first operand stays, the second goes.
  // CHECK: rt.call @mg_add(out temporaries[[[Y]] : 1024] value 2, in temporaries[[[X]] : 1024] value 0, in temporaries[[[Y]] : 1024] value 1)
  %s = step.add %x, %y : (tensor<16x16xf32>, tensor<16x16xf32>) -> tensor<16x16xf32>
  // CHECK: rt.call @mg_add(out temporaries[[[X]] : 1024] value 3, in temporaries[[[X]] : 1024] value 0, in temporaries[[[Y]] : 1024] value 2)
  %t = step.add %x, %s : (tensor<16x16xf32>, tensor<16x16xf32>) -> tensor<16x16xf32>
  step.output "t", %t : tensor<16x16xf32>
}

// -----

// Not where it is used later, or twice by the launch.
// CHECK-LABEL: rt.func @lives
step.func @lives {
  %x = step.zero : tensor<16x16xf32>
  // CHECK: rt.call @mg_fill_zero(sum temporaries[[[X:[0-9]+]] : 1024] value 0)
  // CHECK-NOT: rt.call @mg_add(out temporaries[[[X]] : 1024]
  // CHECK: rt.call @mg_add(out temporaries[[[S:[0-9]+]] : 1024] value 1, in temporaries[[[X]] : 1024] value 0, in temporaries[[[X]] : 1024] value 0)
  %s = step.add %x, %x : (tensor<16x16xf32>, tensor<16x16xf32>) -> tensor<16x16xf32>
  // CHECK-NOT: rt.call @mg_activation(out temporaries[[[S]] : 1024]
  // CHECK: rt.call @mg_activation(out temporaries[[[A:[0-9]+]] : 1024] value 2, in temporaries[[[S]] : 1024] value 1, null)
  %a = step.activation gelu %s : (tensor<16x16xf32>) -> tensor<16x16xf32>
  step.output "s", %s : tensor<16x16xf32>
  step.output "a", %a : tensor<16x16xf32>
}

// -----

// A weight and an input are never overwritten.
step.parameter @w : tensor<16x16xf32> init constant {block = -1 : i64, init_a = 1.0 : f64}
// CHECK-LABEL: rt.func @state
step.func @state {
  %w = step.read @w : tensor<16x16xf32>
  %x = step.input "x" : tensor<16x16xf32>
  // CHECK: rt.call @mg_add(out temporaries[0 : 1024] value 0, in weights[0 : 1024], in io[0 : 1024])
  %s = step.add %w, %x : (tensor<16x16xf32>, tensor<16x16xf32>) -> tensor<16x16xf32>
  step.output "s", %s : tensor<16x16xf32>
}

// -----

// A group uses its operands as one launch, and results of ops inside have places only where they are yielded.
step.parameter @norm : tensor<16xf32> init constant {block = 0 : i64, trained, init_a = 1.0 : f64}
// CHECK-LABEL: rt.func @group
step.func @group {
  %x = step.zero : tensor<16x16xf32>
  %w = step.read @norm : tensor<16xf32>
  // CHECK: rt.call @mg_rms_norm_grad(out temporaries[{{[0-9]+}} : 1024] value 1, sum gradients[0 : 64], in temporaries[{{[0-9]+}} : 1024] value 0, in temporaries[{{[0-9]+}} : 1024] value 0, {{.*}}) {rows = 16, cols = 16, accumulate = 1,
  %dx = step.fused : tensor<16x16xf32> {
    %g, %dw = step.rms_norm_grad %x, %x, %w {eps = 1.0e-5 : f64}
              : (tensor<16x16xf32>, tensor<16x16xf32>, tensor<16xf32>) -> (tensor<16x16xf32>, tensor<16xf32>)
    step.accumulate @norm, %dw : tensor<16xf32>
    step.yield %g : tensor<16x16xf32>
  }
  step.output "dx", %dx : tensor<16x16xf32>
}
