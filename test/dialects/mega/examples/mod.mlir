// RUN: megacc %s -o %t.so
mega.model @example hidden 64 vocab 256 sequence 32 {
  mega.pattern "AE" depth 4
  mega.family "A" = mla<heads = 4, q_rank = 16, kv_rank = 16, nope = 8, rope = 8, value = 16>
  mega.family "E" = moe<experts = 4, top_k = 2, width = 32>
  mega.place mod<capacity = 0.25> on "E" ranks [1]
}

mega.train @step of @example {
  micro_batch = 2, optimizer = adamw<lr = 1.0e-3>
}
