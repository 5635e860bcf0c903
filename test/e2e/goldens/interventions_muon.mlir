// All interventions after steps of Muon with moments in bf16, some of whose matrices AdamW updates.
mega.model @interventions_muon hidden 16 vocab 37 sequence 12 {
  mega.pattern "AEFM" depth 4
  mega.family "A" = mla<heads = 2, q_rank = 12, kv_rank = 8, nope = 6, rope = 4, value = 6>
  mega.family "E" = moe<experts = 2, top_k = 1, width = 10, activation = swiglu>
  mega.family "F" = mlp<width = 24, activation = relu2>
  mega.family "M" = mamba3<expand = 1, head_dim = 8, state = 8, groups = 1, rank = 1, chunk = 8>
}

mega.train @step of @interventions_muon {
  micro_batch = 2, accumulate = 2, precision = fp32, seed = 7, moments = bf16,
  optimizer = muon<lr = 3.0e-3, eps = 1.0e-5, except = ["F:*"]>, clip = 1.0,
  interventions = [redo<every = 1, start = 1, tau = 0.4, tokens = 4, on = ["F:*"]>,
                   dash<at = [1, 2], direction = gradient, moments = reset, on = ["A:mixer.kv_up.weight#k_nope", "M:*"]>,
                   fire<every = 2, on = ["A:mixer.q_up.weight", "E:*"], except = ["*#gate", "E:mixer.experts.down.weight"], iterations = 12>]
}
