mega.model @mesh_dense hidden 32 vocab 64 sequence 16 {
  mega.pattern "AFSX" depth 4
  mega.family "A" = attention<heads = 8, kv_heads = 4, head_dim = 8>
  mega.family "F" = mlp<width = 48, activation = gelu>
  mega.family "S" = mamba3<expand = 2, head_dim = 8, state = 8, groups = 4, rank = 1, chunk = 8, variant = siso>
  mega.family "X" = moe<experts = 4, top_k = 2, width = 24, router = softmax, aux = 1.0e-2, z = 1.0e-3>
}

mega.train @step of @mesh_dense {
  micro_batch = 4, accumulate = 1, precision = fp32, seed = 312,
  optimizer = adamw<lr = 3.0e-3, beta1 = 0.9, beta2 = 0.95, eps = 1.0e-5, decay = 0.1>, clip = 1.0
}
