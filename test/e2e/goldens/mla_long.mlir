mega.model @mla_long hidden 40 vocab 71 sequence 70 {
  mega.pattern "AF" depth 2
  mega.family "A" = mla<heads = 3, q_rank = 12, kv_rank = 16, nope = 6, rope = 10, value = 9, theta = 500.0>
  mega.family "F" = mlp<width = 50, activation = swiglu>
}

mega.train @step of @mla_long {
  micro_batch = 1, accumulate = 2, precision = fp32, seed = 995,
  optimizer = adamw<lr = 3.0e-3, beta1 = 0.9, beta2 = 0.95, eps = 1.0e-5, decay = 0.1>, clip = 1.0
}
