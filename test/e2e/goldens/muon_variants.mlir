// Muon over the matrices of variants: gates by channel and by head, Gated DeltaNet; dyt and layer_scale stay with AdamW.
mega.model @muon_variants hidden 20 vocab 43 sequence 12 norm dyt<alpha = 0.7> layer_scale 0.5 {
  mega.pattern "AGLMF" depth 5
  mega.family "A" = attention<heads = 4, kv_heads = 2, head_dim = 6, gate = channel>
  mega.family "G" = gated_deltanet<heads = 4, key_heads = 2, key = 5, value = 6, conv = 3, chunk = 16>
  mega.family "L" = mla<heads = 2, q_rank = 7, kv_rank = 9, nope = 5, rope = 4, value = 3, gate = head>
  mega.family "M" = mamba3<expand = 1, head_dim = 5, state = 8, groups = 2, rank = 2, chunk = 16, state_gate = true>
  mega.family "F" = mlp<width = 11, activation = swiglu>
  mega.place nope<share = 0.5> on "A" ranks [0]
}

mega.train @step of @muon_variants {
  micro_batch = 2, accumulate = 1, seed = 1311,
  optimizer = muon<lr = 3.0e-3, momentum = 0.9, eps = 1.0e-5, decay = 0.2>
}
