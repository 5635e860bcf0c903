// RUN: megacc-opt %s --verify-roundtrip | FileCheck %s -DT=bf16
// RUN: megacc-opt %s --mlir-print-op-generic | megacc-opt | FileCheck %s -DT=bf16
// RUN: sed "s/bf16/f32/g" %s | megacc-opt --verify-roundtrip | FileCheck %s -DT=f32

// CHECK-LABEL: step.func @recurrent
step.func @recurrent {
  %x = step.zero : tensor<6x10xbf16>
  %w = step.zero : tensor<10x4xbf16>
  %b = step.zero : tensor<10xbf16>
  %documents = step.input "documents" : tensor<2x3xi32>
  // CHECK: step.causal_conv {{.*}}silu} : (tensor<6x10x[[T]]>, tensor<10x4x[[T]]>, tensor<10x[[T]]>, tensor<2x3xi32>) -> tensor<6x10x[[T]]>
  %y = step.causal_conv %x, %w, %b, %documents {batch = 2 : i64, sequence = 3 : i64, silu, operandSegmentSizes = array<i32: 1, 1, 1, 1>}
       : (tensor<6x10xbf16>, tensor<10x4xbf16>, tensor<10xbf16>, tensor<2x3xi32>) -> tensor<6x10xbf16>
  // CHECK: step.causal_conv {{.*}} : (tensor<6x10x[[T]]>, tensor<10x4x[[T]]>, tensor<2x3xi32>) -> tensor<6x10x[[T]]>
  %plain = step.causal_conv %y, %w, %documents {batch = 2 : i64, sequence = 3 : i64, operandSegmentSizes = array<i32: 1, 1, 0, 1>}
           : (tensor<6x10xbf16>, tensor<10x4xbf16>, tensor<2x3xi32>) -> tensor<6x10xbf16>
  // CHECK: step.causal_conv_grad {{.*}} -> (tensor<6x10x[[T]]>, tensor<10x4xf32>, tensor<10xf32>)
  %dx, %dw, %db = step.causal_conv_grad %y, %x, %w {batch = 2 : i64, sequence = 3 : i64, operandSegmentSizes = array<i32: 1, 1, 1, 0, 0>}
                  : (tensor<6x10xbf16>, tensor<6x10xbf16>, tensor<10x4xbf16>) -> (tensor<6x10xbf16>, tensor<10x4xf32>, tensor<10xf32>)
  %q = step.zero : tensor<6x5xbf16>
  %f = step.zero : tensor<6x2xbf16>
  %a = step.zero : tensor<2xf32>
  %state = step.zero : tensor<2x5x5xbf16>
  // CHECK: %[[H:.*]], %[[STATES:.*]] = step.m2rnn_scan {{.*}} {batch = 2 : i64, cached = ["states"], sequence = 3 : i64} : {{.*}} -> (tensor<6x10x[[T]]>, tensor<2x2x2x5x5xf32>)
  %h, %states = step.m2rnn_scan %q, %q, %x, %f, %a, %a, %state, %documents {batch = 2 : i64, cached = ["states"], sequence = 3 : i64}
                : (tensor<6x5xbf16>, tensor<6x5xbf16>, tensor<6x10xbf16>, tensor<6x2xbf16>, tensor<2xf32>, tensor<2xf32>,
                tensor<2x5x5xbf16>,
                   tensor<2x3xi32>) -> (tensor<6x10xbf16>, tensor<2x2x2x5x5xf32>)
  // CHECK: step.m2rnn_scan {{.*}} {batch = 2 : i64, sequence = 3 : i64} : {{.*}} -> tensor<6x10x[[T]]>
  %bare = step.m2rnn_scan %q, %q, %x, %f, %a, %a, %state {batch = 2 : i64, sequence = 3 : i64}
          : (tensor<6x5xbf16>, tensor<6x5xbf16>, tensor<6x10xbf16>, tensor<6x2xbf16>, tensor<2xf32>, tensor<2xf32>, tensor<2x5x5xbf16>)
          -> tensor<6x10xbf16>
  // CHECK: step.m2rnn_scan_grad %[[H]], {{.*}}, %[[STATES]] {batch = 2 : i64, cached = ["states"]
  // CHECK-SAME: -> (tensor<6x5x[[T]]>, tensor<6x5x[[T]]>, tensor<6x10x[[T]]>, tensor<6x2x[[T]]>, tensor<2xf32>, tensor<2xf32>, tensor<2x5x5xf32>)
  %g:7 = step.m2rnn_scan_grad %h, %q, %q, %x, %f, %a, %a, %state, %documents, %states {batch = 2 : i64, cached = ["states"],
         sequence = 3 : i64,
         operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 1, 1, 1, 1, 1>}
         : (tensor<6x10xbf16>, tensor<6x5xbf16>, tensor<6x5xbf16>, tensor<6x10xbf16>, tensor<6x2xbf16>, tensor<2xf32>, tensor<2xf32>,
            tensor<2x5x5xbf16>, tensor<2x3xi32>, tensor<2x2x2x5x5xf32>)
         -> (tensor<6x5xbf16>, tensor<6x5xbf16>, tensor<6x10xbf16>, tensor<6x2xbf16>, tensor<2xf32>, tensor<2xf32>, tensor<2x5x5xf32>)
  %skip = step.zero : tensor<2x5xbf16>
  // CHECK: step.skip_gate %{{.*}} -> tensor<6x10x[[T]]>
  %out = step.skip_gate %h, %x, %y, %skip : (tensor<6x10xbf16>, tensor<6x10xbf16>, tensor<6x10xbf16>, tensor<2x5xbf16>) -> tensor<6x10xbf16>
  // CHECK: step.skip_gate_grad {{.*}} -> (tensor<6x10x[[T]]>, tensor<6x10x[[T]]>, tensor<6x10x[[T]]>, tensor<2x5xf32>)
  %s:4 = step.skip_gate_grad %out, %h, %x, %y, %skip
         : (tensor<6x10xbf16>, tensor<6x10xbf16>, tensor<6x10xbf16>, tensor<6x10xbf16>, tensor<2x5xbf16>)
         -> (tensor<6x10xbf16>, tensor<6x10xbf16>, tensor<6x10xbf16>, tensor<2x5xf32>)
}
