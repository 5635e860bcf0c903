// A launch of a slot carries the slot's path and touches no weight of another slot.
// RUN: megacc %models/dense-tiny.mlir --emit=rt | FileCheck %s --check-prefix=RECEIPT
// RUN: megacc-opt %s -rt-build-receipt -split-input-file -verify-diagnostics

// RECEIPT: megacc.receipt = [{bytes = {{[0-9]+}} : i64, family = "attention", flops = {{[0-9]+}} : i64, launches = {
// RECEIPT-SAME: mg_attention = 1 : i64, mg_attention_grad = 1 : i64
// RECEIPT-SAME: letter = "A", parameters = 49280 : i64, slot = 0 : i64}

// expected-error @+1 {{has no attribute 'megacc.slots'}}
module {
}

// -----

module attributes {megacc.slots = [{slot = 0, letter = "A", family = "attention"}, {slot = 1, letter = "F", family = "mlp"}]} {
  rt.parameter "blocks.0.norm.weight" : tensor<16xf32> at <weights[0 : 64]> {block = 0, trained, init = "constant", init_a = 1.0}
  rt.func @micro_batch {
    // expected-error @+1 {{is of slot 1, but its path is ""}}
    rt.call @mg_copy(out temporaries[0 : 64], in io[0 : 64]) {count = 16} block 1 cost 0 0
    // expected-error @+1 {{is of slot 2, but the stack has 2}}
    rt.call @mg_copy(out temporaries[0 : 64], in io[0 : 64]) {count = 16} block 2 cost 0 0
  }
}

// -----

module attributes {megacc.slots = [{slot = 0, letter = "A", family = "attention"}]} {
  // expected-error @+1 {{is of slot 1, but the stack has 1}}
  rt.parameter "blocks.1.norm.weight" : tensor<16xf32> at <weights[0 : 64]> {block = 1, trained, init = "constant", init_a = 1.0}
}

// -----

module attributes {megacc.slots = [{slot = 0, letter = "A", family = "attention"}, {slot = 1, letter = "F", family = "mlp"}]} {
  rt.parameter "blocks.0.norm.weight" : tensor<16xbf16> at <weights[256 : 32] bf16> {block = 0, trained, init = "constant", init_a = 1.0}
  rt.func @micro_batch {
    // expected-error @unknown {{of slot 1 uses "blocks.0.norm.weight" of slot 0}}
    rt.call @mg_copy(out temporaries[0 : 64], in weights[256 : 32] bf16) {count = 16} block 1 cost 0 0 loc("blocks.1.norm")
  }
}
