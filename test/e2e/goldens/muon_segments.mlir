// Muon over the segments of every family's matrices and of those that placements bring; AdamW for the rest.
mega.model @muon_segments hidden 20 vocab 43 sequence 12 {
  mega.pattern "AEMRCL" depth 6
  mega.family "A" = attention<heads = 4, kv_heads = 2, head_dim = 6>
  mega.family "E" = moe<experts = 3, top_k = 1, width = 7, shared = 9, activation = swiglu, router = sigmoid, aux = 1.0e-2>
  mega.family "M" = mamba3<expand = 1, head_dim = 5, state = 8, groups = 2, rank = 2, chunk = 16>
  mega.family "R" = m2rnn<key = 6, value = 3, heads = 2, conv = 3>
  mega.family "C" = concept<concepts = 6, heads = 2>
  mega.family "L" = mla<heads = 2, q_rank = 7, kv_rank = 9, nope = 5, rope = 4, value = 3>
  mega.place ngram_hash<orders = [2], heads = 2, rows = 29, dim = 3> on input
  mega.place engram<orders = [1, 3], dim = 6, gated = true, conv = 2> on "R" ranks [0]
  mega.place mtp<depth = 1, width = 13> on objective
}

mega.train @step of @muon_segments {
  micro_batch = 2, accumulate = 1, seed = 1204,
  optimizer = muon<lr = 3.0e-3, momentum = 0.9, eps = 1.0e-5, decay = 0.2>
}
