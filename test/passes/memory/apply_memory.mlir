// Caches become results of the forward op and the last operands of its gradient ops.
// RUN: megacc-opt %s -step-apply-memory --verify-roundtrip | FileCheck %s

step.parameter @norm : tensor<10xf32> init constant {block = 0 : i64, trained, init_a = 1.0 : f64}

// CHECK-NOT: pair
// CHECK-NOT: keep
// CHECK-LABEL: step.func @micro_batch
step.func @micro_batch {
  %x = step.input "x" : tensor<6x10xf32>
  %w = step.read @norm : tensor<10xf32>
  // Marks of others stay.
  // CHECK: %[[N:.*]], %[[RSTD:.*]] = step.rms_norm %{{.*}} {block = 0 : i64, cached = ["rstd"], eps = 1.000000e-05 : f64, nonfinite = "nonfinite.embedding"}
  // CHECK-SAME: -> (tensor<6x10xf32>, tensor<6xf32>)
  %n = step.rms_norm %x, %w {block = 0 : i64, eps = 1.0e-5 : f64, keep = ["rstd"], nonfinite = "nonfinite.embedding", pair = 0 : i64}
       : (tensor<6x10xf32>, tensor<10xf32>) -> tensor<6x10xf32>
  %h = step.input "h" : tensor<2xf32>
  %b = step.input "b" : tensor<2x2x4xf32>
  %c = step.input "c" : tensor<4xf32>
  %m = step.input "m" : tensor<2x2x5xf32>
  %p = step.input "p" : tensor<6x42xf32>
  // Two caches in the order of the mark, with documents before them.
  // CHECK: %[[Y:.*]], %[[CACHES:.*]]:2 = step.mamba3_scan {{.*}}cached = ["psi_v", "states"]{{.*}}mimo
  // CHECK-SAME: -> (tensor<6x10xf32>, tensor<6x2x2x5xf32>, tensor<2x2x1x4x5xf32>)
  %d = step.input "documents" : tensor<2x3xi32>
  %y = step.mamba3_scan %p, %h, %h, %b, %b, %c, %c, %m, %m, %m, %d {keep = ["psi_v", "states"], pair = 1 : i64, batch = 2 : i64,
       sequence = 3 : i64,
       heads = 2 : i64, groups = 1 : i64, rank = 2 : i64, head_dim = 5 : i64, state = 4 : i64, angles = 0 : i64, chunk = 4 : i64, mimo,
       eps = 1.0e-5 : f64, operandSegmentSizes = array<i32: 1, 9, 1>}
       : (tensor<6x42xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2x2x4xf32>, tensor<2x2x4xf32>, tensor<4xf32>, tensor<4xf32>,
          tensor<2x2x5xf32>, tensor<2x2x5xf32>, tensor<2x2x5xf32>, tensor<2x3xi32>) -> tensor<6x10xf32>
  // A pair that nobody keeps anything for.
  // CHECK: %[[A:.*]] = step.attention %[[N]], {{.*}} -> tensor<6x10xf32>
  %a = step.attention %n, %n, %n {pair = 2 : i64, batch = 2 : i64, sequence = 3 : i64, heads = 2 : i64, kv_heads = 2 : i64,
       qk_dim = 5 : i64,
       v_dim = 5 : i64, scale = 0.5 : f64} : (tensor<6x10xf32>, tensor<6x10xf32>, tensor<6x10xf32>) -> tensor<6x10xf32>
  // CHECK: step.attention_grad %[[A]], %[[A]], %[[N]], %[[N]], %[[N]] {batch
  %da:3 = step.attention_grad %a, %a, %n, %n, %n {pair = 2 : i64, batch = 2 : i64, sequence = 3 : i64, heads = 2 : i64, kv_heads = 2 : i64,
          qk_dim = 5 : i64, v_dim = 5 : i64, scale = 0.5 : f64, operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 0, 0>}
          : (tensor<6x10xf32>, tensor<6x10xf32>, tensor<6x10xf32>, tensor<6x10xf32>, tensor<6x10xf32>)
          -> (tensor<6x10xf32>, tensor<6x10xf32>, tensor<6x10xf32>)
  // CHECK: step.mamba3_scan_grad %[[Y]], {{.*}}, %[[CACHES]]#0, %[[CACHES]]#1 {{.*}}cached = ["psi_v", "states"]
  // CHECK-SAME: operandSegmentSizes = array<i32: 1, 1, 9, 1, 2>
  %dp:10 = step.mamba3_scan_grad %y, %p, %h, %h, %b, %b, %c, %c, %m, %m, %m, %d {pair = 1 : i64, batch = 2 : i64, sequence = 3 : i64,
           heads = 2 : i64,
           groups = 1 : i64, rank = 2 : i64, head_dim = 5 : i64, state = 4 : i64, angles = 0 : i64, chunk = 4 : i64, mimo,
                eps = 1.0e-5 : f64,
           operandSegmentSizes = array<i32: 1, 1, 9, 1, 0>}
           : (tensor<6x10xf32>, tensor<6x42xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2x2x4xf32>, tensor<2x2x4xf32>, tensor<4xf32>,
              tensor<4xf32>, tensor<2x2x5xf32>, tensor<2x2x5xf32>, tensor<2x2x5xf32>, tensor<2x3xi32>)
           -> (tensor<6x42xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2x2x4xf32>, tensor<2x2x4xf32>, tensor<4xf32>, tensor<4xf32>,
               tensor<2x2x5xf32>, tensor<2x2x5xf32>, tensor<2x2x5xf32>)
  // A cache of an op inside a group leaves it.
  // CHECK: %[[GROUP:.*]]:3 = step.fused : tensor<6x10xf32>, tensor<6x10xf32>, tensor<6xf32> {
  // CHECK: %[[INNER:.*]], %[[CACHE:.*]] = step.rms_norm {{.*}}cached = ["rstd"]
  // CHECK-NEXT: step.yield %{{.*}}, %[[INNER]], %[[CACHE]]
  // CHECK: step.rms_norm_grad %[[GROUP]]#1, %[[GROUP]]#0, %{{.*}}, %[[GROUP]]#2 {cached = ["rstd"]
  %s:2 = step.fused : tensor<6x10xf32>, tensor<6x10xf32> {
    %sum = step.add %x, %a : (tensor<6x10xf32>, tensor<6x10xf32>) -> tensor<6x10xf32>
    %norm = step.rms_norm %sum, %w {eps = 1.0e-5 : f64, keep = ["rstd"], pair = 3 : i64} : (tensor<6x10xf32>, tensor<10xf32>)
        -> tensor<6x10xf32>
    step.yield %sum, %norm : tensor<6x10xf32>, tensor<6x10xf32>
  }
  %ds:2 = step.rms_norm_grad %s#1, %s#0, %w {eps = 1.0e-5 : f64, pair = 3 : i64}
          : (tensor<6x10xf32>, tensor<6x10xf32>, tensor<10xf32>) -> (tensor<6x10xf32>, tensor<10xf32>)
  step.output "ds", %ds#0 : tensor<6x10xf32>
  // Inside a group as outside.
  // CHECK: step.fused : tensor<6x10xf32> {
  // CHECK-NEXT: step.rms_norm_grad %[[Y]], %{{.*}}, %{{.*}}, %[[RSTD]] {cached = ["rstd"], eps = 1.000000e-05 : f64} : {{.*}}, tensor<6xf32>) ->
  %dx = step.fused : tensor<6x10xf32> {
    %g, %dw = step.rms_norm_grad %y, %x, %w {eps = 1.0e-5 : f64, pair = 0 : i64}
              : (tensor<6x10xf32>, tensor<6x10xf32>, tensor<10xf32>) -> (tensor<6x10xf32>, tensor<10xf32>)
    step.accumulate @norm, %dw : tensor<10xf32>
    step.yield %g : tensor<6x10xf32>
  }
  // A second gradient op of the pair reads the same cache.
  // CHECK: step.rms_norm_grad %{{.*}}, %{{.*}}, %{{.*}}, %[[RSTD]] {cached = ["rstd"]
  %again:2 = step.rms_norm_grad %dx, %x, %w {eps = 1.0e-5 : f64, pair = 0 : i64}
             : (tensor<6x10xf32>, tensor<6x10xf32>, tensor<10xf32>) -> (tensor<6x10xf32>, tensor<10xf32>)
}
