mega.model @one_token_hybrid hidden 24 vocab 41 sequence 1 {
  mega.pattern "AEMR" depth 4
  mega.family "A" = mla<heads = 2, q_rank = 6, kv_rank = 8, nope = 6, rope = 4, value = 5>
  mega.family "E" = moe<experts = 5, top_k = 2, width = 7, shared = 6, aux = 1.0e-2>
  mega.family "M" = mamba3<expand = 2, head_dim = 8, state = 12, groups = 2, rank = 3, chunk = 16>
  mega.family "R" = m2rnn<key = 9, value = 5, heads = 3, conv = 4>
  mega.place ngram_hash<orders = [2, 4], heads = 1, rows = 50, dim = 3, seed = 5> on input
  mega.place mtp<depth = 2, width = 11> on objective
}

mega.train @step of @one_token_hybrid {
  micro_batch = 3, accumulate = 1, precision = fp32, seed = 632,
  optimizer = adamw<lr = 3.0e-3, beta1 = 0.9, beta2 = 0.95, eps = 1.0e-5, decay = 0.1>, clip = 1.0
}
