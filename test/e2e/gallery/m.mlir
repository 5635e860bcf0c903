mega.model @m hidden 32 vocab 256 sequence 32 {
  mega.pattern "AF" depth 2

  mega.family "A" = attention<heads = 2, kv_heads = 1, head_dim = 16>
  mega.family "F" = mlp<width = 64, activation = swiglu>
}

mega.train @step of @m {
  micro_batch = 2, accumulate = 1, precision = fp32, seed = 0, clip = 1.0,
  optimizer = adamw<lr = 3.0e-3, beta1 = 0.9, beta2 = 0.95, decay = 0.1, schedule = constant>
}
