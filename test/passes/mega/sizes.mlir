// No product of sizes wraps: the error names the tensor with its numbers.
// RUN: megacc-opt %s --mega-check -split-input-file -verify-diagnostics

// Nothing follows from a size that is refused already.
// expected-error @+1 {{'hidden' is 8589934592000, it must be at most 2147483647}}
mega.model @hidden_alone hidden 8589934592000 vocab 256 sequence 32 {
  mega.pattern "F" depth 1
  mega.family "F" = mlp<width = 64>
}

// -----

// expected-error @+2 {{parameter "blocks.0.mixer.up.weight" is 2147483647 x 2147483647, a tensor has at most 1099511627776 elements; fix: smaller sizes}}
// expected-error @+1 {{parameter "embedding.weight" is 1024 x 2147483647}}
mega.model @hidden_and_width hidden 2147483647 vocab 1024 sequence 32 { // mega.model.c3
  mega.pattern "F" depth 1
  mega.family "F" = mlp<width = 2147483647>
}

// -----

// expected-error @+3 {{parameter "blocks.0.mixer.qkv_proj.weight" is more than 9223372036854775806 x 2048}}
// expected-error @+2 {{parameter "blocks.0.mixer.out_proj.weight" is 2048 x 4611686011984936962}}
// expected-error @+1 {{parameter "embedding.weight" is 2147483647 x 2048}}
mega.model @vocab_and_heads hidden 2048 vocab 2147483647 sequence 32 {
  mega.pattern "A" depth 1
  mega.family "A" = attention<heads = 2147483647, head_dim = 2147483646>
}

// -----

// expected-error @+1 {{the parameters have 9007203552854016 elements, a model has at most 1125899906842624; fix: smaller sizes or fewer blocks}}
mega.model @sum_of_all hidden 1048576 vocab 1 sequence 32 { // mega.model.c4
  mega.pattern "F" depth 4096
  mega.family "F" = mlp<width = 1048576>
}

// -----

mega.model @tokens hidden 32 vocab 256 sequence 65536 {
  mega.pattern "F" depth 1
  mega.family "F" = mlp<width = 64>
}
mega.train @step of @tokens {
  // expected-error @+1 {{a micro-batch has micro_batch = 32768 times sequence = 65536 = 2147483648 tokens, it must be at most 2147483647}}
  micro_batch = 32768, // mega.train.c4
  optimizer = adamw<lr = 1.0e-3>
}

// -----

mega.model @experts hidden 32 vocab 256 sequence 32 {
  mega.pattern "E" depth 1
  // expected-error @+1 {{experts = 4 with density = 1.000000e-12 are 4.000000e+12 experts and null experts, at most 2147483647; fix: a larger density}}
  mega.family "E" = moe<experts = 4, top_k = 2, width = 32, density = 1.0e-12> // mega.moe.c4
}

// -----

mega.model @tables hidden 32 vocab 256 sequence 32 {
  mega.pattern "F" depth 1
  mega.family "F" = mlp<width = 64>
  // expected-error @+1 {{2 orders times heads = 513 are 1026 tables, at most 1024; fix: fewer heads}}
  mega.place ngram_hash<heads = 513> on input // mega.ngram_hash.c1
}

// -----

mega.model @rows hidden 32 vocab 256 sequence 32 {
  mega.pattern "F" depth 1
  mega.family "F" = mlp<width = 64>
  // expected-error @+1 {{16 tables of rows = 134217728 are 2147483648 rows, at most 2147483647; fix: at most 134217727 rows}}
  mega.place ngram_hash<rows = 134217728> on input // mega.ngram_hash.c2
}

// -----

mega.model @predictions hidden 32 vocab 256 sequence 32 {
  mega.pattern "A" depth 1
  mega.family "A" = attention<heads = 2, head_dim = 16>
  // expected-error @+1 {{'depth' of 'mtp' is 65, it must be at most 64}}
  mega.place mtp<depth = 65> on objective
}
