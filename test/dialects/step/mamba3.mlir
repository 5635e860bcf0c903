// RUN: megacc-opt %s --verify-roundtrip | FileCheck %s
// RUN: megacc-opt %s --mlir-print-op-generic | megacc-opt | FileCheck %s

step.func @siso {
  %x = step.input "x" : tensor<6x34xf32>
  %h = step.input "h" : tensor<2xf32>
  %b = step.input "b" : tensor<2x1x4xf32>
  %n = step.input "n" : tensor<4xf32>
  // CHECK: step.mamba3_scan {{.*}}chunk = 4 : i64{{.*}}window = 64 : i64
  %y, %states = step.mamba3_scan %x, %h, %h, %b, %b, %n, %n {batch = 2 : i64, sequence = 3 : i64, heads = 2 : i64, groups = 1 : i64,
                rank = 1 : i64, head_dim = 5 : i64, state = 4 : i64, angles = 0 : i64, chunk = 4 : i64, window = 64 : i64, eps = 1.0e-5 : f64,
                operandSegmentSizes = array<i32: 1, 6, 0>}
                : (tensor<6x34xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2x1x4xf32>, tensor<2x1x4xf32>, tensor<4xf32>, tensor<4xf32>)
                -> (tensor<6x10xf32>, tensor<2x2x1x4x5xf32>)
}

step.func @mimo {
  %x = step.input "x" : tensor<6x44xf32>
  %h = step.input "h" : tensor<2xf32>
  %b = step.input "b" : tensor<2x2x4xf32>
  %n = step.input "n" : tensor<4xf32>
  %m = step.input "m" : tensor<2x2x5xf32>
  %w = step.input "w" : tensor<10xf32>
  %documents = step.input "documents" : tensor<2x3xi32>
  // CHECK: %[[Y:.*]], %[[STATES:.*]] = step.mamba3_scan {{.*}}heavy{{.*}}tensor<2x3xi32>)
  %y, %states = step.mamba3_scan %x, %h, %h, %b, %b, %n, %n, %m, %m, %m, %w, %documents {batch = 2 : i64, sequence = 3 : i64, heads = 2 : i64,
                groups = 1 : i64, rank = 2 : i64, head_dim = 5 : i64, state = 4 : i64, angles = 2 : i64, chunk = 4 : i64, window = 64 : i64, heavy,
                eps = 1.0e-5 : f64, operandSegmentSizes = array<i32: 1, 10, 1>}
                : (tensor<6x44xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2x2x4xf32>, tensor<2x2x4xf32>, tensor<4xf32>, tensor<4xf32>,
                   tensor<2x2x5xf32>, tensor<2x2x5xf32>, tensor<2x2x5xf32>, tensor<10xf32>, tensor<2x3xi32>)
                -> (tensor<6x10xf32>, tensor<2x2x1x4x5xf32>)
  // CHECK: %{{.*}}, %{{.*}}:10 = step.mamba3_scan_grad %[[Y]], %[[STATES]]
  %d:11 = step.mamba3_scan_grad %y, %states, %x, %h, %h, %b, %b, %n, %n, %m, %m, %m, %w, %documents {batch = 2 : i64, sequence = 3 : i64,
          heads = 2 : i64, groups = 1 : i64, rank = 2 : i64, head_dim = 5 : i64, state = 4 : i64, angles = 2 : i64, chunk = 4 : i64,
          window = 64 : i64, heavy, eps = 1.0e-5 : f64, operandSegmentSizes = array<i32: 1, 1, 0, 1, 10, 1>}
          : (tensor<6x10xf32>, tensor<2x2x1x4x5xf32>, tensor<6x44xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2x2x4xf32>, tensor<2x2x4xf32>,
             tensor<4xf32>, tensor<4xf32>, tensor<2x2x5xf32>, tensor<2x2x5xf32>, tensor<2x2x5xf32>, tensor<10xf32>, tensor<2x3xi32>)
          -> (tensor<6x44xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2x2x4xf32>, tensor<2x2x4xf32>, tensor<4xf32>, tensor<4xf32>,
              tensor<2x2x5xf32>, tensor<2x2x5xf32>, tensor<2x2x5xf32>, tensor<10xf32>)
}
