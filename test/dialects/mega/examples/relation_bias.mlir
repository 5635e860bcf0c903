// RUN: megacc %s -o %t.so
mega.model @example hidden 64 vocab 256 sequence 32 {
  mega.pattern "A" depth 2
  mega.family "A" = attention<heads = 4, head_dim = 16, gate = head>
  mega.place relation_bias<relations = 9, chunks = 16> on "A" ranks [0, 1]
}

mega.train @step of @example {
  micro_batch = 2, optimizer = adamw<lr = 1.0e-3>
}
