// RUN: megacc-opt %s -split-input-file -verify-diagnostics -step-propagate-sharding

module attributes {megacc.config = {mesh = {tp = 2}}} {
  step.parameter @w : tensor<10x4xf32> init normal {block = 0 : i64, trained, decays, init_a = 0.02 : f64, sharding = "tp 0:8/,2"}
  step.parameter @g : tensor<10xf32> init constant {block = 0 : i64, trained, init_a = 1.0 : f64}
  step.func @micro_batch {
    %x = step.input "x" : tensor<6x4xf32>
    %w = step.read @w : tensor<10x4xf32>
    %g = step.read @g : tensor<10xf32>
    %y = step.linear %x, %w : (tensor<6x4xf32>, tensor<10x4xf32>) -> tensor<6x10xf32>
    // expected-error @+2 {{'step.rms_norm' at "" over tp = 2 is not supported yet: factor 'd' may not be split: the mean is over the whole row; fix: tp = 1}}
    // expected-note @+1 {{its operands are shared as "tp 1:8/,2", "", its rule is}}
    %n = step.rms_norm %y, %g {eps = 1.0e-5 : f64} : (tensor<6x10xf32>, tensor<10xf32>) -> tensor<6x10xf32>
  }
}
