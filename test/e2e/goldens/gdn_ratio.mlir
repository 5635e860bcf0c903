mega.model @gdn_ratio hidden 28 vocab 41 sequence 5 {
  mega.pattern "D" depth 2
  mega.family "D" = gated_deltanet<heads = 6, key = 5, value = 9, key_heads = 2, conv = 2, neg_eigval = true>
}

mega.train @step of @gdn_ratio {
  micro_batch = 3, accumulate = 1, precision = fp32, seed = 138,
  optimizer = adamw<lr = 3.0e-3, beta1 = 0.9, beta2 = 0.95, eps = 1.0e-5, decay = 0.1>, clip = 1.0
}
