// RUN: megacc-opt %s --verify-roundtrip | FileCheck %s -DT=bf16
// RUN: megacc-opt %s --mlir-print-op-generic | megacc-opt | FileCheck %s -DT=bf16
// RUN: sed "s/bf16/f32/g" %s | megacc-opt --verify-roundtrip | FileCheck %s -DT=f32

// CHECK-LABEL: step.func @averages
step.func @averages {
  %documents = step.input "documents" : tensor<2x3xi32>
  %x = step.zero : tensor<6x8xbf16>
  // CHECK: step.window_sum {{.*}} {ahead, batch = 2 : i64, scale = 5.000000e-01 : f64, sequence = 3 : i64, window = 2 : i64} : (tensor<6x8x[[T]]>, tensor<2x3xi32>) -> tensor<6x8x[[T]]>
  %sum = step.window_sum %x, %documents {ahead, batch = 2 : i64, scale = 0.5 : f64, sequence = 3 : i64, window = 2 : i64}
         : (tensor<6x8xbf16>, tensor<2x3xi32>) -> tensor<6x8xbf16>
  // CHECK: step.unit_norm {{.*}} : (tensor<6x8x[[T]]>) -> tensor<6x8x[[T]]>
  %y = step.unit_norm %sum {eps = 1.0e-5 : f64} : (tensor<6x8xbf16>) -> tensor<6x8xbf16>
  // CHECK: step.unit_norm_grad
  %d_sum = step.unit_norm_grad %y, %sum {eps = 1.0e-5 : f64} : (tensor<6x8xbf16>, tensor<6x8xbf16>) -> tensor<6x8xbf16>
  // CHECK: step.alignment {{.*}} {eps = 1.000000e-05 : f64, root} : (tensor<6x8x[[T]]>, tensor<6x8x[[T]]>) -> tensor<6x1x[[T]]>
  %gate = step.alignment %x, %y {eps = 1.0e-5 : f64, root} : (tensor<6x8xbf16>, tensor<6x8xbf16>) -> tensor<6x1xbf16>
  // CHECK: step.alignment_grad
  %d:2 = step.alignment_grad %gate, %x, %y {eps = 1.0e-5 : f64} : (tensor<6x1xbf16>, tensor<6x8xbf16>, tensor<6x8xbf16>)
         -> (tensor<6x8xbf16>, tensor<6x8xbf16>)
}

// CHECK-LABEL: step.func @components
step.func @components {
  %a = step.input "structure.structure" : tensor<2x3xi32>
  %b = step.input "structure.dep_level" : tensor<2x3xi32>
  // CHECK: step.component_rows {{.*}} {sizes = array<i64: 9, 16>} : (tensor<2x3xi32>, tensor<2x3xi32>) -> tensor<6x2xi32>
  %rows = step.component_rows %a, %b {sizes = array<i64: 9, 16>} : (tensor<2x3xi32>, tensor<2x3xi32>) -> tensor<6x2xi32>
  %x = step.zero : tensor<6x8xbf16>
  %weight = step.zero : tensor<2xbf16>
  // CHECK: step.weighted_parts {{.*}} -> tensor<6x4x[[T]]>
  %y = step.weighted_parts %x, %weight : (tensor<6x8xbf16>, tensor<2xbf16>) -> tensor<6x4xbf16>
  // CHECK: step.weighted_parts_grad {{.*}} -> (tensor<6x8x[[T]]>, tensor<2xf32>)
  %d:2 = step.weighted_parts_grad %y, %x, %weight : (tensor<6x4xbf16>, tensor<6x8xbf16>, tensor<2xbf16>)
         -> (tensor<6x8xbf16>, tensor<2xf32>)
}

// CHECK-LABEL: step.func @bank
step.func @bank {
  %q = step.zero : tensor<6x8xbf16>
  %k = step.zero : tensor<5x8xbf16>
  // CHECK: step.bank_attention {{.*}} {heads = 2 : i64, scale = 5.000000e-01 : f64}
  %y = step.bank_attention %q, %k, %k {heads = 2 : i64, scale = 0.5 : f64}
       : (tensor<6x8xbf16>, tensor<5x8xbf16>, tensor<5x8xbf16>) -> tensor<6x8xbf16>
  // CHECK: step.bank_attention_grad
  %d:3 = step.bank_attention_grad %y, %q, %k, %k {heads = 2 : i64, scale = 0.5 : f64}
         : (tensor<6x8xbf16>, tensor<6x8xbf16>, tensor<5x8xbf16>, tensor<5x8xbf16>)
         -> (tensor<6x8xbf16>, tensor<5x8xbf16>, tensor<5x8xbf16>)
}

// CHECK-LABEL: step.func @spans
step.func @spans {
  %x = step.zero : tensor<6x8xbf16>
  %spans = step.input "stp.spans" : tensor<4x3xi32>
  %documents = step.input "documents" : tensor<2x3xi32>
  // CHECK: step.count_spans {{.*}} {batch = 2 : i64} : (tensor<4x3xi32>, tensor<2x3xi32>) -> tensor<1xf32>
  %count = step.count_spans %spans, %documents {batch = 2 : i64} : (tensor<4x3xi32>, tensor<2x3xi32>) -> tensor<1xf32>
  // CHECK: step.straightness {{.*}} -> tensor<1xf32>
  %loss = step.straightness %x, %spans, %count, %documents
          {batch = 2 : i64, layers = 2 : i64, sequence = 3 : i64, weight = 0.05 : f64}
          : (tensor<6x8xbf16>, tensor<4x3xi32>, tensor<1xf32>, tensor<2x3xi32>) -> tensor<1xf32>
  // CHECK: step.straightness_grad {{.*}} -> tensor<6x8x[[T]]>
  %d_x = step.straightness_grad %x, %spans, %count
         {batch = 2 : i64, layers = 2 : i64, sequence = 3 : i64, weight = 0.05 : f64}
         : (tensor<6x8xbf16>, tensor<4x3xi32>, tensor<1xf32>) -> tensor<6x8xbf16>
}
