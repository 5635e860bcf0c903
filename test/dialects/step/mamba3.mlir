// RUN: megacc-opt %s --verify-roundtrip | FileCheck %s -DT=bf16
// RUN: megacc-opt %s --mlir-print-op-generic | megacc-opt | FileCheck %s -DT=bf16
// RUN: sed "s/bf16/f32/g" %s | megacc-opt --verify-roundtrip | FileCheck %s -DT=f32

// CHECK-LABEL: step.func @siso
step.func @siso {
  %x = step.input "x" : tensor<6x34xbf16>
  %h = step.input "h" : tensor<2xf32>
  %b = step.input "b" : tensor<2x1x4xf32>
  %n = step.input "n" : tensor<4xbf16>
  // Neither variant, nor norm, nor caches.
  // CHECK: step.mamba3_scan {{.*}} {angles = 0 : i64, batch = 2 : i64, chunk = 4 : i64, eps = {{[^,]*}}, groups = 1 : i64, head_dim = 5 : i64, heads = 2 : i64, operandSegmentSizes = array<i32: 1, 6, 0>, rank = 1 : i64, sequence = 3 : i64, state = 4 : i64}
  // CHECK-SAME: -> tensor<6x10x[[T]]>
  %y = step.mamba3_scan %x, %h, %h, %b, %b, %n, %n {batch = 2 : i64, sequence = 3 : i64, heads = 2 : i64, groups = 1 : i64, rank = 1 : i64,
       head_dim = 5 : i64, state = 4 : i64, angles = 0 : i64, chunk = 4 : i64, eps = 1.0e-5 : f64, operandSegmentSizes = array<i32: 1, 6,
            0>}
       : (tensor<6x34xbf16>, tensor<2xf32>, tensor<2xf32>, tensor<2x1x4xf32>, tensor<2x1x4xf32>, tensor<4xbf16>, tensor<4xbf16>)
       -> tensor<6x10xbf16>
}

// CHECK-LABEL: step.func @mimo
step.func @mimo {
  %x = step.input "x" : tensor<6x44xbf16>
  %h = step.input "h" : tensor<2xf32>
  %b = step.input "b" : tensor<2x2x4xf32>
  %n = step.input "n" : tensor<4xbf16>
  %m = step.input "m" : tensor<2x2x5xf32>
  %w = step.input "w" : tensor<10xbf16>
  %documents = step.input "documents" : tensor<2x3xi32>
  // CHECK: %[[Y:.*]], %[[CACHES:.*]]:2 = step.mamba3_scan {{.*}}cached = ["states", "psi_v"]{{.*}}heavy, mimo, {{.*}}out_norm
  // CHECK-SAME: tensor<2x3xi32>) -> (tensor<6x10x[[T]]>, tensor<2x2x1x4x5xf32>, tensor<6x2x2x5x[[T]]>)
  %y, %states, %psi = step.mamba3_scan %x, %h, %h, %b, %b, %n, %n, %m, %m, %m, %w, %documents {batch = 2 : i64, sequence = 3 : i64,
                      heads = 2 : i64, groups = 1 : i64, rank = 2 : i64, head_dim = 5 : i64, state = 4 : i64, angles = 2 : i64,
                           chunk = 4 : i64,
                      mimo, out_norm, heavy, eps = 1.0e-5 : f64, cached = ["states", "psi_v"], operandSegmentSizes = array<i32: 1, 10, 1>}
                      : (tensor<6x44xbf16>, tensor<2xf32>, tensor<2xf32>, tensor<2x2x4xf32>, tensor<2x2x4xf32>, tensor<4xbf16>,
                      tensor<4xbf16>,
                         tensor<2x2x5xf32>, tensor<2x2x5xf32>, tensor<2x2x5xf32>, tensor<10xbf16>, tensor<2x3xi32>)
                      -> (tensor<6x10xbf16>, tensor<2x2x1x4x5xf32>, tensor<6x2x2x5xbf16>)
  // CHECK: %{{.*}}, %{{.*}}:10 = step.mamba3_scan_grad %[[Y]], {{.*}}, %[[CACHES]]#0, %[[CACHES]]#1 {{.*}}cached = ["states", "psi_v"]
  // CHECK-SAME: -> (tensor<6x44x[[T]]>, tensor<2xf32>, tensor<2xf32>, tensor<2x2x4xf32>, tensor<2x2x4xf32>, tensor<4xf32>, tensor<4xf32>, tensor<2x2x5xf32>,
  %d:11 = step.mamba3_scan_grad %y, %x, %h, %h, %b, %b, %n, %n, %m, %m, %m, %w, %documents, %states, %psi {batch = 2 : i64,
          sequence = 3 : i64,
          heads = 2 : i64, groups = 1 : i64, rank = 2 : i64, head_dim = 5 : i64, state = 4 : i64, angles = 2 : i64, chunk = 4 : i64,
               mimo, out_norm,
          heavy, eps = 1.0e-5 : f64, cached = ["states", "psi_v"], operandSegmentSizes = array<i32: 1, 1, 10, 1, 2>}
          : (tensor<6x10xbf16>, tensor<6x44xbf16>, tensor<2xf32>, tensor<2xf32>, tensor<2x2x4xf32>, tensor<2x2x4xf32>, tensor<4xbf16>,
          tensor<4xbf16>,
             tensor<2x2x5xf32>, tensor<2x2x5xf32>, tensor<2x2x5xf32>, tensor<10xbf16>, tensor<2x3xi32>, tensor<2x2x1x4x5xf32>,
             tensor<6x2x2x5xbf16>)
          -> (tensor<6x44xbf16>, tensor<2xf32>, tensor<2xf32>, tensor<2x2x4xf32>, tensor<2x2x4xf32>, tensor<4xf32>, tensor<4xf32>,
              tensor<2x2x5xf32>, tensor<2x2x5xf32>, tensor<2x2x5xf32>, tensor<10xf32>)
}

// CHECK-LABEL: step.func @state_gate
step.func @state_gate {
  %x = step.input "x" : tensor<6x34xbf16>
  %h = step.input "h" : tensor<2xf32>
  %b = step.input "b" : tensor<2x1x4xf32>
  %n = step.input "n" : tensor<4xbf16>
  %logits = step.input "logits" : tensor<6x2xbf16>
  // CHECK: %[[CUT:.*]] = step.state_gate %{{.*}} : (tensor<6x2x[[T]]>, tensor<2xf32>) -> tensor<6x2xf32>
  %cut = step.state_gate %logits, %h : (tensor<6x2xbf16>, tensor<2xf32>) -> tensor<6x2xf32>
  // CHECK: step.mamba3_scan {{.*}}, %[[CUT]] {{.*}}state_gate
  %y = step.mamba3_scan %x, %h, %h, %b, %b, %n, %n, %cut {batch = 2 : i64, sequence = 3 : i64, heads = 2 : i64, groups = 1 : i64,
       rank = 1 : i64, head_dim = 5 : i64, state = 4 : i64, angles = 0 : i64, chunk = 4 : i64, state_gate, eps = 1.0e-5 : f64,
       operandSegmentSizes = array<i32: 1, 7, 0>}
       : (tensor<6x34xbf16>, tensor<2xf32>, tensor<2xf32>, tensor<2x1x4xf32>, tensor<2x1x4xf32>, tensor<4xbf16>, tensor<4xbf16>,
       tensor<6x2xf32>) -> tensor<6x10xbf16>
  // CHECK: step.state_gate_grad %[[CUT]], {{.*}} -> (tensor<6x2x[[T]]>, tensor<2xf32>)
  %dl, %db = step.state_gate_grad %cut, %logits, %h : (tensor<6x2xf32>, tensor<6x2xbf16>, tensor<2xf32>)
             -> (tensor<6x2xbf16>, tensor<2xf32>)
}
