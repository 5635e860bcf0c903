mega.model @ignored hidden 24 vocab 41 sequence 13 {
  mega.pattern "ARE" depth 3
  mega.family "A" = mla<heads = 2, q_rank = 6, kv_rank = 8, nope = 6, rope = 4, value = 5>
  mega.family "R" = m2rnn<key = 9, value = 5, heads = 3, conv = 4>
  mega.family "E" = moe<experts = 5, top_k = 2, width = 7, shared = 6, aux = 1.0e-2>
  mega.place mtp<depth = 1, width = 10> on objective
}

mega.train @step of @ignored {
  micro_batch = 2, accumulate = 3, precision = fp32, seed = 2574,
  optimizer = adamw<lr = 3.0e-3, beta1 = 0.9, beta2 = 0.95, eps = 1.0e-5, decay = 0.1>, clip = 1.0
}
