mega.model @one_token_depth hidden 16 vocab 37 sequence 1 {
  mega.pattern "FE" depth 4
  mega.family "F" = mlp<width = 20>
  mega.family "E" = moe<experts = 4, top_k = 2, width = 8, aux = 1.0e-2>
  mega.place mhc<streams = 4> on "E" ranks [0]
  mega.place mod<capacity = 0.5> on "E" ranks [0, 1]
}

mega.train @step of @one_token_depth {
  micro_batch = 3, accumulate = 1, precision = fp32, seed = 45,
  optimizer = adamw<lr = 3.0e-3, beta1 = 0.9, beta2 = 0.95, eps = 1.0e-5, decay = 0.1>, clip = 1.0
}
