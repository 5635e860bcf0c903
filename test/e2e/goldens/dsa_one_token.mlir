mega.model @dsa_one_token hidden 16 vocab 23 sequence 1 {
  mega.pattern "A" depth 2
  mega.family "A" = mla<heads = 2, q_rank = 6, kv_rank = 5, nope = 4, rope = 2, value = 3>
  mega.place dsa<heads = 2, dim = 4, top_k = 3, kl = 0.1, share = 2> on "A" ranks [0, 1]
}

mega.train @step of @dsa_one_token {
  micro_batch = 3, accumulate = 1, seed = 7,
  optimizer = adamw<lr = 3.0e-3, beta1 = 0.9, beta2 = 0.95, eps = 1.0e-5, decay = 0.1>, clip = 1.0
}
