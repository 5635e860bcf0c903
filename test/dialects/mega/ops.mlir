// RUN: megacc-opt %s | FileCheck %s
// RUN: megacc-opt %s --mlir-print-op-generic | megacc-opt | FileCheck %s
// RUN: megacc-opt %s --emit-bytecode | megacc-opt | FileCheck %s

// CHECK: mega.model @hybrid hidden 64 vocab 72 sequence 32 {
mega.model @hybrid hidden 64 vocab 72 sequence 32 {
  // CHECK-NEXT: mega.pattern "(AE)x2 | MR" depth 6
  mega.pattern "(AE)x2 | MR" depth 6
  // CHECK-NEXT: mega.family "A" = mla<heads = 4, q_rank = 16, kv_rank = 16, nope = 8, rope = 8, value = 8>
  mega.family "A" = mla<heads = 4, q_rank = 16, kv_rank = 16, nope = 8, rope = 8, value = 8>
  // CHECK-NEXT: mega.family "E" = moe<experts = 4, top_k = 2, width = 8, activation = swiglu, shared_gate = true, shared = 8, aux = 0.01>
  mega.family "E" = moe<experts = 4, top_k = 2, width = 8, activation = swiglu, shared_gate = true, shared = 8, aux = 1.0e-2>
  // CHECK-NEXT: mega.family "M" = mamba3<rank = 2>
  mega.family "M" = mamba3<rank = 2>
  // CHECK-NEXT: mega.family "R" = m2rnn
  mega.family "R" = m2rnn
  // CHECK-NEXT: mega.place engram<orders = [2, 3], gated = true> on "A" ranks [0, 1]
  mega.place engram<orders = [2, 3], gated = true> on "A" ranks [0, 1]
  // CHECK-NEXT: mega.place structure<components = "core"> on input
  mega.place structure<components = "core"> on input
}
// CHECK: mega.train @step of @hybrid {micro_batch = 2, precision = bf16, memory = "132GiB", optimizer = adamw<lr = 0.0003, eps = 1.0e-08, schedule = cosine<warmup = 10>>, mesh = <dp = 1>}
mega.train @step of @hybrid {
  micro_batch = 2, precision = bf16, memory = "132GiB",
  optimizer = adamw<lr = 3.0e-4, eps = 1.0e-8, schedule = cosine<warmup = 10>>, mesh = <dp = 1>
}
