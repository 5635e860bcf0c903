mega.model @one_token hidden 24 vocab 33 sequence 1 {
  mega.pattern "AFB" depth 3
  mega.family "A" = attention<heads = 2, kv_heads = 1, head_dim = 10>
  mega.family "F" = mlp<width = 20, activation = relu2>
  mega.family "B" = mla<heads = 3, q_rank = 6, kv_rank = 5, nope = 4, rope = 2, value = 3>
}

mega.train @step of @one_token {
  micro_batch = 4, accumulate = 1, precision = fp32, seed = 828,
  optimizer = adamw<lr = 3.0e-3, beta1 = 0.9, beta2 = 0.95, eps = 1.0e-5, decay = 0.1>, clip = 1.0
}
