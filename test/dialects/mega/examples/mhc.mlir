// Declared, checked and counted; it cannot be lowered yet.
// RUN: megacc %s --emit=plan
// RUN: not megacc %s -o %t.so 2>&1 | FileCheck %s
// CHECK: mhc is not supported yet
mega.model @example hidden 64 vocab 256 sequence 32 {
  mega.pattern "A" depth 3
  mega.family "A" = mla<heads = 4, q_rank = 16, kv_rank = 16, nope = 8, rope = 8, value = 16>
  mega.place mhc<streams = 2> on "A" ranks [0, 1]
}

mega.train @step of @example {
  micro_batch = 2, optimizer = adamw<lr = 1.0e-3>
}
