mega.model @mesh_gdn hidden 32 vocab 64 sequence 24 {
  mega.pattern "DEDF" depth 4
  mega.family "D" = gated_deltanet<heads = 8, key = 6, value = 4, key_heads = 4, chunk = 16, neg_eigval = true>
  mega.family "E" = moe<experts = 8, top_k = 2, width = 16, aux = 1.0e-2>
  mega.family "F" = mlp<width = 40, activation = swiglu>
  mega.place mtp<depth = 1, width = 32, block = "D"> on objective
}

mega.train @step of @mesh_gdn {
  micro_batch = 4, documents = true, accumulate = 2, precision = fp32, seed = 201,
  optimizer = adamw<lr = 1.0e-4, beta1 = 0.9, beta2 = 0.95, eps = 1.0e-5, decay = 0.1>, clip = 1.0
}
