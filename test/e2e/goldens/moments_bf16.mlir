// AdamW with moments in bf16, of parameters that decay and that do not.
mega.model @moments_bf16 hidden 16 vocab 40 sequence 12 {
  mega.pattern "AFR" depth 3
  mega.family "A" = attention<heads = 2, head_dim = 6>
  mega.family "F" = mlp<width = 18, activation = relu2>
  mega.family "R" = m2rnn<key = 4, value = 3, heads = 2, conv = 3>
}

mega.train @step of @moments_bf16 {
  micro_batch = 2, accumulate = 2, seed = 313, moments = bf16,
  optimizer = adamw<lr = 3.0e-3, beta2 = 0.99, eps = 1.0e-5>
}
