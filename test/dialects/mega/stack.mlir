// A stack survives text and generic form.
// RUN: megacc-opt %s --verify-roundtrip | FileCheck %s
// RUN: megacc-opt %s --mlir-print-op-generic | megacc-opt | FileCheck %s

// CHECK: mega.stack @hybrid hidden 64 vocab 72 sequence 32 {
mega.stack @hybrid hidden 64 vocab 72 sequence 32 {
  // CHECK-NEXT: mega.block 0 "A" rank 0 = attention<head_dim = 16, heads = 4> with [engram<dim = 16, order = 0>]
  mega.block 0 "A" rank 0 = attention<head_dim = 16, heads = 4> with [engram<dim = 16, order = 0>]
  // CHECK-NEXT: mega.block 1 "F" rank 0 = mlp<width = 128>
  mega.block 1 "F" rank 0 = mlp<width = 128>
}
