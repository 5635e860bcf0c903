// What a rank of tp = 2 and of tp = 4 has of nam56r, and what a block sums over tp.
// RUN: megacc %S/../../../models/nam56r.mlir --mesh tp=2 --precision=fp32 --micro-batch 1 --emit=rt -o %t.2
// RUN: FileCheck %s --input-file=%t.2 --check-prefix=TP2
// RUN: sed -n "/@micro_batch/,/@update/s/ *rt.call @\(mg_all_reduce\|mg_gather_parts\)(.*) {\(.*\)} \(block [0-9]*\) .*/\3: \1 \2/p" %t.2 | sort -s -n -k2,2 | FileCheck %s --check-prefix=SUM2
// RUN: megacc %S/../../../models/nam56r.mlir --mesh tp=4 --precision=fp32 --micro-batch 1 --emit=rt -o %t.4
// RUN: FileCheck %s --input-file=%t.4 --check-prefix=TP4
// RUN: sed -n "/@micro_batch/,/@update/s/ *rt.call @\(mg_all_reduce\|mg_gather_parts\)(.*) {\(.*\)} \(block [0-9]*\) .*/\3: \1 \2/p" %t.4 | sort -s -n -k2,2 | FileCheck %s --check-prefix=SUM4

// TP2: rt.parameter "embedding.weight" : tensor<32768x3584xf32>

// A, by heads; what is before the heads is on every rank.
// TP2: rt.parameter "blocks.0.mixer.q_down.weight" : tensor<64x3584xf32>
// TP2: rt.parameter "blocks.0.mixer.q_up.weight" : tensor<1792x64xf32>
// TP2: rt.parameter "blocks.0.mixer.kv_down.weight" : tensor<128x3584xf32>
// TP2: rt.parameter "blocks.0.mixer.kv_up.weight" : tensor<1792x64xf32>
// TP2: rt.parameter "blocks.0.mixer.out_proj.weight" : tensor<3584x896xf32>
// E, by width.
// TP2: rt.parameter "blocks.1.mixer.router.weight" : tensor<16x3584xf32>
// TP2: rt.parameter "blocks.1.mixer.experts.up.weight" : tensor<16x448x3584xf32>
// TP2: rt.parameter "blocks.1.mixer.experts.down.weight" : tensor<16x3584x448xf32>
// TP2: rt.parameter "blocks.1.mixer.shared.up.weight" : tensor<512x3584xf32>
// TP2: rt.parameter "blocks.1.mixer.shared.down.weight" : tensor<3584x512xf32>
// M, by heads and groups, but for the 32 angles.
// TP2: rt.parameter "blocks.2.mixer.in_proj.weight" : tensor<11464x3584xf32>
// TP2: rt.parameter "blocks.2.mixer.dt_bias" : tensor<56xf32>
// TP2: rt.parameter "blocks.2.mixer.D" : tensor<56xf32>
// TP2: rt.parameter "blocks.2.mixer.B_bias" : tensor<56x4x128xf32>
// TP2: rt.parameter "blocks.2.mixer.C_bias" : tensor<56x4x128xf32>
// TP2: rt.parameter "blocks.2.mixer.B_norm.weight" : tensor<128xf32>
// TP2: rt.parameter "blocks.2.mixer.C_norm.weight" : tensor<128xf32>
// TP2: rt.parameter "blocks.2.mixer.mimo_x" : tensor<56x4x64xf32>
// TP2: rt.parameter "blocks.2.mixer.mimo_z" : tensor<56x4x64xf32>
// TP2: rt.parameter "blocks.2.mixer.mimo_o" : tensor<56x4x64xf32>
// TP2: rt.parameter "blocks.2.mixer.out_proj.weight" : tensor<3584x3584xf32>
// The head, by the vocabulary.
// TP2: rt.parameter "head.weight" : tensor<32768x3584xf32>

// TP4: rt.parameter "embedding.weight" : tensor<16384x3584xf32>

// A, by heads; what is before the heads is on every rank.
// TP4: rt.parameter "blocks.0.mixer.q_down.weight" : tensor<64x3584xf32>
// TP4: rt.parameter "blocks.0.mixer.q_up.weight" : tensor<896x64xf32>
// TP4: rt.parameter "blocks.0.mixer.kv_down.weight" : tensor<128x3584xf32>
// TP4: rt.parameter "blocks.0.mixer.kv_up.weight" : tensor<896x64xf32>
// TP4: rt.parameter "blocks.0.mixer.out_proj.weight" : tensor<3584x448xf32>
// E, by width.
// TP4: rt.parameter "blocks.1.mixer.router.weight" : tensor<16x3584xf32>
// TP4: rt.parameter "blocks.1.mixer.experts.up.weight" : tensor<16x224x3584xf32>
// TP4: rt.parameter "blocks.1.mixer.experts.down.weight" : tensor<16x3584x224xf32>
// TP4: rt.parameter "blocks.1.mixer.shared.up.weight" : tensor<256x3584xf32>
// TP4: rt.parameter "blocks.1.mixer.shared.down.weight" : tensor<3584x256xf32>
// M, by heads and groups, but for the 32 angles.
// TP4: rt.parameter "blocks.2.mixer.in_proj.weight" : tensor<5748x3584xf32>
// TP4: rt.parameter "blocks.2.mixer.dt_bias" : tensor<28xf32>
// TP4: rt.parameter "blocks.2.mixer.D" : tensor<28xf32>
// TP4: rt.parameter "blocks.2.mixer.B_bias" : tensor<28x4x128xf32>
// TP4: rt.parameter "blocks.2.mixer.C_bias" : tensor<28x4x128xf32>
// TP4: rt.parameter "blocks.2.mixer.B_norm.weight" : tensor<128xf32>
// TP4: rt.parameter "blocks.2.mixer.C_norm.weight" : tensor<128xf32>
// TP4: rt.parameter "blocks.2.mixer.mimo_x" : tensor<28x4x64xf32>
// TP4: rt.parameter "blocks.2.mixer.mimo_z" : tensor<28x4x64xf32>
// TP4: rt.parameter "blocks.2.mixer.mimo_o" : tensor<28x4x64xf32>
// TP4: rt.parameter "blocks.2.mixer.out_proj.weight" : tensor<3584x1792xf32>
// The head, by the vocabulary.
// TP4: rt.parameter "head.weight" : tensor<16384x3584xf32>

// Of T = 4096 tokens: the stream [T, 3584] once in the forward and once in the backward; the backward of A owes the three latents, of width
// 64 each, and that of E the weights of four picks.
// SUM2: block 0: mg_all_reduce count = 14680064, axis = 1
// SUM2-NEXT: block 0: mg_all_reduce count = 262144, axis = 1
// SUM2-NEXT: block 0: mg_all_reduce count = 262144, axis = 1
// SUM2-NEXT: block 0: mg_all_reduce count = 262144, axis = 1
// SUM2-NEXT: block 1: mg_all_reduce count = 14680064, axis = 1
// SUM2-NEXT: block 1: mg_all_reduce count = 16384, axis = 1
// SUM2-NEXT: block 1: mg_all_reduce count = 14680064, axis = 1
// SUM2-NEXT: block 2: mg_all_reduce count = 14680064, axis = 1
// SUM2-NEXT: block 2: mg_all_reduce count = 14680064, axis = 1
// SUM4: block 0: mg_all_reduce count = 14680064, axis = 1
// SUM4-NEXT: block 0: mg_all_reduce count = 262144, axis = 1
// SUM4-NEXT: block 0: mg_all_reduce count = 262144, axis = 1
// SUM4-NEXT: block 0: mg_all_reduce count = 262144, axis = 1
// SUM4-NEXT: block 1: mg_all_reduce count = 14680064, axis = 1
// SUM4-NEXT: block 1: mg_all_reduce count = 16384, axis = 1
// SUM4-NEXT: block 1: mg_all_reduce count = 14680064, axis = 1
// SUM4-NEXT: block 2: mg_all_reduce count = 14680064, axis = 1
// SUM4-NEXT: block 2: mg_all_reduce count = 14680064, axis = 1
