// RUN: megacc %s -o %t.so
mega.model @example hidden 64 vocab 256 sequence 32 {
  mega.pattern "A" depth 2
  mega.family "A" = attention<heads = 4, kv_heads = 2, head_dim = 16, rope = 8>
}

mega.train @step of @example {
  micro_batch = 2, optimizer = adamw<lr = 1.0e-3>
}
