// All components, the first two with sizes of their own, beside n-grams; stp on both layers.
mega.model @structure_all hidden 16 vocab 31 sequence 9 {
  mega.pattern "AF" depth 2
  mega.family "A" = attention<heads = 2, head_dim = 4>
  mega.family "F" = mlp<width = 12>
  mega.place ngram_hash<orders = [2], heads = 1, rows = 17, dim = 2> on input
  mega.place structure<components = "all", dim = 5, sizes = [3, 40]> on input
  mega.place stp<layers = [1, 0], spans = 7, weight = 0.3, start = 0> on objective
  mega.place mtp<depth = 1, width = 8> on objective
}

mega.train @step of @structure_all {
  micro_batch = 2, accumulate = 3, seed = 813,
  optimizer = adamw<lr = 3.0e-3, eps = 1.0e-5>
}
