mega.model @mesh_hybrid hidden 32 vocab 64 sequence 24 {
  mega.pattern "MERAF" depth 5
  mega.family "M" = mamba3<expand = 2, head_dim = 8, state = 8, groups = 4, rank = 2, chunk = 8>
  mega.family "E" = moe<experts = 8, top_k = 2, width = 16, shared = 24, activation = swiglu, router = sigmoid, shared_gate = true, aux = 1.0e-2>
  mega.family "R" = m2rnn<key = 8, value = 4, heads = 4, conv = 4>
  mega.family "A" = mla<heads = 4, q_rank = 12, kv_rank = 12, nope = 8, rope = 4, value = 8>
  mega.family "F" = mlp<width = 40, activation = swiglu>
  mega.place ngram_hash<orders = [2, 3], heads = 2, rows = 40, dim = 4> on input
  mega.place mtp<depth = 1, width = 32> on objective
}

mega.train @step of @mesh_hybrid {
  micro_batch = 4, documents = true, accumulate = 2, precision = fp32, seed = 311,
  optimizer = adamw<lr = 3.0e-3, beta1 = 0.9, beta2 = 0.95, eps = 1.0e-5, decay = 0.1>, clip = 1.0
}
