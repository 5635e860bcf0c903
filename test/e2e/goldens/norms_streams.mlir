// dyt and scales of layers where residuals have streams and some tokens skip a block.
mega.model @norms_streams hidden 16 vocab 44 sequence 11 norm dyt<attention_alpha = 0.8> layer_scale 0.3 {
  mega.pattern "AEF" depth 5
  mega.family "A" = attention<heads = 2, head_dim = 8>
  mega.family "E" = moe<experts = 3, top_k = 1, width = 8>
  mega.family "F" = mlp<width = 20>
  mega.place mhc<streams = 2> on "A" ranks [0]
  mega.place mhc<streams = 2> on "E" ranks [1]
  mega.place mod<capacity = 0.5> on "E" ranks [0, 1]
}

mega.train @step of @norms_streams {
  micro_batch = 2, accumulate = 1, precision = fp32, seed = 2,
  optimizer = adamw<lr = 3.0e-3, beta1 = 0.9, beta2 = 0.95, eps = 1.0e-5, decay = 0.1>, clip = 1.0
}
