mega.model @mhc_all hidden 16 vocab 37 sequence 9 {
  mega.pattern "RRF" depth 3
  mega.family "R" = m2rnn<key = 4, value = 4, heads = 2, conv = 3>
  mega.family "F" = mlp<width = 20, activation = swiglu>
  mega.place mhc<streams = 3> on "R" ranks [0, 1]
  mega.place mhc<streams = 3> on "F" ranks [0]
}

mega.train @step of @mhc_all {
  micro_batch = 2, accumulate = 1, precision = fp32, seed = 42,
  optimizer = adamw<lr = 3.0e-3, beta1 = 0.9, beta2 = 0.95, eps = 1.0e-5, decay = 0.1>, clip = 1.0
}
