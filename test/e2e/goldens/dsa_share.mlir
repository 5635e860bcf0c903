mega.model @dsa_share hidden 28 vocab 53 sequence 22 {
  mega.pattern "AABFAB" depth 7
  mega.family "A" = mla<heads = 3, q_rank = 10, kv_rank = 9, nope = 6, rope = 4, value = 5>
  mega.family "B" = mla<heads = 2, q_rank = 7, kv_rank = 11, nope = 4, rope = 2, value = 9, theta = 500.0>
  mega.family "F" = mlp<width = 20>
  mega.place ngram_hash<orders = [2, 3], heads = 2, rows = 61, dim = 4> on input
  mega.place dsa<heads = 3, dim = 6, top_k = 5, kl = 0.08, share = 3> on "A" ranks [0, 1, 2, 3]
  mega.place dsa<heads = 2, dim = 9, top_k = 40, kl = 0.03> on "B" ranks [1]
  mega.place mtp<depth = 2, width = 24> on objective
}

mega.train @step of @dsa_share {
  micro_batch = 2, accumulate = 2, seed = 63, documents = true,
  optimizer = adamw<lr = 3.0e-3, beta1 = 0.9, beta2 = 0.95, eps = 1.0e-5, decay = 0.1>, clip = 1.0
}
