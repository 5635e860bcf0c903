mega.model @mamba3_chunk32 hidden 32 vocab 41 sequence 37 {
  mega.pattern "M" depth 1
  mega.family "M" = mamba3<expand = 1, head_dim = 32, state = 128, groups = 1, rank = 2, chunk = 32>
}

mega.train @step of @mamba3_chunk32 {
  micro_batch = 2, accumulate = 2, precision = fp32, seed = 3963,
  optimizer = adamw<lr = 3.0e-3, beta1 = 0.9, beta2 = 0.95, eps = 1.0e-5, decay = 0.1>, clip = 1.0
}
