mega.model @siso_docs hidden 24 vocab 41 sequence 19 {
  mega.pattern "M" depth 2
  mega.family "M" = mamba3<expand = 2, head_dim = 12, state = 8, groups = 4, rank = 1, chunk = 32, variant = siso, out_norm = true>
}

mega.train @step of @siso_docs {
  micro_batch = 2, documents = true, accumulate = 1, precision = fp32, seed = 950,
  optimizer = adamw<lr = 3.0e-3, beta1 = 0.9, beta2 = 0.95, eps = 1.0e-5, decay = 0.1>, clip = 1.0
}
