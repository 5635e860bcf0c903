// Ops of routed experts survive text and generic form; activations are bf16 or f32, routing is f32.
// RUN: megacc-opt %s --verify-roundtrip | FileCheck %s -DT=bf16
// RUN: megacc-opt %s --mlir-print-op-generic | megacc-opt | FileCheck %s -DT=bf16
// RUN: sed "s/bf16/f32/g" %s | megacc-opt --verify-roundtrip | FileCheck %s -DT=f32

module attributes {megacc.model = "tiny", megacc.config = {accumulate = 2 : i64}} {
  step.parameter @bias : tensor<4xf32> init constant {block = 0 : i64, init_a = 0.0 : f64}
  step.parameter @up : tensor<3x5x4xbf16> init normal {block = 0 : i64, decays, trained, init_a = 0.02 : f64}

  // CHECK-LABEL: step.func @micro_batch
  step.func @micro_batch {
    %x = step.zero : tensor<6x4xbf16>
    // CHECK: %[[LOGITS:.*]] = step.input "logits"
    %logits = step.input "logits" : tensor<6x4xf32>
    %bias = step.read @bias : tensor<4xf32>
    %up = step.read @up : tensor<3x5x4xbf16>
    // CHECK: %[[W:.*]], %[[C:.*]], %[[P:.*]], %[[O:.*]] = step.moe_route %[[LOGITS]], %{{.*}} {aux = 1.000000e-02 : f64, experts = 3 : i64, nulls = 2 : i64, scale = 1.000000e+00 : f64, sigmoid, slots = 4 : i64, z = 0.000000e+00 : f64}
    // CHECK-SAME: (tensor<6x4xf32>, tensor<4xf32>) -> (tensor<6x3xf32>, tensor<6x3xi32>, tensor<6x3xi32>, tensor<4xi32>)
    %w, %c, %p, %o = step.moe_route %logits, %bias {experts = 3 : i64, slots = 4 : i64, nulls = 2 : i64, sigmoid, scale = 1.0 : f64,
                     aux = 0.01 : f64,
                     z = 0.0 : f64} : (tensor<6x4xf32>, tensor<4xf32>) -> (tensor<6x3xf32>, tensor<6x3xi32>, tensor<6x3xi32>, tensor<4xi32>)
    // CHECK: step.moe_route %[[LOGITS]] {{.*}} : (tensor<6x4xf32>) ->
    %w2, %c2, %p2, %o2 = step.moe_route %logits {experts = 4 : i64, slots = 2 : i64, nulls = 0 : i64, scale = 1.0 : f64,
                         aux = 0.01 : f64, z = 0.0 : f64}
                         : (tensor<6x4xf32>) -> (tensor<6x2xf32>, tensor<6x2xi32>, tensor<6x2xi32>, tensor<5xi32>)
    // CHECK: %[[S:.*]] = step.moe_statistics %[[LOGITS]], %[[O]] {experts = 3 : i64, nulls = 2 : i64, sigmoid} : (tensor<6x4xf32>, tensor<4xi32>) -> tensor<7xf64>
    %s = step.moe_statistics %logits, %o {experts = 3 : i64, nulls = 2 : i64, sigmoid} : (tensor<6x4xf32>, tensor<4xi32>) -> tensor<7xf64>
    // CHECK: step.moe_statistics {{.*}} {experts = 4 : i64, nulls = 0 : i64} : {{.*}} -> tensor<9xf64>
    %s2 = step.moe_statistics %logits, %o2 {experts = 4 : i64, nulls = 0 : i64} : (tensor<6x4xf32>, tensor<5xi32>) -> tensor<9xf64>
    // CHECK: %[[AUX:.*]], %{{.*}} = step.moe_losses %[[S]] {aux = 1.000000e-02 : f64, experts = 3 : i64, tokens = 6 : i64, z = 1.000000e-03 : f64} : (tensor<7xf64>) -> (tensor<1xf32>, tensor<1xf32>)
    %aux, %z = step.moe_losses %s {aux = 0.01 : f64, experts = 3 : i64, tokens = 6 : i64, z = 1.0e-3 : f64}
               : (tensor<7xf64>) -> (tensor<1xf32>, tensor<1xf32>)
    // CHECK: step.moe_count_picks %[[O]] {bias = @bias, name = "picks.0", rate = 1.000000e-03 : f64} : tensor<4xi32>
    step.moe_count_picks %o {name = "picks.0", bias = @bias, rate = 0.001 : f64} : tensor<4xi32>
    // CHECK: step.loss %[[AUX]], %{{.*}} {name = "moe_aux", weight = 1.000000e+00 : f64} : tensor<1xf32>, tensor<1xf32>
    step.loss %aux, %z {name = "moe_aux", weight = 1.0 : f64} : tensor<1xf32>, tensor<1xf32>
    // CHECK: step.moe_dispatch {{.*}} -> tensor<18x4x[[T]]>
    %rows = step.moe_dispatch %x, %p, %o : (tensor<6x4xbf16>, tensor<6x3xi32>, tensor<4xi32>) -> tensor<18x4xbf16>
    // CHECK: step.grouped_linear {{.*}} {expected_rows = 12 : i64} {{.*}} -> tensor<18x5x[[T]]>
    %h = step.grouped_linear %rows, %up, %o {expected_rows = 12 : i64}
         : (tensor<18x4xbf16>, tensor<3x5x4xbf16>, tensor<4xi32>) -> tensor<18x5xbf16>
    // CHECK: %[[S1:.*]] = step.moe_dispatch_weights %[[W]], %[[P]], %[[O]] : (tensor<6x3xf32>, {{.*}} -> tensor<18x1xf32>
    %s1 = step.moe_dispatch_weights %w, %p, %o : (tensor<6x3xf32>, tensor<6x3xi32>, tensor<4xi32>) -> tensor<18x1xf32>
    // CHECK: step.row_scale %{{.*}}, %[[S1]] : (tensor<18x5x[[T]]>, tensor<18x1xf32>) -> tensor<18x5x[[T]]>
    %hs = step.row_scale %h, %s1 : (tensor<18x5xbf16>, tensor<18x1xf32>) -> tensor<18x5xbf16>
    // CHECK: step.moe_combine %{{.*}}, %[[P]], %[[O]] : (tensor<18x5x[[T]]>, {{.*}} -> tensor<6x5x[[T]]>
    %y = step.moe_combine %hs, %p, %o : (tensor<18x5xbf16>, tensor<6x3xi32>, tensor<4xi32>) -> tensor<6x5xbf16>
    %gate = step.zero : tensor<6x1xbf16>
    // CHECK: step.row_gate %{{.*}} -> tensor<6x5x[[T]]>
    %g = step.row_gate %y, %gate : (tensor<6x5xbf16>, tensor<6x1xbf16>) -> tensor<6x5xbf16>
    // CHECK: step.row_gate %{{.*}} -> tensor<6x5x[[T]]>
    %channels = step.row_gate %y, %y : (tensor<6x5xbf16>, tensor<6x5xbf16>) -> tensor<6x5xbf16>
    // CHECK: step.row_gate_grad {{.*}} -> (tensor<6x5x[[T]]>, tensor<6x1x[[T]]>)
    %dy, %dgate = step.row_gate_grad %g, %y, %gate
                  : (tensor<6x5xbf16>, tensor<6x5xbf16>, tensor<6x1xbf16>) -> (tensor<6x5xbf16>, tensor<6x1xbf16>)
    %dhs = step.moe_dispatch %dy, %p, %o : (tensor<6x5xbf16>, tensor<6x3xi32>, tensor<4xi32>) -> tensor<18x5xbf16>
    // CHECK: %{{.*}}, %[[DS1:.*]] = step.row_scale_grad {{.*}} -> (tensor<18x5x[[T]]>, tensor<18x1xf32>)
    %dh, %ds1 = step.row_scale_grad %dhs, %h, %s1
                : (tensor<18x5xbf16>, tensor<18x5xbf16>, tensor<18x1xf32>) -> (tensor<18x5xbf16>, tensor<18x1xf32>)
    // CHECK: %[[DW:.*]] = step.moe_dispatch_weights_grad %[[DS1]], %[[P]] : {{.*}} -> tensor<6x3xf32>
    %dw = step.moe_dispatch_weights_grad %ds1, %p : (tensor<18x1xf32>, tensor<6x3xi32>) -> tensor<6x3xf32>
    // CHECK: step.grouped_linear_grad_input {{.*}} -> tensor<18x4x[[T]]>
    %drows = step.grouped_linear_grad_input %dh, %up, %o {expected_rows = 12 : i64}
             : (tensor<18x5xbf16>, tensor<3x5x4xbf16>, tensor<4xi32>) -> tensor<18x4xbf16>
    // CHECK: step.grouped_linear_grad_weight {{.*}} -> tensor<3x5x4xf32>
    %dup = step.grouped_linear_grad_weight %dh, %rows, %o {expected_rows = 12 : i64}
           : (tensor<18x5xbf16>, tensor<18x4xbf16>, tensor<4xi32>) -> tensor<3x5x4xf32>
    %dx = step.moe_combine %drows, %p, %o : (tensor<18x4xbf16>, tensor<6x3xi32>, tensor<4xi32>) -> tensor<6x4xbf16>
    // CHECK: step.moe_route_grad %[[DW]], %[[LOGITS]], %[[C]], %[[S]] {aux = 1.000000e-02 : f64, experts = 3 : i64, nulls = 2 : i64, scale = 1.000000e+00 : f64, sigmoid, slots = 4 : i64, tokens = 6 : i64, z = 0.000000e+00 : f64}
    %dl = step.moe_route_grad %dw, %logits, %c, %s {tokens = 6 : i64, experts = 3 : i64, slots = 4 : i64, nulls = 2 : i64, sigmoid,
          scale = 1.0 : f64,
          aux = 0.01 : f64, z = 0.0 : f64} : (tensor<6x3xf32>, tensor<6x4xf32>, tensor<6x3xi32>, tensor<7xf64>) -> tensor<6x4xf32>
    step.accumulate @up, %dup : tensor<3x5x4xf32>
  }

  // CHECK-LABEL: step.func @update
  step.func @update {
    %norm = step.zero : tensor<1xf32>
    // CHECK: step.moe_bias_update @bias, %{{.*}} {experts = 3 : i64, picks = "picks.0", rate = 1.000000e-03 : f64} : tensor<1xf32>
    step.moe_bias_update @bias, %norm {experts = 3 : i64, picks = "picks.0", rate = 0.001 : f64} : tensor<1xf32>
  }
}
