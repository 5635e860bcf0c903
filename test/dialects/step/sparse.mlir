// RUN: megacc-opt %s --verify-roundtrip | FileCheck %s -DT=bf16
// RUN: sed "s/bf16/f32/g" %s | megacc-opt --verify-roundtrip | FileCheck %s -DT=f32

// CHECK-LABEL: step.func @sparse
step.func @sparse {
  %q = step.zero : tensor<6x8xbf16>
  %v = step.zero : tensor<6x6xbf16>
  %k = step.zero : tensor<6x4xbf16>
  %w = step.zero : tensor<6x2xbf16>
  %weight = step.zero : tensor<4xbf16>
  %documents = step.input "documents" : tensor<2x3xi32>
  // CHECK: step.detach %{{.*}} : tensor<6x8x[[T]]>
  %n = step.detach %q : tensor<6x8xbf16>
  // CHECK: step.layer_norm {{.*}} -> tensor<6x4x[[T]]>
  %normed = step.layer_norm %k, %weight, %weight {eps = 1.0e-5 : f64}
            : (tensor<6x4xbf16>, tensor<4xbf16>, tensor<4xbf16>) -> tensor<6x4xbf16>
  // CHECK: step.layer_norm_grad {{.*}} -> (tensor<6x4x[[T]]>, tensor<4xf32>, tensor<4xf32>)
  %ln:3 = step.layer_norm_grad %k, %k, %weight {eps = 1.0e-5 : f64}
          : (tensor<6x4xbf16>, tensor<6x4xbf16>, tensor<4xbf16>) -> (tensor<6x4xbf16>, tensor<4xf32>, tensor<4xf32>)
  // CHECK: %[[S:.*]] = step.select_keys {{.*}} -> tensor<6x2xi32>
  %support = step.select_keys %n, %normed, %w, %documents {batch = 2 : i64, sequence = 3 : i64, heads = 2 : i64, dim = 4 : i64}
             : (tensor<6x8xbf16>, tensor<6x4xbf16>, tensor<6x2xbf16>, tensor<2x3xi32>) -> tensor<6x2xi32>
  // CHECK: step.sparse_attention %{{.*}}, %[[S]] {{.*}} -> tensor<6x6x[[T]]>
  %y = step.sparse_attention %q, %q, %v, %support {batch = 2 : i64, sequence = 3 : i64, heads = 2 : i64, qk_dim = 4 : i64, v_dim = 3 : i64,
       scale = 0.5 : f64} : (tensor<6x8xbf16>, tensor<6x8xbf16>, tensor<6x6xbf16>, tensor<6x2xi32>) -> tensor<6x6xbf16>
  // CHECK: step.sparse_attention_grad {{.*}} -> (tensor<6x8x[[T]]>, tensor<6x8x[[T]]>, tensor<6x6x[[T]]>)
  %d:3 = step.sparse_attention_grad %y, %q, %q, %v, %support {batch = 2 : i64, sequence = 3 : i64, heads = 2 : i64, qk_dim = 4 : i64,
         v_dim = 3 : i64, scale = 0.5 : f64} : (tensor<6x6xbf16>, tensor<6x8xbf16>, tensor<6x8xbf16>, tensor<6x6xbf16>, tensor<6x2xi32>)
         -> (tensor<6x8xbf16>, tensor<6x8xbf16>, tensor<6x6xbf16>)
  // CHECK: %{{.*}}, %[[D:.*]] = step.support_kl {{.*}} -> (tensor<1xf32>, tensor<6x2xf32>)
  %loss, %difference = step.support_kl %q, %q, %n, %normed, %w, %support {batch = 2 : i64, sequence = 3 : i64, heads = 2 : i64,
                       qk_dim = 4 : i64, index_heads = 2 : i64, index_dim = 4 : i64, tokens = 6 : i64, scale = 0.5 : f64,
                       index_scale = 0.35 : f64, kl = 0.1 : f64}
                       : (tensor<6x8xbf16>, tensor<6x8xbf16>, tensor<6x8xbf16>, tensor<6x4xbf16>, tensor<6x2xbf16>, tensor<6x2xi32>)
                       -> (tensor<1xf32>, tensor<6x2xf32>)
  // CHECK: step.support_kl_grad %[[D]], {{.*}} -> (tensor<6x8x[[T]]>, tensor<6x4x[[T]]>, tensor<6x2x[[T]]>)
  %g:3 = step.support_kl_grad %difference, %n, %normed, %w, %support {batch = 2 : i64, sequence = 3 : i64, index_heads = 2 : i64,
         index_dim = 4 : i64, index_scale = 0.35 : f64, factor = 0.01 : f64}
         : (tensor<6x2xf32>, tensor<6x8xbf16>, tensor<6x4xbf16>, tensor<6x2xbf16>, tensor<6x2xi32>)
         -> (tensor<6x8xbf16>, tensor<6x4xbf16>, tensor<6x2xbf16>)
}
