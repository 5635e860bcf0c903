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

  // What --log-blocks adds: entropies inside documents, and of picked keys; states.
  %entropy = step.attention_entropy %q, %k, %documents {batch = 2 : i64, sequence = 5 : i64, heads = 6 : i64, kv_heads = 2 : i64,
             qk_dim = 4 : i64, scale = 0.5 : f64, share = 0.1 : f64, operandSegmentSizes = array<i32: 1, 1, 1, 0>}
             : (tensor<10x24xf32>, tensor<10x8xf32>, tensor<2x5xi32>) -> tensor<1xf32>
  %support = step.input "support" : tensor<10x3xi32>
  %sparse = step.attention_entropy %q, %q, %support {batch = 2 : i64, sequence = 5 : i64, heads = 6 : i64, kv_heads = 6 : i64,
            qk_dim = 4 : i64, scale = 0.5 : f64, share = 0.1 : f64, operandSegmentSizes = array<i32: 1, 1, 0, 1>}
            : (tensor<10x24xf32>, tensor<10x24xf32>, tensor<10x3xi32>) -> tensor<1xf32>
  %p = step.input "p" : tensor<10x54xf32>
  %h = step.input "h" : tensor<4xf32>
  %b = step.input "b" : tensor<4x1x4xf32>
  %n = step.input "n" : tensor<4xf32>
  %last = step.mamba3_state_norm %p, %h, %h, %b, %b, %n, %n, %documents {batch = 2 : i64, sequence = 5 : i64, heads = 4 : i64,
          groups = 2 : i64, rank = 1 : i64, head_dim = 3 : i64, state = 4 : i64, angles = 2 : i64, eps = 1.0e-5 : f64, share = 0.1 : f64,
          operandSegmentSizes = array<i32: 1, 6, 1>}
          : (tensor<10x54xf32>, tensor<4xf32>, tensor<4xf32>, tensor<4x1x4xf32>, tensor<4x1x4xf32>, tensor<4xf32>, tensor<4xf32>,
             tensor<2x5xi32>) -> tensor<1xf32>
  %f = step.input "f" : tensor<10x4xf32>
  %w = step.input "w" : tensor<4x6x6xf32>
  %end = step.m2rnn_state_norm %k, %k, %q, %f, %h, %h, %w, %documents {batch = 2 : i64, sequence = 5 : i64, share = 0.1 : f64}
         : (tensor<10x8xf32>, tensor<10x8xf32>, tensor<10x24xf32>, tensor<10x4xf32>, tensor<4xf32>, tensor<4xf32>, tensor<4x6x6xf32>,
            tensor<2x5xi32>) -> tensor<1xf32>
  // A head whose vocabulary ranks share.
  %hidden = step.input "hidden" : tensor<10x3xf32>
  %head = step.input "head" : tensor<12x3xf32>
  %targets = step.input "targets" : tensor<2x5xi32>
  %valid = step.count_valid %targets : (tensor<2x5xi32>) -> tensor<1xf32>
  %statistics = step.head_statistics %hidden, %head {batch = 2 : i64, parts = 6 : i64}
          : (tensor<10x3xf32>, tensor<12x3xf32>) -> tensor<6x20xf32>
  %loss:3 = step.linear_cross_entropy_parts %hidden, %head, %targets, %valid, %statistics {parts = 6 : i64, scale = 0.5 : f64}
          : (tensor<10x3xf32>, tensor<12x3xf32>, tensor<2x5xi32>, tensor<1xf32>, tensor<6x20xf32>)
          -> (tensor<1xf32>, tensor<10x3xf32>, tensor<12x3xf32>)
  %sums:2 = step.linear_cross_entropy_evaluate_parts %hidden, %head, %targets, %statistics
          {batch = 2 : i64, parts = 6 : i64, sequence = 5 : i64}
          : (tensor<10x3xf32>, tensor<12x3xf32>, tensor<2x5xi32>, tensor<6x20xf32>) -> (tensor<2xf32>, tensor<2xf32>)
}
