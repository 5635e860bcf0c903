// RUN: megacc-opt %s --verify-roundtrip | FileCheck %s
// RUN: megacc-opt %s --mlir-print-op-generic | megacc-opt | FileCheck %s

// CHECK-LABEL: step.func @recurrent
step.func @recurrent {
  %x = step.zero : tensor<6x10xf32>
  %w = step.zero : tensor<10x4xf32>
  %b = step.zero : tensor<10xf32>
  %documents = step.input "documents" : tensor<2x3xi32>
  // CHECK: step.causal_conv {{.*}}silu} : (tensor<6x10xf32>, tensor<10x4xf32>, tensor<10xf32>, tensor<2x3xi32>) -> tensor<6x10xf32>
  %y = step.causal_conv %x, %w, %b, %documents {batch = 2 : i64, sequence = 3 : i64, silu, operandSegmentSizes = array<i32: 1, 1, 1, 1>}
       : (tensor<6x10xf32>, tensor<10x4xf32>, tensor<10xf32>, tensor<2x3xi32>) -> tensor<6x10xf32>
  // CHECK: step.causal_conv {{.*}} : (tensor<6x10xf32>, tensor<10x4xf32>, tensor<2x3xi32>) -> tensor<6x10xf32>
  %plain = step.causal_conv %y, %w, %documents {batch = 2 : i64, sequence = 3 : i64, operandSegmentSizes = array<i32: 1, 1, 0, 1>}
           : (tensor<6x10xf32>, tensor<10x4xf32>, tensor<2x3xi32>) -> tensor<6x10xf32>
  // CHECK: step.causal_conv_grad
  %dx, %dw, %db = step.causal_conv_grad %y, %x, %w {batch = 2 : i64, sequence = 3 : i64, operandSegmentSizes = array<i32: 1, 1, 1, 0, 0>}
                  : (tensor<6x10xf32>, tensor<6x10xf32>, tensor<10x4xf32>) -> (tensor<6x10xf32>, tensor<10x4xf32>, tensor<10xf32>)
  %q = step.zero : tensor<6x5xf32>
  %f = step.zero : tensor<6x2xf32>
  %a = step.zero : tensor<2xf32>
  %state = step.zero : tensor<2x5x5xf32>
  // CHECK: step.m2rnn_scan {{.*}} {batch = 2 : i64, interval = 2 : i64, sequence = 3 : i64}
  %h, %states = step.m2rnn_scan %q, %q, %x, %f, %a, %a, %state, %documents {batch = 2 : i64, sequence = 3 : i64, interval = 2 : i64}
                : (tensor<6x5xf32>, tensor<6x5xf32>, tensor<6x10xf32>, tensor<6x2xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2x5x5xf32>, tensor<2x3xi32>)
                -> (tensor<6x10xf32>, tensor<2x2x2x5x5xf32>)
  // CHECK: step.m2rnn_scan_grad
  %g:7 = step.m2rnn_scan_grad %h, %states, %q, %q, %x, %f, %a, %a, %state, %documents {batch = 2 : i64, sequence = 3 : i64, interval = 2 : i64}
         : (tensor<6x10xf32>, tensor<2x2x2x5x5xf32>, tensor<6x5xf32>, tensor<6x5xf32>, tensor<6x10xf32>, tensor<6x2xf32>, tensor<2xf32>,
            tensor<2xf32>, tensor<2x5x5xf32>, tensor<2x3xi32>)
         -> (tensor<6x5xf32>, tensor<6x5xf32>, tensor<6x10xf32>, tensor<6x2xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2x5x5xf32>)
  %skip = step.zero : tensor<2x5xf32>
  // CHECK: step.skip_gate
  %out = step.skip_gate %h, %x, %y, %skip : (tensor<6x10xf32>, tensor<6x10xf32>, tensor<6x10xf32>, tensor<2x5xf32>) -> tensor<6x10xf32>
  // CHECK: step.skip_gate_grad
  %s:4 = step.skip_gate_grad %out, %h, %x, %y, %skip
         : (tensor<6x10xf32>, tensor<6x10xf32>, tensor<6x10xf32>, tensor<6x10xf32>, tensor<2x5xf32>)
         -> (tensor<6x10xf32>, tensor<6x10xf32>, tensor<6x10xf32>, tensor<2x5xf32>)
}
