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
