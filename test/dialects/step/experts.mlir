// Ops of routed experts survive text and generic form.
// RUN: megacc-opt %s --verify-roundtrip | FileCheck %s
// RUN: megacc-opt %s --mlir-print-op-generic | megacc-opt | FileCheck %s

module attributes {megacc.model = "tiny", megacc.config = {accumulate = 2 : i64}} {
  step.parameter @bias : tensor<4xf32> {block = 0 : i64, init = "constant", init_a = 0.0 : f64}
  step.parameter @up : tensor<3x5x4xf32> {block = 0 : i64, decays, trained, init = "normal", init_a = 0.02 : f64}

  // CHECK-LABEL: step.func @micro_batch
  step.func @micro_batch {
    %x = step.zero : tensor<6x4xf32>
    %bias = step.read @bias : tensor<4xf32>
    %up = step.read @up : tensor<3x5x4xf32>
    // CHECK: step.moe_route %{{.*}}, %{{.*}} {aux = 1.000000e-02 : f64, experts = 3 : i64, nulls = 2 : i64, scale = 1.000000e+00 : f64, sigmoid, slots = 4 : i64, z = 0.000000e+00 : f64}
    // CHECK-SAME: (tensor<6x4xf32>, tensor<4xf32>) -> (tensor<6x3xf32>, tensor<6x3xi32>, tensor<6x3xi32>, tensor<4xi32>, tensor<1xf32>, tensor<1xf32>)
    %w, %c, %p, %o, %aux, %z = step.moe_route %x, %bias {experts = 3 : i64, slots = 4 : i64, nulls = 2 : i64, sigmoid, scale = 1.0 : f64,
                               aux = 0.01 : f64, z = 0.0 : f64} : (tensor<6x4xf32>, tensor<4xf32>)
                               -> (tensor<6x3xf32>, tensor<6x3xi32>, tensor<6x3xi32>, tensor<4xi32>, tensor<1xf32>, tensor<1xf32>)
    // CHECK: step.moe_route %{{[^,]*}} {{.*}} : (tensor<6x4xf32>) ->
    %w2, %c2, %p2, %o2, %aux2, %z2 = step.moe_route %x {experts = 4 : i64, slots = 2 : i64, nulls = 0 : i64, scale = 1.0 : f64,
                                     aux = 0.01 : f64, z = 0.0 : f64} : (tensor<6x4xf32>)
                                     -> (tensor<6x2xf32>, tensor<6x2xi32>, tensor<6x2xi32>, tensor<5xi32>, tensor<1xf32>, tensor<1xf32>)
    // CHECK: step.moe_count_picks %{{.*}} {bias = @bias, name = "picks.0", rate = 1.000000e-03 : f64} : tensor<4xi32>
    step.moe_count_picks %o {name = "picks.0", bias = @bias, rate = 0.001 : f64} : tensor<4xi32>
    // CHECK: step.loss %{{.*}}, %{{.*}} {name = "moe_aux", weight = 1.000000e+00 : f64} : tensor<1xf32>, tensor<1xf32>
    step.loss %aux, %aux2 {name = "moe_aux", weight = 1.0 : f64} : tensor<1xf32>, tensor<1xf32>
    // CHECK: step.moe_dispatch
    %rows = step.moe_dispatch %x, %p, %o : (tensor<6x4xf32>, tensor<6x3xi32>, tensor<4xi32>) -> tensor<18x4xf32>
    // CHECK: step.grouped_linear {{.*}} {expected_rows = 12 : i64}
    %h = step.grouped_linear %rows, %up, %o {expected_rows = 12 : i64}
         : (tensor<18x4xf32>, tensor<3x5x4xf32>, tensor<4xi32>) -> tensor<18x5xf32>
    // CHECK: step.moe_combine
    %y = step.moe_combine %h, %w, %p, %o : (tensor<18x5xf32>, tensor<6x3xf32>, tensor<6x3xi32>, tensor<4xi32>) -> tensor<6x5xf32>
    %gate = step.zero : tensor<6x1xf32>
    // CHECK: step.row_gate
    %g = step.row_gate %y, %gate : (tensor<6x5xf32>, tensor<6x1xf32>) -> tensor<6x5xf32>
    // CHECK: step.row_gate_grad
    %dy, %dgate = step.row_gate_grad %g, %y, %gate : (tensor<6x5xf32>, tensor<6x5xf32>, tensor<6x1xf32>) -> (tensor<6x5xf32>, tensor<6x1xf32>)
    // CHECK: step.moe_combine_grad
    %dh, %dw = step.moe_combine_grad %dy, %h, %w, %p, %o : (tensor<6x5xf32>, tensor<18x5xf32>, tensor<6x3xf32>, tensor<6x3xi32>, tensor<4xi32>)
               -> (tensor<18x5xf32>, tensor<6x3xf32>)
    // CHECK: step.grouped_linear_grad_input
    %drows = step.grouped_linear_grad_input %dh, %up, %o {expected_rows = 12 : i64}
             : (tensor<18x5xf32>, tensor<3x5x4xf32>, tensor<4xi32>) -> tensor<18x4xf32>
    // CHECK: step.grouped_linear_grad_weight
    %dup = step.grouped_linear_grad_weight %dh, %rows, %o {expected_rows = 12 : i64}
           : (tensor<18x5xf32>, tensor<18x4xf32>, tensor<4xi32>) -> tensor<3x5x4xf32>
    // CHECK: step.moe_dispatch_grad
    %dx = step.moe_dispatch_grad %drows, %p : (tensor<18x4xf32>, tensor<6x3xi32>) -> tensor<6x4xf32>
    // CHECK: step.moe_route_grad
    %dl = step.moe_route_grad %dw, %x, %c, %o {experts = 3 : i64, slots = 4 : i64, nulls = 2 : i64, sigmoid, scale = 1.0 : f64,
          aux = 0.01 : f64, z = 0.0 : f64} : (tensor<6x3xf32>, tensor<6x4xf32>, tensor<6x3xi32>, tensor<4xi32>) -> tensor<6x4xf32>
    step.accumulate @up, %dup : tensor<3x5x4xf32>
  }

  // CHECK-LABEL: step.func @update
  step.func @update {
    %norm = step.gradient_norm : tensor<1xf32>
    // CHECK: step.moe_bias_update @bias, %{{.*}} {experts = 3 : i64, picks = "picks.0", rate = 1.000000e-03 : f64} : tensor<1xf32>
    step.moe_bias_update @bias, %norm {experts = 3 : i64, picks = "picks.0", rate = 0.001 : f64} : tensor<1xf32>
  }
}
