// Structure, dense ops, attention and losses survive text and generic form, in bf16 with fp32 parameter gradients and all in f32.
// RUN: megacc-opt %s --verify-roundtrip | FileCheck %s -DT=bf16
// RUN: megacc-opt %s --mlir-print-op-generic | megacc-opt | FileCheck %s -DT=bf16
// RUN: sed "s/bf16/f32/g" %s | megacc-opt --verify-roundtrip | FileCheck %s -DT=f32

module attributes {megacc.model = "tiny", megacc.config = {accumulate = 2 : i64, beta1 = 0.9 : f64}} {
  // CHECK: step.parameter @table : tensor<9x4x[[T]]> init normal {block = -1 : i64, decays, init_a = 2.000000e-02 : f64, trained}
  step.parameter @table : tensor<9x4xbf16> init normal {block = -1 : i64, decays, trained, init_a = 0.02 : f64}
  // CHECK-NEXT: step.parameter @norm : tensor<4x[[T]]> init constant {
  step.parameter @norm : tensor<4xbf16> init constant {block = -1 : i64, trained, init_a = 1.0 : f64}
  // CHECK-NEXT: step.parameter @a : tensor<4xf32> init uniform {
  step.parameter @a : tensor<4xf32> init uniform {block = 0 : i64, init_a = 1.0 : f64}
  // CHECK-NEXT: step.parameter @b : tensor<4xf32> init dt_bias {
  step.parameter @b : tensor<4xf32> init dt_bias {block = 0 : i64, init_a = 0.0 : f64}
  // CHECK-NEXT: step.parameter @c : tensor<4xf32> init a_log {
  step.parameter @c : tensor<4xf32> init a_log {block = 0 : i64, init_a = 0.0 : f64}
  // CHECK-NEXT: step.parameter @d : tensor<4x4xf32> init identity {
  step.parameter @d : tensor<4x4xf32> init identity {block = 0 : i64, init_a = 4.0 : f64}

  // CHECK-LABEL: step.func @micro_batch
  step.func @micro_batch {
    // CHECK: %[[TOKENS:.*]] = step.input "tokens" {block = -1 : i64, phase = #step.phase<forward>} : tensor<2x3xi32>
    %tokens = step.input "tokens" {block = -1 : i64, phase = #step.phase<forward>} : tensor<2x3xi32>
    // CHECK: %[[TABLE:.*]] = step.read @table : tensor<9x4x[[T]]>
    %table = step.read @table : tensor<9x4xbf16>
    %norm = step.read @norm : tensor<4xbf16>
    // CHECK: step.embedding %[[TABLE]], %[[TOKENS]] {invalid = "invalid.tokens", vocab_axis = 1 : i64} : (tensor<9x4x[[T]]>, tensor<2x3xi32>) -> tensor<6x4x[[T]]>
    %x = step.embedding %table, %tokens {invalid = "invalid.tokens", vocab_axis = 1 : i64}
         : (tensor<9x4xbf16>, tensor<2x3xi32>) -> tensor<6x4xbf16>
    // No axis is the default and not printed.
    // CHECK: step.embedding %[[TABLE]], %[[TOKENS]] : (
    %whole = step.embedding %table, %tokens {vocab_axis = -1 : i64} : (tensor<9x4xbf16>, tensor<2x3xi32>) -> tensor<6x4xbf16>
    // CHECK: %[[N:.*]], %[[RSTD:.*]] = step.rms_norm %{{.*}}, %{{.*}} {cached = ["rstd"], eps = 1.000000e-05 : f64, nonfinite = "nonfinite.embedding"} : (tensor<6x4x[[T]]>, tensor<4x[[T]]>) -> (tensor<6x4x[[T]]>, tensor<6xf32>)
    %n, %rstd = step.rms_norm %x, %norm {cached = ["rstd"], eps = 1.0e-5 : f64, nonfinite = "nonfinite.embedding"}
                : (tensor<6x4xbf16>, tensor<4xbf16>) -> (tensor<6x4xbf16>, tensor<6xf32>)
    // CHECK: step.rms_norm %{{.*}}, %{{.*}} {eps = 1.000000e-05 : f64} : (tensor<6x4x[[T]]>, tensor<4x[[T]]>) -> tensor<6x4x[[T]]>
    %bare = step.rms_norm %x, %norm {eps = 1.0e-5 : f64} : (tensor<6x4xbf16>, tensor<4xbf16>) -> tensor<6x4xbf16>
    // CHECK: step.linear %[[N]], %[[TABLE]] : (tensor<6x4x[[T]]>, tensor<9x4x[[T]]>) -> tensor<6x9x[[T]]>
    %y = step.linear %n, %table : (tensor<6x4xbf16>, tensor<9x4xbf16>) -> tensor<6x9xbf16>
    // CHECK: step.linear_grad_input {{.*}} -> tensor<6x4x[[T]]>
    %dx = step.linear_grad_input %y, %table : (tensor<6x9xbf16>, tensor<9x4xbf16>) -> tensor<6x4xbf16>
    // CHECK: step.linear_grad_weight {{.*}} -> tensor<9x4xf32>
    %dw = step.linear_grad_weight %y, %n : (tensor<6x9xbf16>, tensor<6x4xbf16>) -> tensor<9x4xf32>
    // A router's weight is f32, and so are its logits.
    %router = step.zero : tensor<5x4xf32>
    // CHECK: step.linear %[[N]], %{{.*}} : (tensor<6x4x[[T]]>, tensor<5x4xf32>) -> tensor<6x5xf32>
    %logits = step.linear %n, %router : (tensor<6x4xbf16>, tensor<5x4xf32>) -> tensor<6x5xf32>
    // CHECK: step.linear_grad_input %{{.*}}, %{{.*}} : (tensor<6x5xf32>, tensor<5x4xf32>) -> tensor<6x4x[[T]]>
    %dn = step.linear_grad_input %logits, %router : (tensor<6x5xf32>, tensor<5x4xf32>) -> tensor<6x4xbf16>
    // CHECK: step.linear_grad_weight %{{.*}}, %[[N]] : (tensor<6x5xf32>, tensor<6x4x[[T]]>) -> tensor<5x4xf32>
    %drouter = step.linear_grad_weight %logits, %n : (tensor<6x5xf32>, tensor<6x4xbf16>) -> tensor<5x4xf32>
    // CHECK: step.add {{.*}} -> tensor<6x4x[[T]]>
    %s = step.add %n, %dx : (tensor<6x4xbf16>, tensor<6x4xbf16>) -> tensor<6x4xbf16>
    // CHECK: step.activation gelu %{{.*}} : (
    %gelu = step.activation gelu %s : (tensor<6x4xbf16>) -> tensor<6x4xbf16>
    // CHECK: step.activation gelu_tanh %{{.*}} : (
    %tanh = step.activation gelu_tanh %gelu : (tensor<6x4xbf16>) -> tensor<6x4xbf16>
    // CHECK: step.activation relu2 %{{.*}} : (
    %relu = step.activation relu2 %tanh : (tensor<6x4xbf16>) -> tensor<6x4xbf16>
    // CHECK: step.activation swiglu %{{.*}} : (tensor<6x4x[[T]]>) -> tensor<6x2x[[T]]>
    %a = step.activation swiglu %relu : (tensor<6x4xbf16>) -> tensor<6x2xbf16>
    // CHECK: step.activation_grad swiglu %{{.*}}, %{{.*}} : (tensor<6x2x[[T]]>, tensor<6x4x[[T]]>) -> tensor<6x4x[[T]]>
    %da = step.activation_grad swiglu %a, %s : (tensor<6x2xbf16>, tensor<6x4xbf16>) -> tensor<6x4xbf16>
    // CHECK: step.rope %{{.*}} {head_dim = 2 : i64, heads = 2 : i64, inverse, offset = 0 : i64, sequence = 3 : i64, theta = 1.000000e+04 : f64, width = 2 : i64}
    %r = step.rope %da {sequence = 3 : i64, heads = 2 : i64, head_dim = 2 : i64, offset = 0 : i64, width = 2 : i64, theta = 1.0e4 : f64,
         inverse}
         : (tensor<6x4xbf16>) -> tensor<6x4xbf16>
    // CHECK: step.split {{.*}} -> (tensor<6x2x[[T]]>, tensor<6x2x[[T]]>)
    %parts:2 = step.split %r {groups = 2 : i64, widths = array<i64: 1, 1>} : (tensor<6x4xbf16>) -> (tensor<6x2xbf16>, tensor<6x2xbf16>)
    // CHECK: step.concat {{.*}} -> tensor<6x4x[[T]]>
    %c = step.concat %parts#0, %parts#1 {groups = 2 : i64, widths = array<i64: 1, 1>}
         : (tensor<6x2xbf16>, tensor<6x2xbf16>) -> tensor<6x4xbf16>
    // CHECK: step.repeat_groups {{.*}} -> tensor<6x4x[[T]]>
    %rep = step.repeat_groups %parts#0 {groups = 2 : i64} : (tensor<6x2xbf16>) -> tensor<6x4xbf16>
    // CHECK: step.sum_groups {{.*}} -> tensor<6x2x[[T]]>
    %sum = step.sum_groups %rep {groups = 2 : i64} : (tensor<6x4xbf16>) -> tensor<6x2xbf16>
    // CHECK: step.attention {{.*}} : (tensor<6x4x[[T]]>, tensor<6x2x[[T]]>, tensor<6x2x[[T]]>) -> tensor<6x4x[[T]]>
    %at = step.attention %c, %sum, %sum {batch = 2 : i64, sequence = 3 : i64, heads = 2 : i64, kv_heads = 1 : i64, qk_dim = 2 : i64,
          v_dim = 2 : i64, scale = 0.5 : f64} : (tensor<6x4xbf16>, tensor<6x2xbf16>, tensor<6x2xbf16>) -> tensor<6x4xbf16>
    %documents = step.input "documents" : tensor<2x3xi32>
    // CHECK: %[[AT:.*]], %[[LSE:.*]] = step.attention {{.*}}cached = ["lse"]{{.*}}tensor<2x3xi32>) -> (tensor<6x4x[[T]]>, tensor<2x2x3xf32>)
    %at2, %lse = step.attention %at, %sum, %sum, %documents {batch = 2 : i64, cached = ["lse"], sequence = 3 : i64, heads = 2 : i64,
                 kv_heads = 1 : i64, qk_dim = 2 : i64, v_dim = 2 : i64, scale = 0.5 : f64}
                 : (tensor<6x4xbf16>, tensor<6x2xbf16>, tensor<6x2xbf16>, tensor<2x3xi32>) -> (tensor<6x4xbf16>, tensor<2x2x3xf32>)
    // CHECK: step.attention_grad %{{.*}}, %[[AT]], {{.*}}, %[[LSE]] {{.*}}cached = ["lse"]{{.*}} -> (tensor<6x4x[[T]]>, tensor<6x2x[[T]]>, tensor<6x2x[[T]]>)
    %dq, %dk, %dv = step.attention_grad %x, %at2, %c, %sum, %sum, %documents, %lse {batch = 2 : i64, cached = ["lse"], sequence = 3 : i64,
                    heads = 2 : i64, kv_heads = 1 : i64, qk_dim = 2 : i64, v_dim = 2 : i64, scale = 0.5 : f64,
                    operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 1, 1>}
                    : (tensor<6x4xbf16>, tensor<6x4xbf16>, tensor<6x4xbf16>, tensor<6x2xbf16>, tensor<6x2xbf16>, tensor<2x3xi32>,
                    tensor<2x2x3xf32>)
                    -> (tensor<6x4xbf16>, tensor<6x2xbf16>, tensor<6x2xbf16>)
    %bias = step.zero : tensor<2x9xf32>
    %chunk = step.input "relation.chunk" : tensor<2x3xi32>
    %bits = step.input "relation.bits" : tensor<2x5x5xi32>
    // CHECK: %[[BY:.*]], %[[BLSE:.*]] = step.biased_attention {{.*}}cached = ["lse"]{{.*}} -> (tensor<6x4x[[T]]>, tensor<2x2x3xf32>)
    %by, %blse = step.biased_attention %c, %sum, %sum, %bias, %chunk, %bits, %documents {batch = 2 : i64, cached = ["lse"],
                 sequence = 3 : i64, heads = 2 : i64, kv_heads = 1 : i64, qk_dim = 2 : i64, v_dim = 2 : i64, scale = 0.5 : f64}
                 : (tensor<6x4xbf16>, tensor<6x2xbf16>, tensor<6x2xbf16>, tensor<2x9xf32>, tensor<2x3xi32>, tensor<2x5x5xi32>,
                 tensor<2x3xi32>) -> (tensor<6x4xbf16>, tensor<2x2x3xf32>)
    // CHECK: step.biased_attention_grad %{{.*}}, %[[BY]], {{.*}}, %[[BLSE]] {{.*}} -> (tensor<6x4x[[T]]>, tensor<6x2x[[T]]>, tensor<6x2x[[T]]>, tensor<2x9xf32>)
    %biasq, %biask, %biasv, %biasw = step.biased_attention_grad %x, %by, %c, %sum, %sum, %bias, %chunk, %bits, %documents, %blse
                         {batch = 2 : i64, cached = ["lse"], sequence = 3 : i64, heads = 2 : i64, kv_heads = 1 : i64, qk_dim = 2 : i64,
                         v_dim = 2 : i64, scale = 0.5 : f64, operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 1, 1, 1, 1, 1>}
                         : (tensor<6x4xbf16>, tensor<6x4xbf16>, tensor<6x4xbf16>, tensor<6x2xbf16>, tensor<6x2xbf16>, tensor<2x9xf32>,
                         tensor<2x3xi32>, tensor<2x5x5xi32>, tensor<2x3xi32>, tensor<2x2x3xf32>)
                         -> (tensor<6x4xbf16>, tensor<6x2xbf16>, tensor<6x2xbf16>, tensor<2x9xf32>)
    %targets = step.input "targets" : tensor<2x3xi32>
    // CHECK: %[[VALID:.*]] = step.count_valid %{{.*}} : (tensor<2x3xi32>) -> tensor<1xf32>
    %valid = step.count_valid %targets : (tensor<2x3xi32>) -> tensor<1xf32>
    // CHECK: step.linear_cross_entropy %[[AT]], %[[TABLE]], %{{.*}}, %[[VALID]] {invalid = "invalid.targets", scale = 5.000000e-01 : f64}
    // CHECK-SAME: -> (tensor<1xf32>, tensor<6x4x[[T]]>, tensor<9x4xf32>)
    %loss, %lx, %lw = step.linear_cross_entropy %at2, %table, %targets, %valid {invalid = "invalid.targets", scale = 0.5 : f64}
                      : (tensor<6x4xbf16>, tensor<9x4xbf16>, tensor<2x3xi32>, tensor<1xf32>)
                      -> (tensor<1xf32>, tensor<6x4xbf16>, tensor<9x4xf32>)
    // CHECK: step.loss {{.*}} {name = "main", weight = 1.000000e+00 : f64} : tensor<1xf32>
    step.loss %loss {name = "main", weight = 1.0 : f64} : tensor<1xf32>
    // CHECK: step.output "hidden.0", {{.*}} {shape = array<i64: 2, 3, 4>} : tensor<6x4x[[T]]>
    step.output "hidden.0", %lx {shape = array<i64: 2, 3, 4>} : tensor<6x4xbf16>
    // CHECK: %[[NX:.*]] = step.fused : tensor<6x4x[[T]]> attributes {block = -1 : i64, phase = #step.phase<backward>} {
    %nx = step.fused : tensor<6x4xbf16> attributes {block = -1 : i64, phase = #step.phase<backward>} {
      // CHECK-NEXT: %[[DX:.*]], %[[DW:.*]] = step.rms_norm_grad %{{.*}}, %{{.*}}, %{{.*}}, %[[RSTD]] {cached = ["rstd"], eps = 1.000000e-05 : f64} : (tensor<6x4x[[T]]>, tensor<6x4x[[T]]>, tensor<4x[[T]]>, tensor<6xf32>) -> (tensor<6x4x[[T]]>, tensor<4xf32>)
      %gx, %gw = step.rms_norm_grad %lx, %x, %norm, %rstd {cached = ["rstd"], eps = 1.0e-5 : f64}
                 : (tensor<6x4xbf16>, tensor<6x4xbf16>, tensor<4xbf16>, tensor<6xf32>) -> (tensor<6x4xbf16>, tensor<4xf32>)
      // CHECK-NEXT: step.accumulate @norm, %[[DW]] : tensor<4xf32>
      step.accumulate @norm, %gw : tensor<4xf32>
      // CHECK-NEXT: step.yield %[[DX]] : tensor<6x4x[[T]]>
      step.yield %gx : tensor<6x4xbf16>
    }
    // CHECK: step.fused {
    step.fused {
      // CHECK-NEXT: %[[DT:.*]] = step.embedding_grad %[[NX]], %[[TOKENS]] {vocab_axis = 1 : i64} : (tensor<6x4x[[T]]>, tensor<2x3xi32>) -> tensor<9x4xf32>
      %dt = step.embedding_grad %nx, %tokens {vocab_axis = 1 : i64} : (tensor<6x4xbf16>, tensor<2x3xi32>) -> tensor<9x4xf32>
      // CHECK-NEXT: step.accumulate @table, %[[DT]] : tensor<9x4xf32>
      step.accumulate @table, %dt : tensor<9x4xf32>
      // CHECK-NEXT: step.yield
      step.yield
    }
    // CHECK: step.rms_norm_grad %{{.*}}, %{{.*}}, %{{.*}} {eps = 1.000000e-05 : f64} : (tensor<6x4x[[T]]>, tensor<6x4x[[T]]>, tensor<4x[[T]]>) ->
    %bx, %bw = step.rms_norm_grad %lx, %x, %norm {eps = 1.0e-5 : f64}
               : (tensor<6x4xbf16>, tensor<6x4xbf16>, tensor<4xbf16>) -> (tensor<6x4xbf16>, tensor<4xf32>)
    // CHECK: step.accumulate @table, %{{.*}} {adds} : tensor<9x4xf32>
    step.accumulate @table, %lw {adds} : tensor<9x4xf32>
  }

  // CHECK-LABEL: step.func @update
  step.func @update {
    // CHECK: %[[DECAYS:.*]] = step.square_sum f32_decays : tensor<1xf64>
    %decays = step.square_sum f32_decays : tensor<1xf64>
    // CHECK: %[[PLAIN:.*]] = step.square_sum [[T]]_plain {block = -1 : i64} : tensor<1xf64>
    %plain = step.square_sum bf16_plain {block = -1 : i64} : tensor<1xf64>
    // CHECK: %[[NORM:.*]] = step.norm %[[DECAYS]], %[[PLAIN]] : (tensor<1xf64>, tensor<1xf64>) -> tensor<1xf32>
    %norm = step.norm %decays, %plain : (tensor<1xf64>, tensor<1xf64>) -> tensor<1xf32>
    // CHECK: step.set_metric "grad_norm", %[[NORM]] : tensor<1xf32>
    step.set_metric "grad_norm", %norm : tensor<1xf32>
    %scalars = step.input "scalars" : tensor<3xf32>
    // CHECK: step.adamw f32_plain, %[[NORM]], %{{.*}} {block = -1 : i64} : tensor<1xf32>, tensor<3xf32>
    step.adamw f32_plain, %norm, %scalars {block = -1 : i64} : tensor<1xf32>, tensor<3xf32>
    // CHECK: step.adamw [[T]]_decays, %[[NORM]], %{{.*}} : tensor<1xf32>, tensor<3xf32>
    step.adamw bf16_decays, %norm, %scalars : tensor<1xf32>, tensor<3xf32>
  }

  // CHECK-LABEL: step.func @evaluate
  step.func @evaluate {
    // CHECK: step.zero : tensor<6x4x[[T]]>
    %x = step.zero : tensor<6x4xbf16>
    %table = step.read @table : tensor<9x4xbf16>
    %targets = step.input "targets" : tensor<2x3xi32>
    %positions = step.input "positions" : tensor<2xi32>
    // CHECK: step.linear_cross_entropy_evaluate {{.*}} {batch = 2 : i64, sequence = 3 : i64} : {{.*}} -> (tensor<2xf32>, tensor<2xf32>)
    %sum, %count = step.linear_cross_entropy_evaluate %x, %table, %targets {batch = 2 : i64, sequence = 3 : i64}
                   : (tensor<6x4xbf16>, tensor<9x4xbf16>, tensor<2x3xi32>) -> (tensor<2xf32>, tensor<2xf32>)
    // CHECK: step.logits_at {{.*}} -> tensor<2x9xf32>
    %logits = step.logits_at %x, %table, %positions {batch = 2 : i64, sequence = 3 : i64}
              : (tensor<6x4xbf16>, tensor<9x4xbf16>, tensor<2xi32>) -> tensor<2x9xf32>
    step.output "logits", %logits : tensor<2x9xf32>
  }
}
