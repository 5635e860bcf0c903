// The card computes in bf16; the cpu takes either precision and computes in fp32.
// RUN: megacc-opt %s -model-pipeline -mega-check-stack=target=sm_90a -split-input-file -verify-diagnostics
// RUN: sed 's/ expected-error.*//' %s | megacc-opt -model-pipeline -mega-check-stack -split-input-file
// RUN: not megacc %s --emit=step --target=sm_90 2>&1 | FileCheck %s --check-prefix=UNKNOWN

// UNKNOWN: --target: sm_90 not in {cpu,sm_90a}

mega.model @written hidden 64 vocab 64 sequence 32 {
  mega.pattern "F" depth 1
  mega.family "F" = mlp<width = 64>
}
mega.train @step of @written { // mega.stack.c4
  micro_batch = 2, optimizer = adamw<lr = 1.0e-3>,
  // expected-error @+1 {{target sm_90a computes in bf16, precision = fp32; fix: write precision = bf16 or pass --precision=bf16}}
  precision = fp32
}

// -----

mega.model @left_out hidden 64 vocab 64 sequence 32 {
  mega.pattern "F" depth 1
  mega.family "F" = mlp<width = 64>
}
// expected-error @+1 {{target sm_90a computes in bf16, precision = fp32}}
mega.train @step of @left_out { micro_batch = 2, optimizer = adamw<lr = 1.0e-3> }

// -----

mega.model @bf16 hidden 64 vocab 64 sequence 32 {
  mega.pattern "F" depth 1
  mega.family "F" = mlp<width = 64>
}
mega.train @step of @bf16 { micro_batch = 2, precision = bf16, optimizer = adamw<lr = 1.0e-3> }
