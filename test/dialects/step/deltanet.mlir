// RUN: megacc-opt %s --verify-roundtrip | FileCheck %s -DT=bf16
// RUN: megacc-opt %s --mlir-print-op-generic | megacc-opt | FileCheck %s -DT=bf16
// RUN: sed "s/bf16/f32/g" %s | megacc-opt --verify-roundtrip | FileCheck %s -DT=f32

// CHECK-LABEL: step.func @delta
step.func @delta {
  %q = step.zero : tensor<6x10xbf16>
  %v = step.zero : tensor<6x12xbf16>
  %b = step.zero : tensor<6x4xbf16>
  %a = step.zero : tensor<4xf32>
  %documents = step.input "documents" : tensor<2x3xi32>
  // CHECK: %[[Y:.*]], %[[STATES:.*]] = step.gated_delta {{.*}} {batch = 2 : i64, cached = ["states"], chunk = 16 : i64, key_heads = 2 : i64, neg_eigval, sequence = 3 : i64} : {{.*}} -> (tensor<6x12x[[T]]>, tensor<2x4x1x5x3xf32>)
  %y, %states = step.gated_delta %q, %q, %v, %b, %b, %a, %a, %documents {batch = 2 : i64, cached = ["states"], chunk = 16 : i64,
                key_heads = 2 : i64, neg_eigval, sequence = 3 : i64}
                : (tensor<6x10xbf16>, tensor<6x10xbf16>, tensor<6x12xbf16>, tensor<6x4xbf16>, tensor<6x4xbf16>, tensor<4xf32>,
                   tensor<4xf32>, tensor<2x3xi32>) -> (tensor<6x12xbf16>, tensor<2x4x1x5x3xf32>)
  // CHECK: step.gated_delta {{.*}} {batch = 2 : i64, chunk = 64 : i64, key_heads = 2 : i64, sequence = 3 : i64} : {{.*}} -> tensor<6x12x[[T]]>
  %bare = step.gated_delta %q, %q, %v, %b, %b, %a, %a {batch = 2 : i64, chunk = 64 : i64, key_heads = 2 : i64, sequence = 3 : i64}
          : (tensor<6x10xbf16>, tensor<6x10xbf16>, tensor<6x12xbf16>, tensor<6x4xbf16>, tensor<6x4xbf16>, tensor<4xf32>, tensor<4xf32>)
          -> tensor<6x12xbf16>
  // CHECK: step.gated_delta_grad %[[Y]], {{.*}}, %[[STATES]] {batch = 2 : i64, cached = ["states"]
  // CHECK-SAME: -> (tensor<6x10x[[T]]>, tensor<6x10x[[T]]>, tensor<6x12x[[T]]>, tensor<6x4x[[T]]>, tensor<6x4x[[T]]>, tensor<4xf32>, tensor<4xf32>)
  %g:7 = step.gated_delta_grad %y, %q, %q, %v, %b, %b, %a, %a, %documents, %states {batch = 2 : i64, cached = ["states"],
         chunk = 16 : i64, key_heads = 2 : i64, neg_eigval, sequence = 3 : i64,
         operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 1, 1, 1, 1, 1>}
         : (tensor<6x12xbf16>, tensor<6x10xbf16>, tensor<6x10xbf16>, tensor<6x12xbf16>, tensor<6x4xbf16>, tensor<6x4xbf16>, tensor<4xf32>,
            tensor<4xf32>, tensor<2x3xi32>, tensor<2x4x1x5x3xf32>)
         -> (tensor<6x10xbf16>, tensor<6x10xbf16>, tensor<6x12xbf16>, tensor<6x4xbf16>, tensor<6x4xbf16>, tensor<4xf32>, tensor<4xf32>)
  %w = step.zero : tensor<3xbf16>
  // CHECK: step.gated_norm {{.*}} : (tensor<6x12x[[T]]>, tensor<6x12x[[T]]>, tensor<3x[[T]]>) -> tensor<6x12x[[T]]>
  %n = step.gated_norm %y, %v, %w {eps = 1.0e-5 : f64} : (tensor<6x12xbf16>, tensor<6x12xbf16>, tensor<3xbf16>) -> tensor<6x12xbf16>
  // CHECK: step.gated_norm_grad {{.*}} -> (tensor<6x12x[[T]]>, tensor<6x12x[[T]]>, tensor<3xf32>)
  %d:3 = step.gated_norm_grad %n, %y, %v, %w {eps = 1.0e-5 : f64}
         : (tensor<6x12xbf16>, tensor<6x12xbf16>, tensor<6x12xbf16>, tensor<3xbf16>)
         -> (tensor<6x12xbf16>, tensor<6x12xbf16>, tensor<3xf32>)
}
