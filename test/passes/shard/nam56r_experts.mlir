// What a rank of ep = 2 has of the experts of nam56r, and what a block with experts moves.
// RUN: megacc %S/../../../models/nam56r.mlir --mesh ep=2 --precision=fp32 --micro-batch 2 --emit=rt -o %t
// RUN: FileCheck %s --input-file=%t
// RUN: sed -n "/@micro_batch/,/@update/s/ *rt.call @\(mg_all_reduce\|mg_all_reduce_f64\|mg_gather_parts\|mg_exchange_rows\|mg_return_rows\)(.*) {\(.*\)} \(block [0-9]*\) .*/\3: \1 \2/p" %t | sort -s -n -k2,2 | FileCheck %s --check-prefix=MOVES

// CHECK: rt.parameter "blocks.0.mixer.q_up.weight" : tensor<3584x64xf32>
// CHECK: rt.parameter "blocks.1.mixer.router.weight" : tensor<16x3584xf32>
// CHECK: rt.parameter "blocks.1.mixer.experts.up.weight" : tensor<8x896x3584xf32>
// CHECK: rt.parameter "blocks.1.mixer.experts.down.weight" : tensor<8x3584x896xf32>
// CHECK: rt.parameter "blocks.1.mixer.shared.up.weight" : tensor<1024x3584xf32>
// CHECK: rt.parameter "blocks.2.mixer.in_proj.weight" : tensor<22896x3584xf32>

// Each rank has 4096 tokens with 4 rows each, and room for 4 of each of the 8192 tokens: forth and back in the forward and in the backward,
// their weights forth and the gradient of these back.
// MOVES-NOT: block 0
// MOVES: block 1: mg_all_reduce_f64 count = 33, axis = 2
// MOVES-NEXT: block 1: mg_exchange_rows given = 16384, received = 32768, cols = 1, groups = 16, ranks = 2, axis = 2
// MOVES-NEXT: block 1: mg_exchange_rows given = 16384, received = 32768, cols = 3584, groups = 16, ranks = 2, axis = 2
// MOVES-NEXT: block 1: mg_return_rows given = 16384, received = 32768, cols = 3584, groups = 16, ranks = 2, axis = 2
// MOVES-NEXT: block 1: mg_exchange_rows given = 16384, received = 32768, cols = 3584, groups = 16, ranks = 2, axis = 2
// MOVES-NEXT: block 1: mg_return_rows given = 16384, received = 32768, cols = 3584, groups = 16, ranks = 2, axis = 2
// MOVES-NEXT: block 1: mg_return_rows given = 16384, received = 32768, cols = 1, groups = 16, ranks = 2, axis = 2
// MOVES-NEXT: block 3: mg_all_reduce_f64
