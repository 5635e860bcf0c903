// RUN: megacc %s -o %t.so
mega.model @example hidden 64 vocab 256 sequence 32 {
  mega.pattern "A" depth 3
  mega.family "A" = attention<heads = 4, head_dim = 16, gate = channel>
  mega.place nope<share = 0.5> on "A" ranks [0]
  mega.place nope<> on "A" ranks [2]
}

mega.train @step of @example {
  micro_batch = 2, optimizer = adamw<lr = 1.0e-3>
}
