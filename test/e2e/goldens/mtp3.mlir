mega.model @mtp3 hidden 24 vocab 41 sequence 11 {
  mega.pattern "AM" depth 2
  mega.family "A" = mla<heads = 2, q_rank = 6, kv_rank = 8, nope = 6, rope = 4, value = 5>
  mega.family "M" = mamba3<expand = 2, head_dim = 8, state = 12, groups = 2, rank = 3, chunk = 16>
  mega.place mtp<depth = 3, width = 10, weight = 0.3> on objective
}

mega.train @step of @mtp3 {
  micro_batch = 2, accumulate = 1, precision = fp32, seed = 318,
  optimizer = adamw<lr = 3.0e-3, beta1 = 0.9, beta2 = 0.95, eps = 1.0e-5, decay = 0.1>, clip = 1.0
}
