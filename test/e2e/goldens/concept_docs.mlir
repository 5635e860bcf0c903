// Concepts alone and beside attention, one concept, as the first sublayer of mtp, in packed rows.
mega.model @concept_docs hidden 24 vocab 37 sequence 11 {
  mega.pattern "CAK" depth 3
  mega.family "A" = attention<heads = 2, head_dim = 6>
  mega.family "C" = concept<concepts = 19, heads = 6>
  mega.family "K" = concept<concepts = 1, heads = 1>
  mega.place engram<orders = [2, 3]> on "C" ranks [0]
  mega.place mtp<depth = 1, width = 16, block = "C"> on objective
}

mega.train @step of @concept_docs {
  micro_batch = 3, accumulate = 2, seed = 812, documents = true,
  optimizer = adamw<lr = 3.0e-3, eps = 1.0e-5>
}
