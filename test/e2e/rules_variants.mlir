// Ops with a sharding rule as no golden has them.
step.func @micro_batch {
  %z = step.zero : tensor<6x4xf32>

  // Documents, and several query heads for a key-value head.
  %q = step.input "q" : tensor<10x24xf32>
  %k = step.input "k" : tensor<10x8xf32>
  %v = step.input "v" : tensor<10x6xf32>
  %documents = step.input "documents" : tensor<2x5xi32>
  %y = step.attention %q, %k, %v, %documents {batch = 2 : i64, sequence = 5 : i64, heads = 6 : i64, kv_heads = 2 : i64, qk_dim = 4 : i64,
       v_dim = 3 : i64, scale = 0.5 : f64} : (tensor<10x24xf32>, tensor<10x8xf32>, tensor<10x6xf32>, tensor<2x5xi32>) -> tensor<10x18xf32>
  %d:3 = step.attention_grad %y, %y, %q, %k, %v, %documents {operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 1, 0>, batch = 2 : i64,
         sequence = 5 : i64, heads = 6 : i64, kv_heads = 2 : i64, qk_dim = 4 : i64, v_dim = 3 : i64, scale = 0.5 : f64}
         : (tensor<10x18xf32>, tensor<10x18xf32>, tensor<10x24xf32>, tensor<10x8xf32>, tensor<10x6xf32>, tensor<2x5xi32>)
         -> (tensor<10x24xf32>, tensor<10x8xf32>, tensor<10x6xf32>)
}
