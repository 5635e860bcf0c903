mega.model @gdn_one_token hidden 24 vocab 33 sequence 1 {
  mega.pattern "DF" depth 3
  mega.family "D" = gated_deltanet<heads = 2, key = 4, value = 7, chunk = 128>
  mega.family "F" = mlp<width = 20>
}

mega.train @step of @gdn_one_token {
  micro_batch = 4, accumulate = 1, precision = fp32, seed = 104,
  optimizer = adamw<lr = 3.0e-3, beta1 = 0.9, beta2 = 0.95, eps = 1.0e-5, decay = 0.1>, clip = 1.0
}
