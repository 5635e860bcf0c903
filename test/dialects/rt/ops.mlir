// RUN: megacc-opt %s | FileCheck %s
// RUN: megacc-opt %s --mlir-print-op-generic | megacc-opt | FileCheck %s
// RUN: megacc-opt %s --emit-bytecode | megacc-opt | FileCheck %s

// CHECK: rt.segment "weights" bytes 256
rt.segment "weights" bytes 256
// CHECK-NEXT: rt.segment "temporaries" bytes 512 {live_bytes = 512 : i64, peak = "micro_batch"}
rt.segment "temporaries" bytes 512 {live_bytes = 512 : i64, peak = "micro_batch"}
// CHECK-NEXT: rt.segment "constants" bytes 256
rt.segment "constants" bytes 256
// CHECK-NEXT: rt.parameter "w" : tensor<4x4xf32> at <weights[0 : 64]> {block = 0 : i64, gradient = #rt.range<gradients[0 : 64]>, init = "normal", init_a = 2.000000e-02 : f64, trained}
rt.parameter "w" : tensor<4x4xf32> at <weights[0 : 64]> {block = 0 : i64, gradient = #rt.range<gradients[0 : 64]>, init = "normal",
    init_a = 2.0e-02 : f64, trained}
// CHECK-NEXT: rt.parameter "b" : tensor<4xbf16> at <weights[64 : 8] bf16> {{.*}} master = #rt.range<optimizer[0 : 16]>
rt.parameter "b" : tensor<4xbf16> at <weights[64 : 8] bf16> {block = 0 : i64, init = "constant", init_a = 1.0 : f64,
    master = #rt.range<optimizer[0 : 16]>, trained}
// CHECK-NEXT: rt.input "tokens" : tensor<2x8xi32> at <io[0 : 64 + 256 m] i32>
rt.input "tokens" : tensor<2x8xi32> at <io[0 : 64 + 256 m] i32>
// CHECK-NEXT: rt.metric "loss.main" : tensor<1xf32> at <io[1024 : 4]> {weight = 1.000000e+00 : f64}
rt.metric "loss.main" : tensor<1xf32> at <io[1024 : 4]> {weight = 1.0 : f64}
// CHECK-NEXT: rt.output "logits" of "evaluate" : tensor<2x8xf32> at <io[1280 : 64]>
rt.output "logits" of "evaluate" : tensor<2x8xf32> at <io[1280 : 64]>
// CHECK-NEXT: rt.table <constants[0 : 24] i64> [1, -2, 3]
rt.table <constants[0 : 24] i64> [1, -2, 3]

// CHECK-NEXT: rt.func @optional_operands_are_null {
rt.func @optional_operands_are_null {
  // CHECK-NEXT: rt.call @mg_rms_norm(out temporaries[0 : 64] value 0, null, out temporaries[256 : 16] value 1, null, in io[0 : 64 + 256 m], null, in weights[0 : 16]) {rows = 4, cols = 4, eps = 1.000000e-05} block 0 cost 0 160
  rt.call @mg_rms_norm(out temporaries[0 : 64] value 0, null, out temporaries[256 : 16] value 1, null, in io[0 : 64 + 256 m], null,
      in weights[0 : 16]) {rows = 4, cols = 4, eps = 1.0e-05} block 0 cost 0 160
}

// CHECK: rt.func @types_follow_the_bracket {
rt.func @types_follow_the_bracket {
  // CHECK-NEXT: rt.call @mg_add(out temporaries[0 : 32] bf16 value 2, in temporaries[0 : 32] bf16 value 1, in temporaries[64 : 64] value 0)
  rt.call @mg_add(out temporaries[0 : 32] bf16 value 2, in temporaries[0 : 32] bf16 value 1, in temporaries[64 : 64] f32 value 0)
      {count = 16} block 0 cost 0 160
}

// CHECK: rt.func @groups_have_parts_operands {
rt.func @groups_have_parts_operands {
  // CHECK-NEXT: rt.call @mg_split(in temporaries[0 : 64] value 0, out temporaries[64 : 32] value 2, out temporaries[128 : 32] value 3) {rows = 4, groups = 1, width0 = 2, width1 = 2, width2 = 0, width3 = 0, parts = 2} block -1
  rt.call @mg_split(in temporaries[0 : 64] value 0, out temporaries[64 : 32] value 2, out temporaries[128 : 32] value 3) {rows = 4,
      groups = 1, width0 = 2, width1 = 2, width2 = 0, width3 = 0, parts = 2} block -1 cost 0 128
  // CHECK-NEXT: rt.call @mg_norm(out io[256 : 4], in temporaries[0 : 8] f64 value 0, in temporaries[256 : 8] f64 value 1, in temporaries[512 : 8] f64 value 2) {parts = 3}
  rt.call @mg_norm(out io[256 : 4], in temporaries[0 : 8] f64 value 0, in temporaries[256 : 8] f64 value 1,
      in temporaries[512 : 8] f64 value 2) {parts = 3} block -1 cost 0 128
}

// CHECK: rt.func @every_role {
rt.func @every_role {
  // CHECK-NEXT: rt.call @mg_linear_grad_weight(sum gradients[0 : 64], in temporaries[0 : 64] value 0, in temporaries[64 : 64] value 1, scratch temporaries[128 : 0] raw) {rows = 4, in = 4, out = 4, accumulate = 1}
  rt.call @mg_linear_grad_weight(sum gradients[0 : 64], in temporaries[0 : 64] value 0, in temporaries[64 : 64] value 1,
      scratch temporaries[128 : 0] raw) {rows = 4, in = 4, out = 4, accumulate = 1} block 0 cost 0 160
  // CHECK-NEXT: rt.call @mg_ngram_rows(out temporaries[0 : 64] i32 value 0, in io[0 : 64] i32, null, table constants[0 : 48] i64)
  rt.call @mg_ngram_rows(out temporaries[0 : 64] i32 value 0, in io[0 : 64] i32, null, table constants[0 : 48] i64) {batch = 2,
      sequence = 8, count = 1, longest = 3} block -1 cost 0 0
  // CHECK-NEXT: rt.call @mg_adamw(inout weights[64 : 8] bf16, inout optimizer[0 : 16], inout optimizer[16 : 16], inout optimizer[32 : 16], in gradients[64 : 16], in io[256 : 4], in io[512 : 12])
  rt.call @mg_adamw(inout weights[64 : 8] bf16, inout optimizer[0 : 16], inout optimizer[16 : 16], inout optimizer[32 : 16],
      in gradients[64 : 16], in io[256 : 4], in io[512 : 12]) {count = 4, decays = 0, ranks = 1, axes = 0, beta1 = 0.9, beta2 = 0.95,
      eps = 1.0e-8, decay = 0.1, clip = 1.0} block -1 cost 0 0
}

// CHECK: rt.func @streams {
rt.func @streams {
  // CHECK-NEXT: {count = 16} on 1 block -1 cost 0 0
  rt.call @mg_copy(out io[0 : 64], in io[64 : 64]) {count = 16} on 1 block -1 cost 0 0
  // The first stream goes without saying.
  // CHECK-NEXT: {count = 16} block -1 cost 0 0
  rt.call @mg_copy(out io[0 : 64], in io[64 : 64]) {count = 16} on 0 block -1 cost 0 0
}
