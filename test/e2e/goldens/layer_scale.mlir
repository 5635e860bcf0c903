mega.model @layer_scale hidden 24 vocab 41 sequence 13 layer_scale 0.2 {
  mega.pattern "AEM" depth 3
  mega.family "A" = mla<heads = 2, q_rank = 8, kv_rank = 8, nope = 4, rope = 4, value = 6>
  mega.family "E" = moe<experts = 3, top_k = 2, width = 8, aux = 1.0e-2>
  mega.family "M" = mamba3<expand = 1, head_dim = 8, state = 8, groups = 1, rank = 2, chunk = 8>
  mega.place engram<orders = [2, 3], conv = 3> on "A" ranks [0]
  mega.place mtp<depth = 1, width = 16> on objective
}

mega.train @step of @layer_scale {
  micro_batch = 2, accumulate = 2, precision = fp32, seed = 1, documents = true,
  optimizer = adamw<lr = 3.0e-3, beta1 = 0.9, beta2 = 0.95, eps = 1.0e-5, decay = 0.1>, clip = 1.0
}
