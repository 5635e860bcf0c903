// Every op survives text and generic form.
// RUN: megacc-opt %s --verify-roundtrip | FileCheck %s
// RUN: megacc-opt %s --mlir-print-op-generic | megacc-opt | FileCheck %s

module attributes {megacc.model = "tiny", megacc.config = {accumulate = 2 : i64, beta1 = 0.9 : f64}} {
  // CHECK: step.parameter @table : tensor<9x4xf32> {block = -1 : i64, decays, init = "normal", init_a = {{.*}} : f64, trained}
  step.parameter @table : tensor<9x4xf32> {block = -1 : i64, decays, trained, init = "normal", init_a = 0.02 : f64}
  step.parameter @norm : tensor<4xf32> {block = -1 : i64, trained, init = "constant", init_a = 1.0 : f64}

  // CHECK-LABEL: step.func @micro_batch
  step.func @micro_batch {
    // CHECK: %[[TOKENS:.*]] = step.input "tokens" : tensor<2x3xi32>
    %tokens = step.input "tokens" : tensor<2x3xi32>
    // CHECK: %[[TABLE:.*]] = step.read @table : tensor<9x4xf32>
    %table = step.read @table : tensor<9x4xf32>
    %norm = step.read @norm : tensor<4xf32>
    // CHECK: step.embedding %[[TABLE]], %[[TOKENS]] : (tensor<9x4xf32>, tensor<2x3xi32>) -> tensor<6x4xf32>
    %x = step.embedding %table, %tokens : (tensor<9x4xf32>, tensor<2x3xi32>) -> tensor<6x4xf32>
    // CHECK: step.rms_norm {{.*}} {eps = 1.000000e-05 : f64}
    %n, %rstd = step.rms_norm %x, %norm {eps = 1.0e-5 : f64} : (tensor<6x4xf32>, tensor<4xf32>) -> (tensor<6x4xf32>, tensor<6xf32>)
    // CHECK: step.linear {{.*}} -> tensor<6x9xf32>
    %y = step.linear %n, %table : (tensor<6x4xf32>, tensor<9x4xf32>) -> tensor<6x9xf32>
    // CHECK: step.linear_grad_input
    %dx = step.linear_grad_input %y, %table : (tensor<6x9xf32>, tensor<9x4xf32>) -> tensor<6x4xf32>
    // CHECK: step.linear_grad_weight
    %dw = step.linear_grad_weight %y, %n : (tensor<6x9xf32>, tensor<6x4xf32>) -> tensor<9x4xf32>
    // CHECK: step.add
    %s = step.add %n, %dx : (tensor<6x4xf32>, tensor<6x4xf32>) -> tensor<6x4xf32>
    // CHECK: step.activation {{.*}} {kind = "swiglu"}
    %a = step.activation %s {kind = "swiglu"} : (tensor<6x4xf32>) -> tensor<6x2xf32>
    // CHECK: step.activation_grad
    %da = step.activation_grad %a, %s {kind = "swiglu"} : (tensor<6x2xf32>, tensor<6x4xf32>) -> tensor<6x4xf32>
    // CHECK: step.rope
    %r = step.rope %da {sequence = 3 : i64, heads = 2 : i64, head_dim = 2 : i64, offset = 0 : i64, width = 2 : i64, theta = 1.0e4 : f64, inverse}
         : (tensor<6x4xf32>) -> tensor<6x4xf32>
    // CHECK: step.split
    %parts:2 = step.split %r {groups = 2 : i64, widths = array<i64: 1, 1>} : (tensor<6x4xf32>) -> (tensor<6x2xf32>, tensor<6x2xf32>)
    // CHECK: step.concat
    %c = step.concat %parts#0, %parts#1 {groups = 2 : i64, widths = array<i64: 1, 1>} : (tensor<6x2xf32>, tensor<6x2xf32>) -> tensor<6x4xf32>
    // CHECK: step.repeat_groups
    %rep = step.repeat_groups %parts#0 {groups = 2 : i64} : (tensor<6x2xf32>) -> tensor<6x4xf32>
    // CHECK: step.sum_groups
    %sum = step.sum_groups %rep {groups = 2 : i64} : (tensor<6x4xf32>) -> tensor<6x2xf32>
    // CHECK: step.attention
    %at, %lse = step.attention %c, %sum, %sum {batch = 2 : i64, sequence = 3 : i64, heads = 2 : i64, kv_heads = 1 : i64, qk_dim = 2 : i64,
                v_dim = 2 : i64, scale = 0.5 : f64} : (tensor<6x4xf32>, tensor<6x2xf32>, tensor<6x2xf32>) -> (tensor<6x4xf32>, tensor<2x2x3xf32>)
    %documents = step.input "documents" : tensor<2x3xi32>
    // CHECK: step.attention {{.*}}tensor<2x3xi32>) ->
    %at2, %lse2 = step.attention %at, %sum, %sum, %documents {batch = 2 : i64, sequence = 3 : i64, heads = 2 : i64, kv_heads = 1 : i64,
                  qk_dim = 2 : i64, v_dim = 2 : i64, scale = 0.5 : f64}
                  : (tensor<6x4xf32>, tensor<6x2xf32>, tensor<6x2xf32>, tensor<2x3xi32>) -> (tensor<6x4xf32>, tensor<2x2x3xf32>)
    // CHECK: step.attention_grad
    %dq, %dk, %dv = step.attention_grad %x, %at2, %lse2, %c, %sum, %sum, %documents {batch = 2 : i64, sequence = 3 : i64, heads = 2 : i64,
                    kv_heads = 1 : i64, qk_dim = 2 : i64, v_dim = 2 : i64, scale = 0.5 : f64}
                    : (tensor<6x4xf32>, tensor<6x4xf32>, tensor<2x2x3xf32>, tensor<6x4xf32>, tensor<6x2xf32>, tensor<6x2xf32>, tensor<2x3xi32>)
                    -> (tensor<6x4xf32>, tensor<6x2xf32>, tensor<6x2xf32>)
    %targets = step.input "targets" : tensor<2x3xi32>
    // CHECK: step.linear_cross_entropy
    %loss, %lx, %lw = step.linear_cross_entropy %at2, %table, %targets {chunk = 6 : i64, scale = 0.5 : f64}
                      : (tensor<6x4xf32>, tensor<9x4xf32>, tensor<2x3xi32>) -> (tensor<1xf32>, tensor<6x4xf32>, tensor<9x4xf32>)
    // CHECK: step.loss {{.*}} {name = "main", weight = 1.000000e+00 : f64} : tensor<1xf32>
    step.loss %loss {name = "main", weight = 1.0 : f64} : tensor<1xf32>
    // CHECK: step.output "hidden.0", {{.*}} {shape = array<i64: 2, 3, 4>} : tensor<6x4xf32>
    step.output "hidden.0", %lx {shape = array<i64: 2, 3, 4>} : tensor<6x4xf32>
    // CHECK: step.rms_norm_grad
    %nx, %nw = step.rms_norm_grad %lx, %x, %rstd, %norm : (tensor<6x4xf32>, tensor<6x4xf32>, tensor<6xf32>, tensor<4xf32>)
               -> (tensor<6x4xf32>, tensor<4xf32>)
    // CHECK: step.embedding_grad
    %dt = step.embedding_grad %nx, %tokens : (tensor<6x4xf32>, tensor<2x3xi32>) -> tensor<9x4xf32>
    // CHECK: step.zero : tensor<4xf32>
    %zero = step.zero : tensor<4xf32>
    // CHECK: step.accumulate @table, {{.*}} : tensor<9x4xf32>
    step.accumulate @table, %dt : tensor<9x4xf32>
    step.accumulate @norm, %zero : tensor<4xf32>
  }

  // CHECK-LABEL: step.func @update
  step.func @update {
    // CHECK: step.gradient_norm : tensor<1xf32>
    %norm = step.gradient_norm : tensor<1xf32>
    // CHECK: step.set_metric "grad_norm", {{.*}} : tensor<1xf32>
    step.set_metric "grad_norm", %norm : tensor<1xf32>
    %scalars = step.input "scalars" : tensor<3xf32>
    // CHECK: step.adamw {{.*}} {group = "decays"} : tensor<1xf32>, tensor<3xf32>
    step.adamw %norm, %scalars {group = "decays"} : tensor<1xf32>, tensor<3xf32>
  }

  // CHECK-LABEL: step.func @evaluate
  step.func @evaluate {
    %x = step.zero : tensor<6x4xf32>
    %table = step.read @table : tensor<9x4xf32>
    %targets = step.input "targets" : tensor<2x3xi32>
    %positions = step.input "positions" : tensor<2xi32>
    // CHECK: step.linear_cross_entropy_evaluate
    %sum, %count = step.linear_cross_entropy_evaluate %x, %table, %targets {batch = 2 : i64, sequence = 3 : i64, chunk = 6 : i64}
                   : (tensor<6x4xf32>, tensor<9x4xf32>, tensor<2x3xi32>) -> (tensor<2xf32>, tensor<2xf32>)
    // CHECK: step.logits_at
    %logits = step.logits_at %x, %table, %positions {batch = 2 : i64, sequence = 3 : i64}
              : (tensor<6x4xf32>, tensor<9x4xf32>, tensor<2xi32>) -> tensor<2x9xf32>
    step.output "logits", %logits : tensor<2x9xf32>
  }
}
