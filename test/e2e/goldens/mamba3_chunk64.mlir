mega.model @mamba3_chunk64 hidden 32 vocab 41 sequence 70 {
  mega.pattern "M" depth 1
  mega.family "M" = mamba3<expand = 2, head_dim = 16, state = 20, groups = 2, rank = 1, chunk = 64, rope_fraction = 1.0, decay = heavy>
}

mega.train @step of @mamba3_chunk64 {
  micro_batch = 2, accumulate = 1, precision = fp32, seed = 259,
  optimizer = adamw<lr = 3.0e-3, beta1 = 0.9, beta2 = 0.95, eps = 1.0e-5, decay = 0.1>, clip = 1.0
}
