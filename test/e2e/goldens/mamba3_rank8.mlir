mega.model @mamba3_rank8 hidden 24 vocab 41 sequence 21 {
  mega.pattern "M" depth 2
  mega.family "M" = mamba3<expand = 2, head_dim = 16, state = 16, groups = 3, rank = 8, chunk = 8>
}

mega.train @step of @mamba3_rank8 {
  micro_batch = 2, accumulate = 1, precision = fp32, seed = 114,
  optimizer = adamw<lr = 3.0e-3, beta1 = 0.9, beta2 = 0.95, eps = 1.0e-5, decay = 0.1>, clip = 1.0
}
