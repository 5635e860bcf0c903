// NAM56R-tiny with every placement at once. It trains on what tools/prepare-cpp writes of a C++ tree: tokens, documents and components.
mega.model @nam56r_tiny_full hidden 128 vocab 256 sequence 256 {
  mega.pattern "AEMEAEMEAEMR" depth 13

  mega.family "A" = mla<heads = 4, q_rank = 32, kv_rank = 32, nope = 16, rope = 16, value = 32>
  mega.family "E" = moe<experts = 8, top_k = 2, width = 64, shared = 128>
  mega.family "M" = mamba3<expand = 2, head_dim = 32, state = 32, groups = 4, rank = 4, chunk = 16>
  mega.family "R" = m2rnn<key = 16, value = 16, conv = 4>

  mega.place ngram_hash<orders = [2, 3], heads = 2, rows = 8192, dim = 16> on input
  mega.place structure<components = "all", dim = 32> on input
  mega.place dsa<heads = 4, dim = 16, top_k = 64, kl = 0.01, share = 2> on "A" ranks [1, 2]
  mega.place engram<orders = [2, 3, 4], gated = true, conv = 4> on "A" ranks [0, 3]
  mega.place mhc<streams = 2> on "M" ranks [0, 1]
  mega.place mod<capacity = 0.5> on "E" ranks [3]
  mega.place mtp<depth = 1, width = 256> on objective
  mega.place stp<layers = [3, 7], start = 20> on objective
}

mega.train @step of @nam56r_tiny_full {
  micro_batch = 8, documents = true, clip = 1.0,
  optimizer = adamw<lr = 3.0e-3, schedule = cosine<warmup = 6, steps = 120, final = 3.0e-4>>
}
