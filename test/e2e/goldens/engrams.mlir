// Engrams of several shapes over several families, documents shorter than the orders, beside n-grams and tokens further ahead.
mega.model @engrams hidden 20 vocab 43 sequence 13 {
  mega.pattern "FRBF" depth 4
  mega.family "F" = mlp<width = 12>
  mega.family "R" = m2rnn<key = 4, value = 4, heads = 2, conv = 3>
  mega.family "B" = attention<heads = 2, head_dim = 6>
  mega.place ngram_hash<orders = [2], heads = 2, rows = 29, dim = 3> on input
  mega.place engram<orders = [1, 5], dim = 3, gated = true> on "F" ranks [0]
  mega.place engram<orders = [3], conv = 2, conv_residual = false> on "R" ranks [0]
  mega.place engram<orders = [2, 20], dim = 7, conv = 5> on "B" ranks [0]
  mega.place engram<orders = [4], gated = true, sqrt_gate = true, conv = 3> on "F" ranks [1]
  mega.place mtp<depth = 2, width = 16, block = "B"> on objective
}

mega.train @step of @engrams {
  micro_batch = 3, accumulate = 2, seed = 811, documents = true,
  optimizer = adamw<lr = 3.0e-3, eps = 1.0e-5>
}
