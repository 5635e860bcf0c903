mega.model @moe_unpicked hidden 20 vocab 41 sequence 3 {
  mega.pattern "EF" depth 2
  mega.family "E" = moe<experts = 11, top_k = 1, width = 9, activation = swiglu>
  mega.family "F" = moe<experts = 7, top_k = 2, width = 5, shared = 4, router = sigmoid, bias_rate = 1.0e-2, z = 1.0e-3, activation = gelu_tanh, scale = 1.5>
}

mega.train @step of @moe_unpicked {
  micro_batch = 2, accumulate = 3, precision = fp32, seed = 162,
  optimizer = adamw<lr = 3.0e-3, beta1 = 0.9, beta2 = 0.95, eps = 1.0e-5, decay = 0.1>, clip = 1.0
}
