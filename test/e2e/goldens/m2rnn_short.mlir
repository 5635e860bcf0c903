mega.model @m2rnn_short hidden 28 vocab 41 sequence 3 {
  mega.pattern "R" depth 3
  mega.family "R" = m2rnn<key = 9, value = 5, conv = 5>
}

mega.train @step of @m2rnn_short {
  micro_batch = 3, accumulate = 1, precision = fp32, seed = 1,
  optimizer = adamw<lr = 3.0e-3, beta1 = 0.9, beta2 = 0.95, eps = 1.0e-5, decay = 0.1>, clip = 1.0
}
