mega.model @gdn_docs hidden 24 vocab 41 sequence 37 {
  mega.pattern "DMDE" depth 4
  mega.family "D" = gated_deltanet<heads = 4, key = 6, value = 8, key_heads = 1, conv = 4, chunk = 32>
  mega.family "M" = mamba3<expand = 2, head_dim = 8, state = 12, groups = 2, rank = 3, chunk = 16>
  mega.family "E" = moe<experts = 5, top_k = 2, width = 7, shared = 6, aux = 1.0e-2>
  mega.place engram<orders = [2, 3], conv = 3> on "D" ranks [1]
  mega.place mtp<depth = 1, width = 12, block = "D"> on objective
}

mega.train @step of @gdn_docs {
  micro_batch = 2, documents = true, accumulate = 2, precision = fp32, seed = 200,
  optimizer = adamw<lr = 3.0e-4, beta1 = 0.9, beta2 = 0.95, eps = 1.0e-5, decay = 0.1>, clip = 1.0
}
