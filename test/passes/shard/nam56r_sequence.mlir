// What a block of nam56r moves over tp = 2 where the ranks share the tokens between its regions.
// RUN: megacc %S/../../../models/nam56r.mlir --mesh tp=2 --sequence-parallel --precision=fp32 --micro-batch 1 --emit=rt -o %t
// RUN: sed -n "/@micro_batch/,/@update/s/ *rt.call @\(mg_all_reduce\|mg_gather_parts\|mg_reduce_scatter\|mg_take_part\)(.*) {\(.*\)} \(block [0-9]*\) .*/\3: \1 \2/p" %t | sort -s -n -k2,2 | FileCheck %s

// Of T = 4096 tokens, in M: the norm's rows are gathered in the forward and, with the gradient of the output, again in the backward; the
// output and the gradient of the input go back in parts. A gathers latents of width 64, E also the logits of 16 experts.
// CHECK: block 0: mg_gather_parts outer = 1, inner = 131072, ranks = 2, axis = 1
// CHECK-NEXT: block 0: mg_gather_parts outer = 1, inner = 131072, ranks = 2, axis = 1
// CHECK-NEXT: block 0: mg_gather_parts outer = 1, inner = 131072, ranks = 2, axis = 1
// CHECK-NEXT: block 0: mg_take_part outer = 4096, inner = 896, ranks = 2, axis = 1
// CHECK-NEXT: block 0: mg_reduce_scatter outer = 1, inner = 7340032, ranks = 2, axis = 1
// CHECK-NEXT: block 0: mg_gather_parts outer = 1, inner = 131072, ranks = 2, axis = 1
// CHECK-NEXT: block 0: mg_reduce_scatter outer = 1, inner = 131072, ranks = 2, axis = 1
// CHECK-NEXT: block 0: mg_reduce_scatter outer = 1, inner = 131072, ranks = 2, axis = 1
// CHECK-NEXT: block 0: mg_gather_parts outer = 1, inner = 131072, ranks = 2, axis = 1
// CHECK-NEXT: block 0: mg_reduce_scatter outer = 1, inner = 131072, ranks = 2, axis = 1
// CHECK-NEXT: block 0: mg_gather_parts outer = 1, inner = 7340032, ranks = 2, axis = 1
// CHECK-NEXT: block 1: mg_gather_parts outer = 1, inner = 32768, ranks = 2, axis = 1
// CHECK-NEXT: block 1: mg_gather_parts outer = 1, inner = 7340032, ranks = 2, axis = 1
// CHECK-NEXT: block 1: mg_reduce_scatter outer = 1, inner = 7340032, ranks = 2, axis = 1
// CHECK-NEXT: block 1: mg_gather_parts outer = 1, inner = 7340032, ranks = 2, axis = 1
// CHECK-NEXT: block 1: mg_all_reduce count = 16384, axis = 1
// CHECK-NEXT: block 1: mg_gather_parts outer = 1, inner = 32768, ranks = 2, axis = 1
// CHECK-NEXT: block 1: mg_reduce_scatter outer = 1, inner = 7340032, ranks = 2, axis = 1
// CHECK-NEXT: block 1: mg_take_part outer = 1, inner = 7340032, ranks = 2, axis = 1
// CHECK-NEXT: block 1: mg_gather_parts outer = 1, inner = 7340032, ranks = 2, axis = 1
// CHECK-NEXT: block 2: mg_gather_parts outer = 1, inner = 7340032, ranks = 2, axis = 1
// CHECK-NEXT: block 2: mg_reduce_scatter outer = 1, inner = 7340032, ranks = 2, axis = 1
// CHECK-NEXT: block 2: mg_gather_parts outer = 1, inner = 7340032, ranks = 2, axis = 1
// CHECK-NEXT: block 2: mg_reduce_scatter outer = 1, inner = 7340032, ranks = 2, axis = 1
// CHECK-NEXT: block 2: mg_gather_parts outer = 1, inner = 7340032, ranks = 2, axis = 1
// CHECK-NEXT: block 3:
