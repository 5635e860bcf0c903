mega.model @mhc_families hidden 16 vocab 37 sequence 13 {
  mega.pattern "AMREFA" depth 6
  mega.family "A" = mla<heads = 2, q_rank = 8, kv_rank = 8, nope = 4, rope = 4, value = 6>
  mega.family "M" = mamba3<expand = 1, head_dim = 8, state = 8, groups = 1, rank = 2, chunk = 8>
  mega.family "R" = m2rnn<key = 4, value = 4, heads = 2, conv = 3>
  mega.family "E" = moe<experts = 4, top_k = 2, width = 8, shared = 8, aux = 1.0e-2>
  mega.family "F" = mlp<width = 20>
  mega.place mhc<streams = 2> on "M" ranks [0]
  mega.place mhc<streams = 2, sinkhorn = 1> on "E" ranks [0]
  mega.place mhc<streams = 2, sinkhorn = 9> on "F" ranks [0]
  mega.place mtp<depth = 1, width = 20> on objective
}

mega.train @step of @mhc_families {
  micro_batch = 2, accumulate = 2, precision = fp32, seed = 41, documents = true,
  optimizer = adamw<lr = 3.0e-3, beta1 = 0.9, beta2 = 0.95, eps = 1.0e-5, decay = 0.1>, clip = 1.0
}
