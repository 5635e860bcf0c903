// RUN: megacc %s -o %t.so
mega.model @example hidden 64 vocab 256 sequence 48 {
  mega.pattern "D" depth 2
  mega.family "D" = gated_deltanet<heads = 4, key = 16, value = 16, key_heads = 2, chunk = 32>
}

mega.train @step of @example {
  micro_batch = 2, optimizer = adamw<lr = 1.0e-3>
}
