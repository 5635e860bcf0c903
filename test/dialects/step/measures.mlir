// RUN: megacc-opt %s --verify-roundtrip | FileCheck %s
// RUN: sed "s/bf16/f32/g" %s | megacc-opt --verify-roundtrip | FileCheck %s

// CHECK-LABEL: step.func @measures
step.func @measures {
  %q = step.zero : tensor<6x8xbf16>
  %k = step.zero : tensor<6x4xbf16>
  %documents = step.input "documents" : tensor<2x3xi32>
  %support = step.input "support" : tensor<6x2xi32>
  // CHECK: step.attention_entropy {{.*}}, tensor<2x3xi32>) -> tensor<1xf32>
  %entropy = step.attention_entropy %q, %k, %documents {batch = 2 : i64, sequence = 3 : i64, heads = 4 : i64, kv_heads = 2 : i64,
             qk_dim = 2 : i64, scale = 0.5 : f64, share = 0.1 : f64, operandSegmentSizes = array<i32: 1, 1, 1, 0>}
             : (tensor<6x8xbf16>, tensor<6x4xbf16>, tensor<2x3xi32>) -> tensor<1xf32>
  // CHECK: step.attention_entropy {{.*}}, tensor<6x2xi32>) -> tensor<1xf32>
  %sparse = step.attention_entropy %q, %q, %support {batch = 2 : i64, sequence = 3 : i64, heads = 4 : i64, kv_heads = 4 : i64,
            qk_dim = 2 : i64, scale = 0.5 : f64, share = 0.1 : f64, operandSegmentSizes = array<i32: 1, 1, 0, 1>}
            : (tensor<6x8xbf16>, tensor<6x8xbf16>, tensor<6x2xi32>) -> tensor<1xf32>
  %x = step.input "x" : tensor<6x34xbf16>
  %h = step.input "h" : tensor<2xf32>
  %b = step.input "b" : tensor<2x1x4xf32>
  %n = step.input "n" : tensor<4xbf16>
  // CHECK: step.mamba3_state_norm {{.*}} -> tensor<1xf32>
  %last = step.mamba3_state_norm %x, %h, %h, %b, %b, %n, %n {batch = 2 : i64, sequence = 3 : i64, heads = 2 : i64, groups = 1 : i64,
          rank = 1 : i64, head_dim = 5 : i64, state = 4 : i64, angles = 0 : i64, eps = 1.0e-5 : f64, share = 0.25 : f64,
          operandSegmentSizes = array<i32: 1, 6, 0>}
          : (tensor<6x34xbf16>, tensor<2xf32>, tensor<2xf32>, tensor<2x1x4xf32>, tensor<2x1x4xf32>, tensor<4xbf16>, tensor<4xbf16>)
          -> tensor<1xf32>
  %v = step.zero : tensor<6x10xbf16>
  %f = step.zero : tensor<6x2xbf16>
  %state = step.zero : tensor<2x5x5xbf16>
  // CHECK: step.m2rnn_state_norm {{.*}} -> tensor<1xf32>
  %end = step.m2rnn_state_norm %k, %k, %v, %f, %h, %h, %state, %documents {batch = 2 : i64, sequence = 3 : i64, share = 0.25 : f64}
         : (tensor<6x4xbf16>, tensor<6x4xbf16>, tensor<6x10xbf16>, tensor<6x2xbf16>, tensor<2xf32>, tensor<2xf32>, tensor<2x5x5xbf16>,
            tensor<2x3xi32>) -> tensor<1xf32>
}
