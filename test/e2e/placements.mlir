// Every placement that changes the residual stream or its rows, with documents.
mega.model @placements hidden 32 vocab 256 sequence 48 {
  mega.pattern "AEMER" depth 10
  mega.family "A" = mla<heads = 2, q_rank = 8, kv_rank = 8, nope = 8, rope = 4, value = 8>
  mega.family "E" = moe<experts = 4, top_k = 2, width = 16, shared = 16, router = sigmoid>
  mega.family "M" = mamba3<expand = 1, head_dim = 8, state = 8, groups = 1, rank = 2, chunk = 8>
  mega.family "R" = m2rnn<key = 8, value = 4, heads = 4>
  mega.place mhc<streams = 4> on "A" ranks [0, 1]
  mega.place mhc<streams = 4> on "M" ranks [1]
  mega.place mod<capacity = 0.5> on "E" ranks [0, 3]
  mega.place mtp<depth = 1, width = 32> on objective
}

mega.train @step of @placements {
  micro_batch = 2, accumulate = 2, documents = true, optimizer = adamw<lr = 1.0e-3>
}
