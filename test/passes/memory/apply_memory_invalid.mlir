// RUN: megacc-opt %s -split-input-file -step-apply-memory -verify-diagnostics

step.func @cache_that_the_record_lacks {
  %x = step.input "x" : tensor<6x10xf32>
  %w = step.input "w" : tensor<10xf32>
  // expected-error @+1 {{keeps the cache "lse", which cpu.rms_norm does not have}}
  %n = step.rms_norm %x, %w {eps = 1.0e-5 : f64, keep = ["lse"], pair = 0 : i64} : (tensor<6x10xf32>, tensor<10xf32>) -> tensor<6x10xf32>
}

// -----

step.func @nothing_to_cache {
  %p = step.input "p" : tensor<6x34xf32>
  %h = step.input "h" : tensor<2xf32>
  %b = step.input "b" : tensor<2x1x4xf32>
  %c = step.input "c" : tensor<4xf32>
  // expected-error @+1 {{keeps the cache "psi_v", which cpu.mamba3_scan does not have}}
  %y = step.mamba3_scan %p, %h, %h, %b, %b, %c, %c {keep = ["psi_v"], pair = 3 : i64, batch = 2 : i64, sequence = 3 : i64,
       heads = 2 : i64, groups = 1 : i64,
       rank = 1 : i64, head_dim = 5 : i64, state = 4 : i64, angles = 0 : i64, chunk = 4 : i64, eps = 1.0e-5 : f64,
       operandSegmentSizes = array<i32: 1, 6, 0>}
       : (tensor<6x34xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2x1x4xf32>, tensor<2x1x4xf32>, tensor<4xf32>, tensor<4xf32>)
       -> tensor<6x10xf32>
}

// -----

module attributes {megacc.target = "none"} {
  step.func @no_record {
    %x = step.input "x" : tensor<6x10xf32>
    %w = step.input "w" : tensor<10xf32>
    // expected-error @+1 {{keeps caches, but no kernel serves it on none}}
    %n = step.rms_norm %x, %w {eps = 1.0e-5 : f64, keep = ["rstd"], pair = 0 : i64} : (tensor<6x10xf32>, tensor<10xf32>) -> tensor<6x10xf32>
  }
}
