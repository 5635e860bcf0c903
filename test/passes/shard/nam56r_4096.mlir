// What a rank of tp = 8 has of nam56r-4096, and what a block sums over tp. 8 ranks cannot share the 51 heads of R evenly: each has all of it.
// RUN: megacc %S/../../../models/nam56r-4096.mlir --mesh tp=8 --precision=fp32 --micro-batch 1 --emit=rt --remarks -o %t 2>&1 | FileCheck %s --check-prefix=WHY
// RUN: FileCheck %s --input-file=%t --check-prefix=TP8
// RUN: sed -n "/@micro_batch/,/@update/s/ *rt.call @\(mg_all_reduce\|mg_gather_parts\)(.*) {\(.*\)} \(block [0-9]*\) .*/\3: \1 \2/p" %t | sort -s -n -k2,2 | FileCheck %s --check-prefix=SUM8

// WHY: nam56r-4096.mlir:8:3: remark: heads = 51 of "R" cannot be split over tp = 8: each rank has all of it; heads = 48 (-552.2 MiB of state a rank) or heads = 56 (-539.9 MiB of state a rank) would be split

// TP8: rt.parameter "embedding.weight" : tensor<8192x4096xf32>
// A, by heads; what is before the heads is on every rank.
// TP8: rt.parameter "blocks.0.mixer.q_down.weight" : tensor<64x4096xf32>
// TP8: rt.parameter "blocks.0.mixer.q_norm.weight" : tensor<64xf32>
// TP8: rt.parameter "blocks.0.mixer.q_up.weight" : tensor<512x64xf32>
// TP8: rt.parameter "blocks.0.mixer.kv_down.weight" : tensor<128x4096xf32>
// TP8: rt.parameter "blocks.0.mixer.kv_norm.weight" : tensor<64xf32>
// TP8: rt.parameter "blocks.0.mixer.kv_up.weight" : tensor<512x64xf32>
// TP8: rt.parameter "blocks.0.mixer.out_proj.weight" : tensor<4096x256xf32>
// E, by width.
// TP8: rt.parameter "blocks.1.mixer.router.weight" : tensor<16x4096xf32>
// TP8: rt.parameter "blocks.1.mixer.experts.up.weight" : tensor<16x112x4096xf32>
// TP8: rt.parameter "blocks.1.mixer.experts.down.weight" : tensor<16x4096x112xf32>
// TP8: rt.parameter "blocks.1.mixer.shared.up.weight" : tensor<128x4096xf32>
// TP8: rt.parameter "blocks.1.mixer.shared.down.weight" : tensor<4096x128xf32>
// M, by heads and groups, but for the 32 angles.
// TP8: rt.parameter "blocks.2.mixer.in_proj.weight" : tensor<3152x4096xf32>
// TP8: rt.parameter "blocks.2.mixer.dt_bias" : tensor<16xf32>
// TP8: rt.parameter "blocks.2.mixer.D" : tensor<16xf32>
// TP8: rt.parameter "blocks.2.mixer.B_bias" : tensor<16x4x128xf32>
// TP8: rt.parameter "blocks.2.mixer.C_bias" : tensor<16x4x128xf32>
// TP8: rt.parameter "blocks.2.mixer.B_norm.weight" : tensor<128xf32>
// TP8: rt.parameter "blocks.2.mixer.C_norm.weight" : tensor<128xf32>
// TP8: rt.parameter "blocks.2.mixer.mimo_x" : tensor<16x4x64xf32>
// TP8: rt.parameter "blocks.2.mixer.mimo_z" : tensor<16x4x64xf32>
// TP8: rt.parameter "blocks.2.mixer.mimo_o" : tensor<16x4x64xf32>
// TP8: rt.parameter "blocks.2.mixer.out_proj.weight" : tensor<4096x1024xf32>
// R, whole.
// TP8: rt.parameter "blocks.11.mixer.in_proj.weight" : tensor<1811x4096xf32>
// TP8: rt.parameter "blocks.11.mixer.conv.weight" : tensor<944x4xf32>
// TP8: rt.parameter "blocks.11.mixer.conv.bias" : tensor<944xf32>
// TP8: rt.parameter "blocks.11.mixer.A_log" : tensor<51xf32>
// TP8: rt.parameter "blocks.11.mixer.dt_bias" : tensor<51xf32>
// TP8: rt.parameter "blocks.11.mixer.state_weight" : tensor<51x16x16xf32>
// TP8: rt.parameter "blocks.11.mixer.D" : tensor<51x16xf32>
// TP8: rt.parameter "blocks.11.mixer.norm.weight" : tensor<816xf32>
// TP8: rt.parameter "blocks.11.mixer.out_proj.weight" : tensor<4096x816xf32>
// The head, by the vocabulary.
// TP8: rt.parameter "head.weight" : tensor<8192x4096xf32>

// Nothing of R is summed or gathered.
// SUM8: block 0: mg_all_reduce count = 16777216, axis = 1
// SUM8-NEXT: block 0: mg_all_reduce count = 262144, axis = 1
// SUM8-NEXT: block 0: mg_all_reduce count = 262144, axis = 1
// SUM8-NEXT: block 0: mg_all_reduce count = 262144, axis = 1
// SUM8-NEXT: block 1: mg_all_reduce count = 16777216, axis = 1
// SUM8-NEXT: block 1: mg_all_reduce count = 16384, axis = 1
// SUM8-NEXT: block 1: mg_all_reduce count = 16777216, axis = 1
// SUM8-NEXT: block 2: mg_all_reduce count = 16777216, axis = 1
// SUM8-NEXT: block 2: mg_all_reduce count = 16777216, axis = 1
// SUM8: block 10: mg_all_reduce count = 16777216, axis = 1
// SUM8-NEXT: block 10: mg_all_reduce count = 16777216, axis = 1
// SUM8-NEXT: block 12: mg_all_reduce count = 16777216, axis = 1
