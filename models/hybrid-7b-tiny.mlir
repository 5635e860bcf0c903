// The pattern of hybrid-7b in a size that trains on a few cores: 17 attention and 7 Mamba-3 layers in 43 blocks.
mega.model @hybrid_7b_tiny hidden 128 vocab 256 sequence 256 layer_scale 1.0e-1 {
  mega.pattern "(AF)x5 AE (AF)x2 (BF)x3 BE (BF)x5 ME (M)x3 ME (M)x2" depth 43

  mega.family "A" = attention<heads = 4, head_dim = 32>
  mega.family "B" = attention<heads = 4, kv_heads = 2, head_dim = 32>
  mega.family "F" = mlp<width = 144>
  mega.family "E" = moe<experts = 8, top_k = 2, width = 256>
  mega.family "M" = mamba3<expand = 2, head_dim = 32, state = 32, groups = 1, rank = 4, chunk = 16, state_gate = true>

  mega.place nope<share = 0.5> on "B" ranks [7, 8]
}

mega.train @step of @hybrid_7b_tiny {
  micro_batch = 4, optimizer = adamw<lr = 1.0e-3, schedule = cosine<warmup = 6, steps = 120, final = 1.0e-4>>, clip = 1.0
}
