// What has no implementation yet is refused in one run, each at its line.
// RUN: megacc-opt %s -model-pipeline -mega-to-step -split-input-file -verify-diagnostics

mega.model @mixed hidden 64 vocab 64 sequence 32 {
  mega.pattern "AME" depth 3
  mega.family "A" = attention<heads = 4, head_dim = 16>
  mega.family "M" = mamba3<head_dim = 16, state = 16, groups = 1, rank = 2, chunk = 8>
  mega.family "E" = moe<experts = 4, top_k = 2, width = 32>
  // expected-error @+1 {{'mega.place' on "A": mhc is not supported yet}}
  mega.place mhc<> on "A" ranks [0]
}
mega.train @step of @mixed { micro_batch = 2, optimizer = adamw<lr = 1.0e-3> }

// -----

// expected-error @+1 {{model "alone" has no 'mega.train'}}
module {
  mega.model @alone hidden 64 vocab 64 sequence 32 {
    mega.pattern "A" depth 1
    mega.family "A" = attention<heads = 4, head_dim = 16>
  }
}
