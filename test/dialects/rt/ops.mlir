// RUN: megacc-opt %s | FileCheck %s
// RUN: megacc-opt %s --mlir-print-op-generic | megacc-opt | FileCheck %s
// RUN: megacc-opt %s --emit-bytecode | megacc-opt | FileCheck %s

// CHECK: rt.segment "weights" bytes 256
rt.segment "weights" bytes 256
// CHECK-NEXT: rt.segment "temporaries" bytes 512 {live_bytes = 512 : i64, peak = "micro_batch"}
rt.segment "temporaries" bytes 512 {live_bytes = 512 : i64, peak = "micro_batch"}
// CHECK-NEXT: rt.parameter "w" : tensor<4x4xf32> at <weights[0 : 64]> {block = 0 : i64, gradient = #rt.range<gradients[0 : 64]>, init = "normal", init_a = 2.000000e-02 : f64, trained}
rt.parameter "w" : tensor<4x4xf32> at <weights[0 : 64]> {block = 0 : i64, gradient = #rt.range<gradients[0 : 64]>, init = "normal", init_a = 2.0e-02 : f64, trained}
// CHECK-NEXT: rt.input "tokens" : tensor<2x8xi32> at <io[0 : 64 + 256 m]>
rt.input "tokens" : tensor<2x8xi32> at <io[0 : 64 + 256 m]>
// CHECK-NEXT: rt.metric "loss.main" : tensor<1xf32> at <io[1024 : 4]> {weight = 1.000000e+00 : f64}
rt.metric "loss.main" : tensor<1xf32> at <io[1024 : 4]> {weight = 1.0 : f64}
// CHECK-NEXT: rt.output "logits" of "evaluate" : tensor<2x8xf32> at <io[1280 : 64]>
rt.output "logits" of "evaluate" : tensor<2x8xf32> at <io[1280 : 64]>
// CHECK-NEXT: rt.func @micro_batch {
rt.func @micro_batch {
  // CHECK-NEXT: rt.call @mg_rms_norm(out temporaries[0 : 64] value 0, out temporaries[256 : 16] value 1, null, in io[0 : 64 + 256 m], in weights[0 : 16]) {rows = 4, cols = 4, accumulate = 1, eps = 1.000000e-05} block 0 cost 0 160
  rt.call @mg_rms_norm(out temporaries[0 : 64] value 0, out temporaries[256 : 16] value 1, null, in io[0 : 64 + 256 m], in weights[0 : 16]) {rows = 4, cols = 4, accumulate = 1, eps = 1.0e-05} block 0 cost 0 160
  // CHECK-NEXT: rt.call @mg_split(out temporaries[64 : 32] value 2, out temporaries[128 : 32] value 3, in temporaries[0 : 64] value 0) {rows = 4, groups = 1, parts = 2, width0 = 2, width1 = 2, width2 = 0, width3 = 0} block -1 cost 0 128
  rt.call @mg_split(out temporaries[64 : 32] value 2, out temporaries[128 : 32] value 3, in temporaries[0 : 64] value 0) {rows = 4, groups = 1, parts = 2, width0 = 2, width1 = 2, width2 = 0, width3 = 0} block -1 cost 0 128
}
