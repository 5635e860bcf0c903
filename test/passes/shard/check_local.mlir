// RUN: megacc-opt %s -split-input-file -verify-diagnostics -step-check-local

module attributes {megacc.config = {mesh = {tp = 2}}} {
  step.func @micro_batch {
    %x = step.input "x" {sharding = ["tp +"], whole = [tensor<6x4xf32>]} : tensor<6x4xf32>
    // expected-error @+1 {{'step.reshard' op is left at ""; run step-partition}}
    %y = step.reshard %x {from = "tp +"} : tensor<6x4xf32>
    // expected-error @+1 {{'step.output' op at "" shows the host a value shared as "tp +"}}
    step.output "x", %x : tensor<6x4xf32>
    // expected-error @+1 {{has 4 ranks on axis 1, the mesh is dp = 1, tp = 2, ep = 1}}
    %z = step.all_reduce %x {axis = 1 : i64, ranks = 4 : i64} : (tensor<6x4xf32>) -> tensor<6x4xf32>
    // expected-error @+1 {{at "" is 'tensor<6x4xf32>' on a rank, but 'tensor<6x4xf32>' shared as "tp 1:4/" is 'tensor<6x2xf32>'}}
    %u = step.add %x, %x {sharding = ["tp 1:4/"], whole = [tensor<6x4xf32>]} : (tensor<6x4xf32>, tensor<6x4xf32>) -> tensor<6x4xf32>
  }
}
