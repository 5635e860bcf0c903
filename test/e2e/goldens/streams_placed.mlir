mega.model @streams_placed hidden 16 vocab 37 sequence 13 {
  mega.pattern "AECMRAE" depth 7
  mega.family "A" = mla<heads = 2, q_rank = 8, kv_rank = 8, nope = 4, rope = 4, value = 6>
  mega.family "E" = moe<experts = 4, top_k = 2, width = 8, router = sigmoid, aux = 1.0e-2>
  mega.family "C" = concept<concepts = 5, heads = 2>
  mega.family "M" = mamba3<expand = 1, head_dim = 8, state = 8, groups = 1, rank = 2, chunk = 8>
  mega.family "R" = m2rnn<key = 4, value = 4, heads = 2, conv = 3>
  mega.place ngram_hash<orders = [2, 3], heads = 2, rows = 61, dim = 4> on input
  mega.place structure<components = "core", dim = 6> on input
  mega.place engram<orders = [2, 3], dim = 4, gated = true, conv = 3> on "A" ranks [0]
  mega.place mhc<streams = 2> on "A" ranks [0, 1]
  mega.place mhc<streams = 2> on "E" ranks [0]
  mega.place mod<capacity = 0.5> on "E" ranks [0, 1]
  mega.place mtp<depth = 1, width = 20> on objective
  mega.place stp<layers = [1, 3, 6], spans = 2, start = 1> on objective
}

mega.train @step of @streams_placed {
  micro_batch = 2, accumulate = 2, precision = fp32, seed = 47, documents = true,
  optimizer = adamw<lr = 3.0e-3, beta1 = 0.9, beta2 = 0.95, eps = 1.0e-5, decay = 0.1>, clip = 1.0
}
