mega.model @mod_docs hidden 16 vocab 37 sequence 11 {
  mega.pattern "AE" depth 4
  mega.family "A" = mla<heads = 2, q_rank = 8, kv_rank = 8, nope = 4, rope = 4, value = 6>
  mega.family "E" = moe<experts = 4, top_k = 2, width = 8, router = sigmoid, aux = 1.0e-2>
  mega.place mod<capacity = 0.6, aux = 0.02> on "E" ranks [0]
  mega.place mod<capacity = 0.01> on "E" ranks [1]
}

mega.train @step of @mod_docs {
  micro_batch = 2, accumulate = 2, precision = fp32, seed = 44, documents = true,
  optimizer = adamw<lr = 3.0e-3, beta1 = 0.9, beta2 = 0.95, eps = 1.0e-5, decay = 0.1>, clip = 1.0
}
