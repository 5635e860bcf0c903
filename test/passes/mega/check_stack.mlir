// What a stack asks for and nothing can do yet is refused in one run, each at its place.
// RUN: megacc-opt %s -model-pipeline -mega-check-stack -split-input-file -verify-diagnostics

// expected-error @+1 {{model '@wide': a pattern of 2 pipeline stages is not supported yet}}
mega.model @wide hidden 64 vocab 64 sequence 32 {
  mega.pattern "A | A" depth 2
  mega.family "A" = attention<heads = 4, head_dim = 16>
}
mega.train @step of @wide {
  micro_batch = 2,
  mesh = <dp = 2, tp = 4>,
  recompute = full,
  optimizer = adamw<lr = 1.0e-3>
}
