// Three Gated DeltaNet blocks for one of attention, each before experts: 1.13M parameters.
mega.model @gdn_tiny hidden 128 vocab 256 sequence 256 {
  mega.pattern "DEDEDEAE" depth 8

  mega.family "D" = gated_deltanet<heads = 8, key = 16, value = 32, key_heads = 4, conv = 4, chunk = 64>
  mega.family "A" = attention<heads = 4, kv_heads = 2, head_dim = 32>
  mega.family "E" = moe<experts = 8, top_k = 2, width = 64, shared = 128>
}

mega.train @step of @gdn_tiny {
  micro_batch = 8, accumulate = 1, precision = fp32, seed = 0,
  optimizer = adamw<lr = 3.0e-3, beta1 = 0.9,
                    beta2 = 0.95, decay = 0.1, schedule = cosine<warmup = 6, steps = 120, final = 3.0e-4>>, clip = 1.0
}
