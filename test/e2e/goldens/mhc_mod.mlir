mega.model @mhc_mod hidden 16 vocab 37 sequence 11 {
  mega.pattern "EAE" depth 5
  mega.family "A" = mla<heads = 2, q_rank = 8, kv_rank = 8, nope = 4, rope = 4, value = 6>
  mega.family "E" = moe<experts = 4, top_k = 2, width = 8, shared = 8, router = sigmoid, aux = 1.0e-2, z = 1.0e-2, density = 0.5>
  mega.place mhc<streams = 2> on "E" ranks [1, 2]
  mega.place mod<capacity = 0.4, aux = 0.05> on "E" ranks [0, 1]
}

mega.train @step of @mhc_mod {
  micro_batch = 2, accumulate = 2, precision = fp32, seed = 43,
  optimizer = adamw<lr = 3.0e-3, beta1 = 0.9, beta2 = 0.95, eps = 1.0e-5, decay = 0.1>, clip = 1.0
}
