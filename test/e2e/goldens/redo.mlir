mega.model @redo hidden 16 vocab 37 sequence 12 {
  mega.pattern "FEA" depth 3
  mega.family "F" = mlp<width = 20, activation = relu2>
  mega.family "E" = moe<experts = 3, top_k = 2, width = 10, shared = 8, activation = swiglu>
  mega.family "A" = attention<heads = 2, head_dim = 8>
  mega.place mtp<depth = 1, width = 14> on objective
}

mega.train @step of @redo {
  micro_batch = 2, accumulate = 2, precision = fp32, seed = 154,
  optimizer = adamw<lr = 3.0e-3, beta1 = 0.9, beta2 = 0.95, eps = 1.0e-5, decay = 0.1>, clip = 1.0,
  interventions = [redo<at = [1, 3], tau = 0.45, tokens = 20>]
}
