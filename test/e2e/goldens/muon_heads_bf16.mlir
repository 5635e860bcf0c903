// Muon over heads, its momentum and the moments of the rest in bf16; patterns leave matrices to AdamW.
mega.model @muon_heads_bf16 hidden 16 vocab 41 sequence 10 {
  mega.pattern "LMCF" depth 4
  mega.family "L" = mla<heads = 3, q_rank = 6, kv_rank = 8, nope = 4, rope = 2, value = 5>
  mega.family "M" = mamba3<expand = 2, head_dim = 8, state = 4, groups = 1, rank = 1, chunk = 16>
  mega.family "C" = concept<concepts = 5, heads = 4>
  mega.family "F" = mlp<width = 11, activation = swiglu>
}

mega.train @step of @muon_heads_bf16 {
  micro_batch = 2, accumulate = 2, seed = 77, moments = bf16,
  optimizer = muon<lr = 3.0e-3, nesterov = false, iterations = 3, rms = 0.3, split = heads, except = ["C:*.k_proj.weight", "*.down.*"], eps = 1.0e-5>
}
