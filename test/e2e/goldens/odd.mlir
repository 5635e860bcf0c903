mega.model @odd hidden 45 vocab 53 sequence 17 {
  mega.pattern "AF" depth 3
  mega.family "A" = attention<heads = 3, kv_heads = 1, head_dim = 14, rope = 6>
  mega.family "F" = mlp<width = 31, activation = gelu_tanh>
}

mega.train @step of @odd {
  micro_batch = 3, accumulate = 3, precision = fp32, seed = 405,
  optimizer = adamw<lr = 3.0e-3, beta1 = 0.9, beta2 = 0.95, eps = 1.0e-5, decay = 0.1>, clip = 1.0
}
