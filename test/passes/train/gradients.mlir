// One op at a time: its backward, between a parameter and a loss.
// RUN: megacc-opt %s -split-input-file -step-differentiate | FileCheck %s

// A product; nothing flows to an input, so no gradient of it is computed. A parameter that is read twice is accumulated twice.
// CHECK-LABEL: module @linear
module @linear {
  step.parameter @w : tensor<4x4xf32> init normal {block = 0 : i64, decays, trained, init_a = 0.02 : f64}
  step.parameter @head : tensor<9x4xf32> init normal {block = -1 : i64, decays, trained, init_a = 0.02 : f64}
  step.func @micro_batch {
    %in = step.input "x" : tensor<6x4xf32>
    %w = step.read @w {block = 0 : i64} : tensor<4x4xf32>
    // CHECK: %[[X:.*]] = step.linear {{.*}}, %{{.*}} :
    %x = step.linear %in, %w : (tensor<6x4xf32>, tensor<4x4xf32>) -> tensor<6x4xf32>
    %w2 = step.read @w {block = 0 : i64} : tensor<4x4xf32>
    %y = step.linear %x, %w2 : (tensor<6x4xf32>, tensor<4x4xf32>) -> tensor<6x4xf32>
    %targets = step.input "targets" : tensor<2x3xi32>
    %valid = step.count_valid %targets : (tensor<2x3xi32>) -> tensor<1xf32>
    %head = step.read @head : tensor<9x4xf32>
    // CHECK: %[[LOSS:.*]], %[[D:.*]], %[[DH:.*]] = step.linear_cross_entropy
    %loss, %dx, %dw = step.linear_cross_entropy %y, %head, %targets, %valid {scale = 1.0 : f64}
                      : (tensor<6x4xf32>, tensor<9x4xf32>, tensor<2x3xi32>, tensor<1xf32>)
                      -> (tensor<1xf32>, tensor<6x4xf32>, tensor<9x4xf32>)
    step.loss %loss {name = "main", weight = 1.0 : f64} : tensor<1xf32>
    // CHECK: step.accumulate @head, %[[DH]]
    // CHECK: %[[DW2:.*]] = step.linear_grad_weight %[[D]], %[[X]]
    // CHECK: %[[DX:.*]] = step.linear_grad_input %[[D]]
    // CHECK-NEXT: step.accumulate @w, %[[DW2]] {block = 0 : i64, phase = #step.phase<backward>}
    // CHECK-NEXT: %[[DW1:.*]] = step.linear_grad_weight %[[DX]]
    // CHECK-NEXT: step.accumulate @w, %[[DW1]] {adds, block = 0 : i64, phase = #step.phase<backward>}
    // CHECK-NEXT: {{^ *}}}
  }
}

// -----

// A norm saves its input; both ops are a pair, which can share caches.
// CHECK-LABEL: module @rms_norm
module @rms_norm {
  step.parameter @w : tensor<4x4xf32> init normal {block = 0 : i64, decays, trained, init_a = 0.02 : f64}
  step.parameter @head : tensor<9x4xf32> init normal {block = -1 : i64, decays, trained, init_a = 0.02 : f64}
  step.parameter @scale : tensor<4xf32> init constant {block = 0 : i64, trained, init_a = 1.0 : f64}
  step.func @micro_batch {
    %in = step.input "x" : tensor<6x4xf32>
    %w = step.read @w {block = 0 : i64} : tensor<4x4xf32>
    // CHECK: %[[X:.*]] = step.linear {{.*}}, %{{.*}} :
    %x = step.linear %in, %w : (tensor<6x4xf32>, tensor<4x4xf32>) -> tensor<6x4xf32>
    %scale = step.read @scale : tensor<4xf32>
    // CHECK: step.rms_norm %[[X]], %[[S:[^ ]*]] {{.*}}pair = [[PAIR:[0-9]+]]
    %y = step.rms_norm %x, %scale {eps = 1.0e-5 : f64} : (tensor<6x4xf32>, tensor<4xf32>) -> tensor<6x4xf32>
    %targets = step.input "targets" : tensor<2x3xi32>
    %valid = step.count_valid %targets : (tensor<2x3xi32>) -> tensor<1xf32>
    %head = step.read @head : tensor<9x4xf32>
    // CHECK: %[[LOSS:.*]], %[[D:.*]], %[[DH:.*]] = step.linear_cross_entropy
    %loss, %dx, %dw = step.linear_cross_entropy %y, %head, %targets, %valid {scale = 1.0 : f64}
                      : (tensor<6x4xf32>, tensor<9x4xf32>, tensor<2x3xi32>, tensor<1xf32>)
                      -> (tensor<1xf32>, tensor<6x4xf32>, tensor<9x4xf32>)
    step.loss %loss {name = "main", weight = 1.0 : f64} : tensor<1xf32>
    // CHECK: step.accumulate @head, %[[DH]]
    // CHECK: %[[DX:.*]], %[[DS:.*]] = step.rms_norm_grad %[[D]], %[[X]], %[[S]] {{.*}}pair = [[PAIR]] : i64
    // CHECK: step.accumulate @scale, %[[DS]]
    // CHECK: %[[DW:.*]] = step.linear_grad_weight %[[DX]], {{.*}}phase = #step.phase<backward>
    // CHECK-NOT: step.linear_grad_input
    // CHECK: step.accumulate @w, %[[DW]] {block = 0 : i64, phase = #step.phase<backward>}
  }
}

// -----

// A value with two uses: gradients are added as they arrive.
// CHECK-LABEL: module @residual
module @residual {
  step.parameter @w : tensor<4x4xf32> init normal {block = 0 : i64, decays, trained, init_a = 0.02 : f64}
  step.parameter @head : tensor<9x4xf32> init normal {block = -1 : i64, decays, trained, init_a = 0.02 : f64}
  step.func @micro_batch {
    %in = step.input "x" : tensor<6x4xf32>
    %w = step.read @w {block = 0 : i64} : tensor<4x4xf32>
    // CHECK: %[[X:.*]] = step.linear {{.*}}, %{{.*}} :
    %x = step.linear %in, %w : (tensor<6x4xf32>, tensor<4x4xf32>) -> tensor<6x4xf32>
    %a = step.activation gelu %x : (tensor<6x4xf32>) -> tensor<6x4xf32>
    %y = step.add %x, %a : (tensor<6x4xf32>, tensor<6x4xf32>) -> tensor<6x4xf32>
    %targets = step.input "targets" : tensor<2x3xi32>
    %valid = step.count_valid %targets : (tensor<2x3xi32>) -> tensor<1xf32>
    %head = step.read @head : tensor<9x4xf32>
    // CHECK: %[[LOSS:.*]], %[[D:.*]], %[[DH:.*]] = step.linear_cross_entropy
    %loss, %dx, %dw = step.linear_cross_entropy %y, %head, %targets, %valid {scale = 1.0 : f64}
                      : (tensor<6x4xf32>, tensor<9x4xf32>, tensor<2x3xi32>, tensor<1xf32>)
                      -> (tensor<1xf32>, tensor<6x4xf32>, tensor<9x4xf32>)
    step.loss %loss {name = "main", weight = 1.0 : f64} : tensor<1xf32>
    // CHECK: step.accumulate @head, %[[DH]]
    // CHECK: %[[DA:.*]] = step.activation_grad gelu %[[D]], %[[X]]
    // CHECK: %[[DX:.*]] = step.add %[[D]], %[[DA]]
    // CHECK: %[[DW:.*]] = step.linear_grad_weight %[[DX]], {{.*}}phase = #step.phase<backward>
    // CHECK-NOT: step.linear_grad_input
    // CHECK: step.accumulate @w, %[[DW]] {block = 0 : i64, phase = #step.phase<backward>}
  }
}

// -----

// Half as wide as its input.
// CHECK-LABEL: module @swiglu
module @swiglu {
  step.parameter @w : tensor<4x4xf32> init normal {block = 0 : i64, decays, trained, init_a = 0.02 : f64}
  step.parameter @head : tensor<9x2xf32> init normal {block = -1 : i64, decays, trained, init_a = 0.02 : f64}
  step.func @micro_batch {
    %in = step.input "x" : tensor<6x4xf32>
    %w = step.read @w {block = 0 : i64} : tensor<4x4xf32>
    // CHECK: %[[X:.*]] = step.linear {{.*}}, %{{.*}} :
    %x = step.linear %in, %w : (tensor<6x4xf32>, tensor<4x4xf32>) -> tensor<6x4xf32>
    %y = step.activation swiglu %x : (tensor<6x4xf32>) -> tensor<6x2xf32>
    %targets = step.input "targets" : tensor<2x3xi32>
    %valid = step.count_valid %targets : (tensor<2x3xi32>) -> tensor<1xf32>
    %head = step.read @head : tensor<9x2xf32>
    // CHECK: %[[LOSS:.*]], %[[D:.*]], %[[DH:.*]] = step.linear_cross_entropy
    %loss, %dx, %dw = step.linear_cross_entropy %y, %head, %targets, %valid {scale = 1.0 : f64}
                      : (tensor<6x2xf32>, tensor<9x2xf32>, tensor<2x3xi32>, tensor<1xf32>)
                      -> (tensor<1xf32>, tensor<6x2xf32>, tensor<9x2xf32>)
    step.loss %loss {name = "main", weight = 1.0 : f64} : tensor<1xf32>
    // CHECK: step.accumulate @head, %[[DH]]
    // CHECK: %[[DX:.*]] = step.activation_grad swiglu %[[D]], %[[X]] {{.*}} : (tensor<6x2xf32>, tensor<6x4xf32>) -> tensor<6x4xf32>
    // CHECK: %[[DW:.*]] = step.linear_grad_weight %[[DX]], {{.*}}phase = #step.phase<backward>
    // CHECK-NOT: step.linear_grad_input
    // CHECK: step.accumulate @w, %[[DW]] {block = 0 : i64, phase = #step.phase<backward>}
  }
}

// -----

// Turned back.
// CHECK-LABEL: module @rope
module @rope {
  step.parameter @w : tensor<4x4xf32> init normal {block = 0 : i64, decays, trained, init_a = 0.02 : f64}
  step.parameter @head : tensor<9x4xf32> init normal {block = -1 : i64, decays, trained, init_a = 0.02 : f64}
  step.func @micro_batch {
    %in = step.input "x" : tensor<6x4xf32>
    %w = step.read @w {block = 0 : i64} : tensor<4x4xf32>
    // CHECK: %[[X:.*]] = step.linear {{.*}}, %{{.*}} :
    %x = step.linear %in, %w : (tensor<6x4xf32>, tensor<4x4xf32>) -> tensor<6x4xf32>
    %y = step.rope %x {sequence = 3 : i64, heads = 1 : i64, head_dim = 4 : i64, offset = 2 : i64, width = 2 : i64, theta = 1.0e4 : f64}
         : (tensor<6x4xf32>) -> tensor<6x4xf32>
    %targets = step.input "targets" : tensor<2x3xi32>
    %valid = step.count_valid %targets : (tensor<2x3xi32>) -> tensor<1xf32>
    %head = step.read @head : tensor<9x4xf32>
    // CHECK: %[[LOSS:.*]], %[[D:.*]], %[[DH:.*]] = step.linear_cross_entropy
    %loss, %dx, %dw = step.linear_cross_entropy %y, %head, %targets, %valid {scale = 1.0 : f64}
                      : (tensor<6x4xf32>, tensor<9x4xf32>, tensor<2x3xi32>, tensor<1xf32>)
                      -> (tensor<1xf32>, tensor<6x4xf32>, tensor<9x4xf32>)
    step.loss %loss {name = "main", weight = 1.0 : f64} : tensor<1xf32>
    // CHECK: step.accumulate @head, %[[DH]]
    // CHECK: %[[DX:.*]] = step.rope %[[D]] {{.*}}inverse, offset = 2 : i64
    // CHECK: %[[DW:.*]] = step.linear_grad_weight %[[DX]], {{.*}}phase = #step.phase<backward>
    // CHECK-NOT: step.linear_grad_input
    // CHECK: step.accumulate @w, %[[DW]] {block = 0 : i64, phase = #step.phase<backward>}
  }
}

// -----

// A part without a gradient counts as zeros.
// CHECK-LABEL: module @split
module @split {
  step.parameter @w : tensor<4x4xf32> init normal {block = 0 : i64, decays, trained, init_a = 0.02 : f64}
  step.parameter @head : tensor<9x3xf32> init normal {block = -1 : i64, decays, trained, init_a = 0.02 : f64}
  step.func @micro_batch {
    %in = step.input "x" : tensor<6x4xf32>
    %w = step.read @w {block = 0 : i64} : tensor<4x4xf32>
    // CHECK: %[[X:.*]] = step.linear {{.*}}, %{{.*}} :
    %x = step.linear %in, %w : (tensor<6x4xf32>, tensor<4x4xf32>) -> tensor<6x4xf32>
    %y, %rest = step.split %x {groups = 1 : i64, widths = array<i64: 3, 1>} : (tensor<6x4xf32>) -> (tensor<6x3xf32>, tensor<6x1xf32>)
    %targets = step.input "targets" : tensor<2x3xi32>
    %valid = step.count_valid %targets : (tensor<2x3xi32>) -> tensor<1xf32>
    %head = step.read @head : tensor<9x3xf32>
    // CHECK: %[[LOSS:.*]], %[[D:.*]], %[[DH:.*]] = step.linear_cross_entropy
    %loss, %dx, %dw = step.linear_cross_entropy %y, %head, %targets, %valid {scale = 1.0 : f64}
                      : (tensor<6x3xf32>, tensor<9x3xf32>, tensor<2x3xi32>, tensor<1xf32>)
                      -> (tensor<1xf32>, tensor<6x3xf32>, tensor<9x3xf32>)
    step.loss %loss {name = "main", weight = 1.0 : f64} : tensor<1xf32>
    // CHECK: step.accumulate @head, %[[DH]]
    // CHECK: %[[Z:.*]] = step.zero {{.*}} tensor<6x1xf32>
    // CHECK: %[[DX:.*]] = step.concat %[[D]], %[[Z]]
    // CHECK: %[[DW:.*]] = step.linear_grad_weight %[[DX]], {{.*}}phase = #step.phase<backward>
    // CHECK-NOT: step.linear_grad_input
    // CHECK: step.accumulate @w, %[[DW]] {block = 0 : i64, phase = #step.phase<backward>}
  }
}

// -----

// Both parts are the same value.
// CHECK-LABEL: module @concat
module @concat {
  step.parameter @w : tensor<4x4xf32> init normal {block = 0 : i64, decays, trained, init_a = 0.02 : f64}
  step.parameter @head : tensor<9x8xf32> init normal {block = -1 : i64, decays, trained, init_a = 0.02 : f64}
  step.func @micro_batch {
    %in = step.input "x" : tensor<6x4xf32>
    %w = step.read @w {block = 0 : i64} : tensor<4x4xf32>
    // CHECK: %[[X:.*]] = step.linear {{.*}}, %{{.*}} :
    %x = step.linear %in, %w : (tensor<6x4xf32>, tensor<4x4xf32>) -> tensor<6x4xf32>
    %y = step.concat %x, %x {groups = 2 : i64, widths = array<i64: 2, 2>} : (tensor<6x4xf32>, tensor<6x4xf32>) -> tensor<6x8xf32>
    %targets = step.input "targets" : tensor<2x3xi32>
    %valid = step.count_valid %targets : (tensor<2x3xi32>) -> tensor<1xf32>
    %head = step.read @head : tensor<9x8xf32>
    // CHECK: %[[LOSS:.*]], %[[D:.*]], %[[DH:.*]] = step.linear_cross_entropy
    %loss, %dx, %dw = step.linear_cross_entropy %y, %head, %targets, %valid {scale = 1.0 : f64}
                      : (tensor<6x8xf32>, tensor<9x8xf32>, tensor<2x3xi32>, tensor<1xf32>)
                      -> (tensor<1xf32>, tensor<6x8xf32>, tensor<9x8xf32>)
    step.loss %loss {name = "main", weight = 1.0 : f64} : tensor<1xf32>
    // CHECK: step.accumulate @head, %[[DH]]
    // CHECK: %[[P:.*]]:2 = step.split %[[D]]
    // CHECK: %[[DX:.*]] = step.add %[[P]]#0, %[[P]]#1
    // CHECK: %[[DW:.*]] = step.linear_grad_weight %[[DX]], {{.*}}phase = #step.phase<backward>
    // CHECK-NOT: step.linear_grad_input
    // CHECK: step.accumulate @w, %[[DW]] {block = 0 : i64, phase = #step.phase<backward>}
  }
}

// -----

// And its counterpart.
// CHECK-LABEL: module @repeat_groups
module @repeat_groups {
  step.parameter @w : tensor<4x4xf32> init normal {block = 0 : i64, decays, trained, init_a = 0.02 : f64}
  step.parameter @head : tensor<9x4xf32> init normal {block = -1 : i64, decays, trained, init_a = 0.02 : f64}
  step.func @micro_batch {
    %in = step.input "x" : tensor<6x4xf32>
    %w = step.read @w {block = 0 : i64} : tensor<4x4xf32>
    // CHECK: %[[X:.*]] = step.linear {{.*}}, %{{.*}} :
    %x = step.linear %in, %w : (tensor<6x4xf32>, tensor<4x4xf32>) -> tensor<6x4xf32>
    %r = step.repeat_groups %x {groups = 3 : i64} : (tensor<6x4xf32>) -> tensor<6x12xf32>
    %y = step.sum_groups %r {groups = 3 : i64} : (tensor<6x12xf32>) -> tensor<6x4xf32>
    %targets = step.input "targets" : tensor<2x3xi32>
    %valid = step.count_valid %targets : (tensor<2x3xi32>) -> tensor<1xf32>
    %head = step.read @head : tensor<9x4xf32>
    // CHECK: %[[LOSS:.*]], %[[D:.*]], %[[DH:.*]] = step.linear_cross_entropy
    %loss, %dx, %dw = step.linear_cross_entropy %y, %head, %targets, %valid {scale = 1.0 : f64}
                      : (tensor<6x4xf32>, tensor<9x4xf32>, tensor<2x3xi32>, tensor<1xf32>)
                      -> (tensor<1xf32>, tensor<6x4xf32>, tensor<9x4xf32>)
    step.loss %loss {name = "main", weight = 1.0 : f64} : tensor<1xf32>
    // CHECK: step.accumulate @head, %[[DH]]
    // CHECK: %[[DR:.*]] = step.repeat_groups %[[D]] {{.*}}groups = 3
    // CHECK: %[[DX:.*]] = step.sum_groups %[[DR]] {{.*}}groups = 3
    // CHECK: %[[DW:.*]] = step.linear_grad_weight %[[DX]], {{.*}}phase = #step.phase<backward>
    // CHECK-NOT: step.linear_grad_input
    // CHECK: step.accumulate @w, %[[DW]] {block = 0 : i64, phase = #step.phase<backward>}
  }
}

// -----

// Reads its own result; documents get no gradient.
// CHECK-LABEL: module @attention
module @attention {
  step.parameter @w : tensor<4x4xf32> init normal {block = 0 : i64, decays, trained, init_a = 0.02 : f64}
  step.parameter @head : tensor<9x4xf32> init normal {block = -1 : i64, decays, trained, init_a = 0.02 : f64}
  step.func @micro_batch {
    %in = step.input "x" : tensor<6x4xf32>
    %w = step.read @w {block = 0 : i64} : tensor<4x4xf32>
    // CHECK: %[[X:.*]] = step.linear {{.*}}, %{{.*}} :
    %x = step.linear %in, %w : (tensor<6x4xf32>, tensor<4x4xf32>) -> tensor<6x4xf32>
    %doc = step.input "documents" : tensor<2x3xi32>
    // CHECK: %[[Y:.*]] = step.attention {{.*}}pair = [[PAIR:[0-9]+]]
    %y = step.attention %x, %x, %x, %doc {batch = 2 : i64, sequence = 3 : i64, heads = 2 : i64, kv_heads = 2 : i64, qk_dim = 2 : i64,
         v_dim = 2 : i64, scale = 0.5 : f64} : (tensor<6x4xf32>, tensor<6x4xf32>, tensor<6x4xf32>, tensor<2x3xi32>) -> tensor<6x4xf32>
    %targets = step.input "targets" : tensor<2x3xi32>
    %valid = step.count_valid %targets : (tensor<2x3xi32>) -> tensor<1xf32>
    %head = step.read @head : tensor<9x4xf32>
    // CHECK: %[[LOSS:.*]], %[[D:.*]], %[[DH:.*]] = step.linear_cross_entropy
    %loss, %dx, %dw = step.linear_cross_entropy %y, %head, %targets, %valid {scale = 1.0 : f64}
                      : (tensor<6x4xf32>, tensor<9x4xf32>, tensor<2x3xi32>, tensor<1xf32>)
                      -> (tensor<1xf32>, tensor<6x4xf32>, tensor<9x4xf32>)
    step.loss %loss {name = "main", weight = 1.0 : f64} : tensor<1xf32>
    // CHECK: step.accumulate @head, %[[DH]]
    // CHECK: %[[DQ:.*]], %[[DK:.*]], %[[DV:.*]] = step.attention_grad %[[D]], %[[Y]], %[[X]], %[[X]], %[[X]], %{{.*}} {{.*}}pair = [[PAIR]] : i64
    // CHECK: %[[DQK:.*]] = step.add %[[DQ]], %[[DK]]
    // CHECK: %[[DX:.*]] = step.add %[[DQK]], %[[DV]]
    // CHECK: %[[DW:.*]] = step.linear_grad_weight %[[DX]], {{.*}}phase = #step.phase<backward>
    // CHECK-NOT: step.linear_grad_input
    // CHECK: step.accumulate @w, %[[DW]] {block = 0 : i64, phase = #step.phase<backward>}
  }
}

// -----

// A table that is also the head, and a parameter that is never read.
// CHECK-LABEL: module @embedding
module @embedding {
  step.parameter @table : tensor<9x4xf32> init normal {block = -1 : i64, decays, trained, init_a = 0.02 : f64}
  step.parameter @unused : tensor<4xf32> init constant {block = -1 : i64, trained, init_a = 1.0 : f64}
  step.parameter @state : tensor<4xf32> init constant {block = -1 : i64, init_a = 1.0 : f64}
  step.func @micro_batch {
    // CHECK: %[[TOKENS:.*]] = step.input "tokens"
    %tokens = step.input "tokens" : tensor<2x3xi32>
    %valid = step.count_valid %tokens : (tensor<2x3xi32>) -> tensor<1xf32>
    %table = step.read @table : tensor<9x4xf32>
    %x = step.embedding %table, %tokens : (tensor<9x4xf32>, tensor<2x3xi32>) -> tensor<6x4xf32>
    // CHECK: %[[LOSS:.*]], %[[D:.*]], %[[DH:.*]] = step.linear_cross_entropy
    %loss, %dx, %dw = step.linear_cross_entropy %x, %table, %tokens, %valid {scale = 1.0 : f64}
                      : (tensor<6x4xf32>, tensor<9x4xf32>, tensor<2x3xi32>, tensor<1xf32>)
                      -> (tensor<1xf32>, tensor<6x4xf32>, tensor<9x4xf32>)
    step.loss %loss {name = "main", weight = 1.0 : f64} : tensor<1xf32>
    // CHECK: %[[DT:.*]] = step.embedding_grad %[[D]], %[[TOKENS]]
    // CHECK-NEXT: step.accumulate @table, %[[DH]] {block
    // CHECK-NEXT: step.accumulate @table, %[[DT]] {adds, block
    // CHECK-NEXT: %[[ZERO:.*]] = step.zero {{.*}} tensor<4xf32>
    // CHECK-NEXT: step.accumulate @unused, %[[ZERO]] {block
    // CHECK-NOT: @state
  }
}

// -----

// In bf16 activations have gradients in bf16, parameters in f32.
// CHECK-LABEL: module @bf16
module @bf16 {
  step.parameter @w : tensor<4x4xbf16> init normal {block = 0 : i64, decays, trained, init_a = 0.02 : f64}
  step.parameter @scale : tensor<4xbf16> init constant {block = 0 : i64, trained, init_a = 1.0 : f64}
  step.parameter @unused : tensor<4xbf16> init constant {block = 0 : i64, trained, init_a = 1.0 : f64}
  step.parameter @head : tensor<9x4xbf16> init normal {block = -1 : i64, decays, trained, init_a = 0.02 : f64}
  step.func @micro_batch {
    %in = step.input "x" : tensor<6x4xbf16>
    %w = step.read @w {block = 0 : i64} : tensor<4x4xbf16>
    %x = step.linear %in, %w : (tensor<6x4xbf16>, tensor<4x4xbf16>) -> tensor<6x4xbf16>
    %scale = step.read @scale : tensor<4xbf16>
    %y = step.rms_norm %x, %scale {eps = 1.0e-5 : f64} : (tensor<6x4xbf16>, tensor<4xbf16>) -> tensor<6x4xbf16>
    %targets = step.input "targets" : tensor<2x3xi32>
    %valid = step.count_valid %targets : (tensor<2x3xi32>) -> tensor<1xf32>
    %head = step.read @head : tensor<9x4xbf16>
    %loss, %dx, %dw = step.linear_cross_entropy %y, %head, %targets, %valid {scale = 1.0 : f64}
                      : (tensor<6x4xbf16>, tensor<9x4xbf16>, tensor<2x3xi32>, tensor<1xf32>)
                      -> (tensor<1xf32>, tensor<6x4xbf16>, tensor<9x4xf32>)
    step.loss %loss {name = "main", weight = 1.0 : f64} : tensor<1xf32>
    // CHECK: step.accumulate @head, {{.*}} : tensor<9x4xf32>
    // CHECK: step.rms_norm_grad {{.*}} -> (tensor<6x4xbf16>, tensor<4xf32>)
    // CHECK: step.accumulate @scale, {{.*}} : tensor<4xf32>
    // CHECK: step.linear_grad_weight {{.*}} : (tensor<6x4xbf16>, tensor<6x4xbf16>) -> tensor<4x4xf32>
    // CHECK: step.accumulate @w, {{.*}} : tensor<4x4xf32>
    // CHECK: step.zero {{.*}} : tensor<4xf32>
    // CHECK: step.accumulate @unused, {{.*}} : tensor<4xf32>
  }
}

// -----

// A router's gradient contains those of its losses, each a share of the micro-batches; without the losses in the forward it sums itself.
// CHECK-LABEL: module @moe_route
module @moe_route attributes {megacc.config = {accumulate = 4 : i64}} {
  step.parameter @w : tensor<3x4xf32> init normal {block = 0 : i64, decays, trained, init_a = 0.02 : f64}
  step.parameter @head : tensor<9x4xf32> init normal {block = -1 : i64, decays, trained, init_a = 0.02 : f64}
  step.func @micro_batch {
    %in = step.input "x" : tensor<6x4xf32>
    %w = step.read @w {block = 0 : i64} : tensor<3x4xf32>
    // CHECK: %[[L:.*]] = step.linear
    %logits = step.linear %in, %w : (tensor<6x4xf32>, tensor<3x4xf32>) -> tensor<6x3xf32>
    // CHECK: %[[W:.*]], %[[C:.*]], %[[P:.*]], %[[O:.*]] = step.moe_route %[[L]]
    %weights, %c, %p, %o = step.moe_route %logits {experts = 3 : i64, slots = 2 : i64, nulls = 0 : i64, scale = 1.0 : f64,
                           aux = 0.5 : f64, z = 2.0 : f64}
                           : (tensor<6x3xf32>) -> (tensor<6x2xf32>, tensor<6x2xi32>, tensor<6x2xi32>, tensor<4xi32>)
    %rows = step.input "rows" : tensor<12x4xf32>
    %scale = step.moe_dispatch_weights %weights, %p, %o : (tensor<6x2xf32>, tensor<6x2xi32>, tensor<4xi32>) -> tensor<12x1xf32>
    %scaled = step.row_scale %rows, %scale : (tensor<12x4xf32>, tensor<12x1xf32>) -> tensor<12x4xf32>
    %y = step.moe_combine %scaled, %p, %o : (tensor<12x4xf32>, tensor<6x2xi32>, tensor<4xi32>) -> tensor<6x4xf32>
    %targets = step.input "targets" : tensor<2x3xi32>
    %valid = step.count_valid %targets : (tensor<2x3xi32>) -> tensor<1xf32>
    %head = step.read @head : tensor<9x4xf32>
    %loss, %dx, %dw = step.linear_cross_entropy %y, %head, %targets, %valid {scale = 1.0 : f64}
                      : (tensor<6x4xf32>, tensor<9x4xf32>, tensor<2x3xi32>, tensor<1xf32>)
                      -> (tensor<1xf32>, tensor<6x4xf32>, tensor<9x4xf32>)
    step.loss %loss {name = "main", weight = 1.0 : f64} : tensor<1xf32>
    // CHECK: %[[DY:.*]] = step.moe_dispatch %{{.*}}, %[[P]], %[[O]] {{.*}}phase = #step.phase<backward>
    // CHECK: %{{.*}}, %[[DS:.*]] = step.row_scale_grad %[[DY]]
    // CHECK: %[[DW:.*]] = step.moe_dispatch_weights_grad %[[DS]], %[[P]]
    // CHECK: %[[S:.*]] = step.moe_statistics %[[L]], %[[O]] {{.*}}experts = 3 : i64, nulls = 0 : i64, phase = #step.phase<backward>{{.*}} -> tensor<7xf64>
    // CHECK: %[[DL:.*]] = step.moe_route_grad %[[DW]], %[[L]], %[[C]], %[[S]] {aux = 1.250000e-01 : f64, {{.*}}tokens = 6 : i64, z = 5.000000e-01 : f64}
    // CHECK: step.linear_grad_weight %[[DL]]
  }
}
