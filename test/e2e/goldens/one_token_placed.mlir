// One token: averages of one row, no span of three tokens.
mega.model @one_token_placed hidden 12 vocab 23 sequence 1 {
  mega.pattern "CF" depth 2
  mega.family "A" = attention<heads = 1, head_dim = 4>
  mega.family "C" = concept<concepts = 3, heads = 2>
  mega.family "F" = mlp<width = 8>
  mega.place structure<components = "core", dim = 3> on input
  mega.place engram<orders = [2, 3], gated = true, conv = 4> on "C" ranks [0]
  mega.place engram<orders = [1]> on "F" ranks [0]
  mega.place stp<layers = [0], spans = 2, start = 0> on objective
}

mega.train @step of @one_token_placed {
  micro_batch = 3, seed = 815,
  optimizer = adamw<lr = 3.0e-3, eps = 1.0e-5>
}
