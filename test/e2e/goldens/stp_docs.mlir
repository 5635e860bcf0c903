// Straightness in packed rows, where most spans lie across documents; it begins at the second step.
mega.model @stp_docs hidden 16 vocab 31 sequence 14 {
  mega.pattern "FA" depth 3
  mega.family "A" = attention<heads = 2, head_dim = 4>
  mega.family "F" = mlp<width = 12>
  mega.place stp<layers = [2], spans = 5, weight = 0.2, start = 1> on objective
}

mega.train @step of @stp_docs {
  micro_batch = 2, accumulate = 2, seed = 814, documents = true,
  optimizer = adamw<lr = 3.0e-3, eps = 1.0e-5>
}
