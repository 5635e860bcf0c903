// RUN: megacc-opt %s --mega-check -split-input-file -verify-diagnostics

// Several mistakes are reported in one run.
mega.model @many hidden 48 vocab 64 sequence 24 { // mega.keys.c1 mega.keys.c2 mega.keys.c3 mega.keys.c6 mega.keys.c7 mega.family.c3
  mega.pattern "AF" depth 4
  // expected-error @+1 {{heads = 4 is not divisible by kv_heads = 3; fix: use a divisor of 4}}
  mega.family "A" = attention<heads = 4, kv_heads = 3, head_dim = 12>
  // expected-error @+2 {{letter "A" is bound twice}}
  // expected-error @+1 {{'mlp' has no key 'activtion'; did you mean 'activation'?}}
  mega.family "A" = mlp<width = 40, activtion = swiglu>
  // expected-error @+3 {{'width' of 'mlp' must be an integer}}
  // expected-error @+2 {{key 'width' of 'mlp' is given twice}}
  // expected-error @+1 {{'activation' cannot be 'swigl'; did you mean 'swiglu'?}}
  mega.family "F" = mlp<width = 3.0, width = 3, activation = swigl>
  // expected-error @+1 {{'mlp' needs 'width', an integer}}
  mega.family "G" = mlp
  // expected-error @+1 {{there is no family 'mlpp'; did you mean 'mlp'?}}
  mega.family "Z" = mlpp<width = 4>
}

// -----

mega.model @attention_rules hidden 48 vocab 64 sequence 24 {
  mega.pattern "ABC" depth 3
  // expected-error @+1 {{rope = 14 exceeds head_dim = 12}}
  mega.family "A" = attention<heads = 4, head_dim = 12, rope = 14>
  // expected-error @+1 {{rope width 5 is odd, rotation pairs channels; fix: use 4 or 6}}
  mega.family "B" = attention<heads = 4, head_dim = 12, rope = 5>
  // expected-error @+1 {{rope width 3 is odd}}
  mega.family "C" = mla<heads = 4, q_rank = 12, kv_rank = 16, nope = 8, rope = 3, value = 6>
}

// -----

mega.model @mamba_rules hidden 48 vocab 64 sequence 24 {
  mega.pattern "MNOP" depth 4
  // expected-error @+1 {{hidden * expand = 96 is not divisible by head_dim = 7}}
  mega.family "M" = mamba3<head_dim = 7>
  // expected-error @+1 {{chunk * rank = 128 exceeds 64; fix: use chunk = 16}}
  mega.family "N" = mamba3<head_dim = 16, chunk = 32>
  // expected-error @+1 {{rope_fraction = 0.25 must be 0.5 or 1.0}}
  mega.family "O" = mamba3<head_dim = 16, rope_fraction = 0.25>
  // expected-error @+1 {{variant siso has rank 1, rank = 4}}
  mega.family "P" = mamba3<head_dim = 16, variant = siso>
}

// -----

mega.model @delta_rules hidden 48 vocab 64 sequence 24 {
  mega.pattern "DGH" depth 3
  // expected-error @+1 {{heads = 6 must be a multiple of key_heads = 4}}
  mega.family "D" = gated_deltanet<heads = 6, key = 8, value = 8, key_heads = 4>
  // expected-error @+1 {{chunk = 24 must be 16, 32, 64 or 128}}
  mega.family "G" = gated_deltanet<heads = 6, key = 8, value = 8, chunk = 24>
  // expected-error @+1 {{'gated_deltanet' needs 'key', an integer}}
  mega.family "H" = gated_deltanet<heads = 6, value = 8>
}

// -----

mega.model @moe_rules hidden 48 vocab 64 sequence 24 {
  mega.pattern "E" depth 1
  // expected-error @+1 {{top_k = 3 exceeds experts = 2}}
  mega.family "E" = moe<experts = 2, top_k = 3, width = 8>
  // expected-error @+1 {{'depth' of 'mtp' is 0, it must be at least 1}}
  mega.place mtp<depth = 0, block = "E"> on objective
}

// -----

mega.model @placements hidden 48 vocab 64 sequence 24 {
  mega.pattern "AF" depth 4
  mega.family "A" = mla<heads = 4, q_rank = 12, kv_rank = 16, nope = 8, rope = 4, value = 6>
  mega.family "F" = mlp<width = 8>
  // expected-error @+1 {{"F" rank 0: dsa needs mla, not mlp}}
  mega.place dsa<heads = 1, dim = 8, top_k = 4> on "F" ranks [0]
  // expected-error @+2 {{rank 0 is given twice}}
  // expected-error @+1 {{rank 2 is out of range: "A" has 2 blocks, ranks 0 to 1}}
  mega.place dsa<heads = 1, dim = 8, top_k = 4> on "A" ranks [0, 0, 2]
  // expected-error @+1 {{'mtp' is placed on objective, not on "input"}}
  mega.place mtp<depth = 1> on input
  // expected-error @+1 {{there is no placement 'engrm'; did you mean 'engram'?}}
  mega.place engrm<dim = 3> on "A" ranks [0]
  // expected-error @+1 {{'engram' needs ranks [...] among the blocks of "A"; fix: name at least one}}
  mega.place engram on "A" ranks []
}

// -----

// expected-error @+1 {{model '@no_pattern' has no pattern}}
mega.model @no_pattern hidden 48 vocab 64 sequence 24 {
  mega.family "F" = mlp<width = 8>
}
mega.model @two_patterns hidden 48 vocab 64 sequence 24 {
  mega.pattern "F" depth 1
  // expected-error @+1 {{a model has one pattern, this is another}}
  mega.pattern "F" depth 1
  mega.family "F" = mlp<width = 8>
}
// expected-error @+1 {{two models are called '@two_patterns'}}
mega.model @two_patterns hidden 48 vocab 64 sequence 24 {
  // expected-error @+1 {{depth is 0, a model needs at least 1 block}}
  mega.pattern "F" depth 0
  mega.family "F" = mlp<width = 8>
}

// -----

mega.model @unbound hidden 48 vocab 64 sequence 24 {
  // expected-error @+1 {{letter 'Q' has no family; fix: add mega.family "Q" = ...}}
  mega.pattern "FQ" depth 2
  mega.family "F" = mlp<width = 8>
}
// expected-error @+1 {{there is no model '@unbond'; did you mean 'unbound'?}}
mega.train @step of @unbond {
  // expected-error @+1 {{'micro_batch' = a number with the type suffix ': i3' is not a value; fix: leave the type away}}
  micro_batch = 5 : i3,
  // expected-error @+1 {{'memory' = 132GiB is not a value; fix: write it in quotes, "132GiB"}}
  memory = 132GiB,
  // expected-error @+2 {{'lr' = 3e-4 is not a value; fix: write 3.0e-4}}
  // expected-error @+1 {{'decay' of 'adamw' must be a float; fix: write 1.0}}
  optimizer = adamw<lr = 3e-4, decay = 1>
}

// -----

mega.model @lists hidden 48 vocab 64 sequence 24 {
  mega.pattern "A" depth 2
  // expected-error @+1 {{'heads' of 'mla' is 4611686018427387904, it must be at most 2147483647}}
  mega.family "B" = mla<heads = 4611686018427387904, q_rank = 12, kv_rank = 16, nope = 8, rope = 4, value = 6>
  mega.family "A" = mla<heads = 4, q_rank = 12, kv_rank = 16, nope = 8, rope = 4, value = 6>
  // expected-error @+1 {{'orders' of 'ngram_hash' must be a list of integers}}
  mega.place ngram_hash<orders = 5> on input
  // expected-error @+1 {{'orders' of 'engram' is empty}}
  mega.place engram<orders = []> on "A" ranks [0]
  // expected-error @+1 {{'orders' of 'engram' has 0, it must be 1 to 2147483647}}
  mega.place engram<orders = [2, 0]> on "A" ranks [1]
  // expected-error @+1 {{layer 99 is out of range: the model has 2 blocks, 0 to 1}}
  mega.place stp<layers = [0, 99]> on objective
  // expected-error @+2 {{there is no component 'dep_levl'; did you mean 'dep_level'?}}
  // expected-error @+1 {{3 sizes for 2 components; fix: give at most 2}}
  mega.place structure<components = "structure,dep_levl", sizes = [1, 2, 3]> on input
  // expected-error @+1 {{'weight' of 'mtp' must not be negative}}
  mega.place mtp<weight = -0.5> on objective
}

// -----

mega.model @conflicts hidden 48 vocab 64 sequence 24 {
  mega.pattern "AE" depth 4
  mega.family "A" = mla<heads = 4, q_rank = 12, kv_rank = 16, nope = 8, rope = 4, value = 6>
  mega.family "E" = moe<experts = 4, top_k = 2, width = 8>
  // expected-error @+1 {{the indexer rotates rope = 4 channels of dim = 2; fix: use dim of at least 4}}
  mega.place dsa<heads = 1, dim = 2, top_k = 4> on "A" ranks [0]
  // expected-error @+1 {{'dsa' is placed twice on rank 0 of "A"; fix: remove one}}
  mega.place dsa<heads = 1, dim = 8, top_k = 4> on "A" ranks [0, 1]
  // expected-error @+1 {{a gated engram with a convolution and without its residual cannot learn its gate}}
  mega.place engram<gated = true, conv = 4, conv_residual = false> on "A" ranks [0]
  // expected-error @+1 {{capacity = 1.50 is outside (0, 1]}}
  mega.place mod<capacity = 1.5> on "E" ranks [0]
  mega.place mhc<streams = 2> on "A" ranks [1]
  // expected-error @+1 {{streams = 4, but block 2 has 2; fix: one number for the model}}
  mega.place mhc<streams = 4> on "E" ranks [0]
}
mega.train @step of @conflicts {
  micro_batch = 2,
  // expected-error @+1 {{'beta1' must be below 1}}
  optimizer = adamw<lr = 1.0e-3, beta1 = 1.0>,
  // expected-error @+1 {{memory = "132 gigs" is not a size; fix: write a number and B, KiB, MiB, GiB or TiB}}
  memory = "132 gigs"
}

// -----

mega.model @gates hidden 48 vocab 64 sequence 24 {
  mega.pattern "ABML" depth 8
  // expected-error @+1 {{gate = heads: expected none, head or channel}}
  mega.family "G" = attention<heads = 4, head_dim = 12, gate = heads>
  mega.family "A" = attention<heads = 4, head_dim = 12, rope = 4, gate = head>
  mega.family "B" = attention<heads = 4, head_dim = 12, rope = 0>
  mega.family "L" = mla<heads = 4, q_rank = 12, kv_rank = 16, nope = 8, rope = 4, value = 6>
  mega.family "M" = mamba3<head_dim = 16, state_gate = true>
  // expected-error @+1 {{"M" rank 0: nope needs mla or attention, not mamba3}}
  mega.place nope<share = 0.5> on "M" ranks [0]
  // expected-error @+1 {{"M" rank 1: relation_bias needs mla or attention, not mamba3}}
  mega.place relation_bias<> on "M" ranks [1]
  // expected-error @+1 {{share = 1.5 must be above 0 and at most 1}}
  mega.place nope<share = 1.5> on "A" ranks [0]
  // expected-error @+1 {{share = 0 must be above 0 and at most 1}}
  mega.place nope<share = 0.0> on "A" ranks [1]
  // expected-error @+1 {{nope<share = 0.01> leaves all 2 pairs rotated}}
  mega.place nope<share = 0.01> on "L" ranks [0]
  // expected-error @+1 {{nope<share = 1> leaves all 0 pairs rotated}}
  mega.place nope<> on "B" ranks [0]
  // expected-error @+1 {{relations = 32 must be 1 to 31}}
  mega.place relation_bias<relations = 32> on "A" ranks [0]
  // expected-error @+1 {{relations = 0 must be 1 to 31}}
  mega.place relation_bias<relations = 0> on "A" ranks [1]
  // expected-error @+1 {{chunks = 5000 must be 1 to 4096}}
  mega.place relation_bias<chunks = 5000> on "L" ranks [0]
}

// -----

mega.model @relations hidden 48 vocab 64 sequence 24 {
  mega.pattern "A" depth 4
  mega.family "A" = mla<heads = 4, q_rank = 12, kv_rank = 16, nope = 8, rope = 4, value = 6>
  mega.place relation_bias<chunks = 5> on "A" ranks [0]
  // expected-error @+1 {{relation_bias and dsa on one block: sparse attention has no bias}}
  mega.place dsa<heads = 1, dim = 8, top_k = 4> on "A" ranks [0, 1]
  // expected-error @+1 {{relation_bias and dsa on one block: sparse attention has no bias}}
  mega.place relation_bias<chunks = 5> on "A" ranks [1]
  // expected-error @+1 {{relation_bias: all placements read one input, so chunks must agree}}
  mega.place relation_bias<chunks = 6> on "A" ranks [2]
}

// -----

mega.model @deep hidden 48 vocab 64 sequence 24 {
  // expected-error @+1 {{depth is 9000000000000, a model has at most 4096 blocks}}
  mega.pattern "F" depth 9000000000000
  mega.family "F" = mlp<width = 8>
}

// -----

// A wrong key hides no other mistake of its family or placement.
mega.model @several hidden 48 vocab 64 sequence 24 {
  mega.pattern "AEM" depth 3
  // expected-error @+2 {{'attention' has no key 'widht'}}
  // expected-error @+1 {{heads = 4 is not divisible by kv_heads = 3}}
  mega.family "A" = attention<heads = 4, kv_heads = 3, head_dim = 12, widht = 3>
  // expected-error @+2 {{'moe' needs 'width', an integer}}
  // expected-error @+1 {{top_k = 3 exceeds experts = 2}}
  mega.family "E" = moe<experts = 2, top_k = 3>
  // expected-error @+2 {{'expand' of 'mamba3' is 0, it must be at least 1}}
  // expected-error @+1 {{'decay' cannot be 'hevy'; did you mean 'heavy'?}}
  mega.family "M" = mamba3<expand = 0, decay = hevy>
  // expected-error @+2 {{'depth' of 'mtp' must be an integer}}
  // expected-error @+1 {{mtp's first sublayer is letter "Q", which has no family}}
  mega.place mtp<depth = 1.0, block = "Q"> on objective
}
