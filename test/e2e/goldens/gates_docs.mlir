mega.model @gates_docs hidden 24 vocab 43 sequence 21 {
  mega.pattern "SABMA" depth 6
  mega.family "S" = mamba3<expand = 2, head_dim = 12, state = 8, groups = 2, rank = 1, chunk = 16, variant = siso, out_norm = true, state_gate = true>
  mega.family "A" = mla<heads = 3, q_rank = 10, kv_rank = 8, nope = 6, rope = 6, value = 5, gate = channel>
  mega.family "B" = attention<heads = 4, kv_heads = 2, head_dim = 6, rope = 4, gate = head>
  mega.family "M" = mamba3<expand = 1, head_dim = 8, state = 8, rank = 3, chunk = 8, rope_fraction = 1.0, decay = heavy, state_gate = true>
  mega.place dsa<heads = 2, dim = 8, top_k = 4, kl = 0.05> on "A" ranks [0]
  mega.place nope<share = 0.7> on "A" ranks [0]
  mega.place relation_bias<relations = 31, chunks = 3> on "B" ranks [0]
  mega.place nope<> on "B" ranks [0]
  mega.place engram<orders = [2, 3]> on "B" ranks [0]
  mega.place mhc<streams = 2> on "M" ranks [0]
  mega.place relation_bias<relations = 1, chunks = 3> on "A" ranks [1]
  mega.place mtp<depth = 1, width = 24> on objective
}

mega.train @step of @gates_docs {
  micro_batch = 2, documents = true, accumulate = 2, precision = fp32, seed = 512,
  optimizer = adamw<lr = 3.0e-3, beta1 = 0.9, beta2 = 0.95, eps = 1.0e-5, decay = 0.1>, clip = 1.0
}
