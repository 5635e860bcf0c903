// All sizes that a mesh cannot share, in one run, each with what it could be and the cost.
// RUN: megacc-opt %s -model-pipeline -mega-check-stack=remarks -split-input-file -verify-diagnostics

// expected-error @+1 {{vocab = 61 cannot be shared by tp = 8 ranks; fix: pad it, vocab = 64 (+0.0 MiB of state a rank), or tp = 1}}
mega.model @uneven hidden 64 vocab 61 sequence 32 {
  mega.pattern "AMERFD" depth 6
  // expected-error @+2 {{heads = 12 of "A" cannot be split over tp = 8; fix: heads = 8 (-0.0 MiB of state a rank) or heads = 16 (+0.0 MiB of state a rank), or tp = 6}}
  // expected-error @+1 {{kv_heads = 4 of "A" cannot be split over tp = 8; fix: kv_heads = 8 (+0.0 MiB of state a rank), or tp = 4}}
  mega.family "A" = attention<heads = 12, kv_heads = 4, head_dim = 16>
  // expected-error @+1 {{groups = 1 of "M" cannot be split over tp = 8; fix: groups = 8 (+0.1 MiB of state a rank), or tp = 1}}
  mega.family "M" = mamba3<expand = 2, head_dim = 16, state = 16, groups = 1, rank = 4, chunk = 16>
  // expected-error @+1 {{width = 20 of "E" cannot be split over tp = 8; fix: width = 16 (-0.0 MiB of state a rank) or width = 24 (+0.0 MiB of state a rank), or tp = 5}}
  mega.family "E" = moe<experts = 4, top_k = 2, width = 20, shared = 0>
  // expected-remark @+1 {{heads = 2 of "R" cannot be split over tp = 8: each rank has all of it; heads = 8 (-0.1 MiB of state a rank) would be split}}
  mega.family "R" = m2rnn<key = 16, value = 16>
  mega.family "F" = mlp<width = 64>
  // expected-error @+1 {{key_heads = 3 of "D" cannot be split over tp = 8; fix: key_heads = 8 (+0.0 MiB of state a rank), or tp = 3}}
  mega.family "D" = gated_deltanet<heads = 24, key = 8, value = 8, key_heads = 3>
  // expected-error @+1 {{width = 36 of mtp cannot be split over tp = 8; fix: width = 32 (-0.0 MiB of state a rank) or width = 40 (+0.0 MiB of state a rank), or tp = 6}}
  mega.place mtp<depth = 1, width = 36> on objective
}
mega.train @step of @uneven {
  // expected-error @+1 {{micro_batch = 3 rows cannot be shared by dp * ep = 2 ranks; fix: micro_batch = 2 or 4, or dp = 1}}
  micro_batch = 3,
  mesh = <dp = 2, tp = 8>,
  optimizer = adamw<lr = 1.0e-3>
}

// -----

mega.model @tokens hidden 64 vocab 66 sequence 32 {
  mega.pattern "F" depth 1
  mega.family "F" = mlp<width = 66>
}
mega.train @step of @tokens {
  micro_batch = 4,
  mesh = <dp = 2, tp = 3>,
  // expected-error @+1 {{sequence_parallel: the 64 tokens of a rank (micro_batch = 4 of sequence = 32 over dp * ep = 2) cannot be shared by tp = 3 ranks; fix: sequence = 30 or 33, or micro_batch = 6, or tp = 2, or sequence_parallel = false}}
  sequence_parallel = true,
  optimizer = adamw<lr = 1.0e-3>
}

// -----

mega.model @experts hidden 64 vocab 64 sequence 32 {
  mega.pattern "E" depth 1
  // expected-error @+1 {{experts = 6 of "E" cannot be split over ep = 4; fix: experts = 4 (-0.1 MiB of state a rank) or experts = 8 (+0.1 MiB of state a rank), or ep = 3}}
  mega.family "E" = moe<experts = 6, top_k = 2, width = 64>
}
mega.train @step of @experts {
  micro_batch = 4,
  mesh = <ep = 4>,
  optimizer = adamw<lr = 1.0e-3>
}

// -----

mega.model @no_experts hidden 64 vocab 64 sequence 32 {
  mega.pattern "F" depth 1
  mega.family "F" = mlp<width = 64>
}
mega.train @step of @no_experts {
  micro_batch = 4,
  // expected-error @+1 {{ep = 2 has nothing to share: no family of @no_experts has experts; fix: ep = 1, and dp = 4 for as many ranks}}
  mesh = <dp = 2, ep = 2>,
  optimizer = adamw<lr = 1.0e-3>
}

// -----

mega.model @one_data_rank hidden 64 vocab 64 sequence 32 {
  mega.pattern "F" depth 1
  mega.family "F" = mlp<width = 64>
}
mega.train @step of @one_data_rank {
  micro_batch = 4,
  // expected-error @+1 {{zero = 1 has no ranks that could share the optimizer's state: dp * ep = 1; fix: zero = 0, or dp = 2}}
  mesh = <tp = 2, zero = 1>,
  optimizer = adamw<lr = 1.0e-3>
}

// -----

mega.model @matrices hidden 64 vocab 64 sequence 32 {
  mega.pattern "F" depth 1
  mega.family "F" = mlp<width = 64>
}
mega.train @step of @matrices {
  micro_batch = 4,
  // expected-error @+1 {{muon with zero = 1, which gives ranks ranges of elements and not whole matrices, is not supported yet; fix: zero = 0, or optimizer = adamw<...>}}
  mesh = <dp = 2, zero = 1>,
  optimizer = muon<lr = 1.0e-3>
}
