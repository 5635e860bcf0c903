mega.model @mesh_gates hidden 32 vocab 64 sequence 22 {
  mega.pattern "MABA" depth 4
  mega.family "M" = mamba3<expand = 2, head_dim = 8, state = 8, groups = 4, rank = 2, chunk = 8, state_gate = true>
  mega.family "A" = mla<heads = 4, q_rank = 12, kv_rank = 12, nope = 8, rope = 8, value = 6, gate = channel>
  mega.family "B" = attention<heads = 8, kv_heads = 4, head_dim = 8, gate = head>
  mega.place relation_bias<relations = 5, chunks = 4> on "A" ranks [1]
  mega.place relation_bias<relations = 9, chunks = 4> on "B" ranks [0]
  mega.place nope<share = 0.5> on "A" ranks [0, 1]
}

mega.train @step of @mesh_gates {
  micro_batch = 4, documents = true, accumulate = 2, precision = fp32, seed = 411,
  optimizer = adamw<lr = 3.0e-3, beta1 = 0.9, beta2 = 0.95, eps = 1.0e-5, decay = 0.1>, clip = 1.0
}
