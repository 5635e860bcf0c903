// RUN: megacc-opt %s --verify-roundtrip | FileCheck %s -DT=bf16
// RUN: sed "s/bf16/f32/g" %s | megacc-opt --verify-roundtrip | FileCheck %s -DT=f32

// CHECK-LABEL: step.func @norms
step.func @norms {
  %x = step.zero : tensor<6x4xbf16>
  %weight = step.zero : tensor<4xbf16>
  %alpha = step.zero : tensor<1xf32>
  // CHECK: step.dyt {{.*}} {nonfinite = "nonfinite.blocks.0"} : {{.*}} -> tensor<6x4x[[T]]>
  %y = step.dyt %x, %weight, %weight, %alpha {nonfinite = "nonfinite.blocks.0"}
       : (tensor<6x4xbf16>, tensor<4xbf16>, tensor<4xbf16>, tensor<1xf32>) -> tensor<6x4xbf16>
  // CHECK: step.dyt_grad {{.*}} -> (tensor<6x4x[[T]]>, tensor<4xf32>, tensor<4xf32>, tensor<1xf32>)
  %d:4 = step.dyt_grad %y, %x, %weight, %alpha
         : (tensor<6x4xbf16>, tensor<6x4xbf16>, tensor<4xbf16>, tensor<1xf32>)
         -> (tensor<6x4xbf16>, tensor<4xf32>, tensor<4xf32>, tensor<1xf32>)
  // CHECK: step.scale {{.*}} : (tensor<6x4x[[T]]>, tensor<4x[[T]]>) -> tensor<6x4x[[T]]>
  %scaled = step.scale %x, %weight : (tensor<6x4xbf16>, tensor<4xbf16>) -> tensor<6x4xbf16>
  // CHECK: step.scale {{.*}} : (tensor<6x4x[[T]]>, tensor<1xf32>) -> tensor<6x4x[[T]]>
  %lifted = step.scale %x, %alpha : (tensor<6x4xbf16>, tensor<1xf32>) -> tensor<6x4xbf16>
  // CHECK: step.scale_grad {{.*}} -> (tensor<6x4x[[T]]>, tensor<4xf32>)
  %s:2 = step.scale_grad %scaled, %x, %weight : (tensor<6x4xbf16>, tensor<6x4xbf16>, tensor<4xbf16>) -> (tensor<6x4xbf16>, tensor<4xf32>)
}
