mega.model @mamba3_short hidden 20 vocab 41 sequence 5 {
  mega.pattern "M" depth 2
  mega.family "M" = mamba3<expand = 2, head_dim = 10, state = 24, groups = 4, rank = 4, chunk = 16, out_norm = true>
}

mega.train @step of @mamba3_short {
  micro_batch = 3, accumulate = 1, precision = fp32, seed = 788,
  optimizer = adamw<lr = 3.0e-3, beta1 = 0.9, beta2 = 0.95, eps = 1.0e-5, decay = 0.1>, clip = 1.0
}
