// RUN: megacc-opt %s --verify-roundtrip | FileCheck %s -DT=bf16
// RUN: megacc-opt %s --mlir-print-op-generic | megacc-opt | FileCheck %s -DT=bf16
// RUN: sed "s/bf16/f32/g" %s | megacc-opt --verify-roundtrip | FileCheck %s -DT=f32

// CHECK-LABEL: step.func @neighbours
step.func @neighbours {
  %tokens = step.input "tokens" : tensor<2x3xi32>
  %documents = step.input "documents" : tensor<2x3xi32>
  // CHECK: step.ngram_rows {{.*}} {orders = array<i64: 2, 3>, seed = 0 : i64, sizes = array<i64: 7, 11>} : (tensor<2x3xi32>, tensor<2x3xi32>) -> tensor<6x2xi32>
  %rows = step.ngram_rows %tokens, %documents {orders = array<i64: 2, 3>, sizes = array<i64: 7, 11>, seed = 0 : i64}
          : (tensor<2x3xi32>, tensor<2x3xi32>) -> tensor<6x2xi32>
  %table = step.zero : tensor<18x4xbf16>
  // CHECK: step.embedding {{.*}} -> tensor<6x8x[[T]]>
  %found = step.embedding %table, %rows : (tensor<18x4xbf16>, tensor<6x2xi32>) -> tensor<6x8xbf16>
  // CHECK: step.shift {{.*}} {batch = 2 : i64, distance = -1 : i64, sequence = 3 : i64} : (tensor<6x8x[[T]]>) -> tensor<6x8x[[T]]>
  %back = step.shift %found {batch = 2 : i64, sequence = 3 : i64, distance = -1 : i64} : (tensor<6x8xbf16>) -> tensor<6x8xbf16>
  // CHECK: step.shift_targets {{.*}} {distance = 2 : i64}
  %ahead = step.shift_targets %tokens, %documents {distance = 2 : i64} : (tensor<2x3xi32>, tensor<2x3xi32>) -> tensor<2x3xi32>
}
