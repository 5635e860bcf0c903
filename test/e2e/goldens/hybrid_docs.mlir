mega.model @hybrid_docs hidden 24 vocab 41 sequence 22 {
  mega.pattern "AMRE" depth 5
  mega.family "A" = mla<heads = 2, q_rank = 6, kv_rank = 8, nope = 6, rope = 4, value = 5>
  mega.family "M" = mamba3<expand = 2, head_dim = 8, state = 12, groups = 2, rank = 3, chunk = 16>
  mega.family "R" = m2rnn<key = 9, value = 5, heads = 3, conv = 4>
  mega.family "E" = moe<experts = 5, top_k = 2, width = 7, shared = 6, aux = 1.0e-2>
  mega.place ngram_hash<orders = [2, 4], heads = 2, rows = 60, dim = 3> on input
  mega.place mtp<depth = 2, width = 12, activation = swiglu> on objective
}

mega.train @step of @hybrid_docs {
  micro_batch = 2, documents = true, accumulate = 3, precision = fp32, seed = 855,
  optimizer = adamw<lr = 3.0e-3, beta1 = 0.9, beta2 = 0.95, eps = 1.0e-5, decay = 0.1>, clip = 1.0
}
