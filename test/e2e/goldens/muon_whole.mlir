// Muon over whole matrices, without clipping, where a matrix is a single row or column of heads.
mega.model @muon_whole hidden 12 vocab 31 sequence 7 {
  mega.pattern "AE" depth 2
  mega.family "A" = attention<heads = 2, head_dim = 4>
  mega.family "E" = moe<experts = 2, top_k = 2, width = 1>
}

mega.train @step of @muon_whole {
  micro_batch = 1, seed = 5, clip = 0.0,
  optimizer = muon<lr = 5.0e-3, split = none, eps = 1.0e-5, decay = 0.0>
}
