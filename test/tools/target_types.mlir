// On sm_90a activations and weights are bf16. f32 stay: the parameters of conventions 3.1, router logits and weights, caches, losses, and the
// gradients of all parameters.
// RUN: megacc %s --target=sm_90a --emit=step > %t
// RUN: FileCheck %s < %t
// RUN: FileCheck %s --check-prefix=STATE < %t
// On the cpu everything is f32.
// RUN: megacc %s --emit=step | FileCheck %s --check-prefix=CPU
// CPU: megacc.target = "cpu"
// CPU-NOT: xbf16>

mega.model @families hidden 64 vocab 80 sequence 32 {
  mega.pattern "AFLEMSRD" depth 8
  mega.family "A" = attention<heads = 4, head_dim = 16>
  mega.family "F" = mlp<width = 48, activation = gelu>
  mega.family "L" = mla<heads = 4, q_rank = 12, kv_rank = 20, nope = 8, rope = 4, value = 6>
  mega.family "E" = moe<experts = 4, top_k = 2, width = 16, shared = 24, router = sigmoid, aux = 1.0e-2, z = 1.0e-3, shared_gate = true>
  mega.family "M" = mamba3<head_dim = 16, state = 16, rank = 2, chunk = 8, out_norm = true>
  mega.family "S" = mamba3<head_dim = 16, state = 16, rank = 1, chunk = 8, variant = siso>
  mega.family "R" = m2rnn<key = 9, value = 5, heads = 3, conv = 4>
  mega.family "D" = gated_deltanet<heads = 4, key = 6, value = 7, key_heads = 2>
  mega.place ngram_hash<orders = [2], heads = 1, rows = 101, dim = 8> on input
  mega.place mtp<depth = 1, width = 40, weight = 0.5> on objective
}
mega.train @step of @families { micro_batch = 2, precision = bf16, optimizer = adamw<lr = 1.0e-3> }

// Parameters that stay f32 are these alone.
// STATE: step.parameter @embedding.weight : tensor<80x64xbf16>
// STATE-NOT: xf32> init
// STATE: step.parameter @blocks.3.mixer.router.weight : tensor<4x64xf32>
// STATE-NEXT: step.parameter @blocks.3.mixer.router.bias : tensor<4xf32>
// STATE-NOT: xf32> init
// STATE: step.parameter @blocks.4.mixer.dt_bias : tensor<8xf32>
// STATE-NEXT: step.parameter @blocks.4.mixer.D : tensor<8xf32>
// STATE-NEXT: step.parameter @blocks.4.mixer.B_bias : tensor<8x2x16xf32>
// STATE-NEXT: step.parameter @blocks.4.mixer.C_bias : tensor<8x2x16xf32>
// STATE-NEXT: step.parameter @blocks.4.mixer.B_norm.weight : tensor<16xbf16>
// STATE-NEXT: step.parameter @blocks.4.mixer.C_norm.weight : tensor<16xbf16>
// STATE-NEXT: step.parameter @blocks.4.mixer.mimo_x : tensor<8x2x16xf32>
// STATE-NEXT: step.parameter @blocks.4.mixer.mimo_z : tensor<8x2x16xf32>
// STATE-NEXT: step.parameter @blocks.4.mixer.mimo_o : tensor<8x2x16xf32>
// STATE-NOT: xf32> init
// STATE: step.parameter @blocks.5.mixer.dt_bias : tensor<8xf32>
// STATE-NEXT: step.parameter @blocks.5.mixer.D : tensor<8xf32>
// STATE-NEXT: step.parameter @blocks.5.mixer.B_bias : tensor<8x1x16xf32>
// STATE-NEXT: step.parameter @blocks.5.mixer.C_bias : tensor<8x1x16xf32>
// STATE-NOT: xf32> init
// STATE: step.parameter @blocks.6.mixer.A_log : tensor<3xf32>
// STATE-NEXT: step.parameter @blocks.6.mixer.dt_bias : tensor<3xf32>
// STATE-NOT: xf32> init
// STATE: step.parameter @blocks.7.mixer.A_log : tensor<4xf32>
// STATE-NEXT: step.parameter @blocks.7.mixer.dt_bias : tensor<4xf32>
// STATE-NOT: xf32> init
// STATE: step.func @micro_batch
// Accumulations are f32 without exception, and so is every gradient of a parameter.
// STATE-NOT: step.accumulate {{.*}} : tensor<{{[0-9x]*}}xbf16>

// Input, embedding and hashed n-grams.
// CHECK-LABEL: step.func @micro_batch
// CHECK: step.embedding {{.*}} -> tensor<64x64xbf16>
// CHECK: step.ngram_rows {{.*}} -> tensor<64x1xi32>
// CHECK: step.embedding {{.*}} -> tensor<64x8xbf16>
// CHECK: step.linear {{.*}} -> tensor<64x64xbf16>
// CHECK: step.add {{.*}} -> tensor<64x64xbf16>
// attention
// CHECK: step.rms_norm {{.*}}block = 0 {{.*}} : (tensor<64x64xbf16>, tensor<64xbf16>) -> tensor<64x64xbf16>
// CHECK: step.rope {{.*}} -> tensor<64x64xbf16>
// CHECK: step.attention {{.*}} -> tensor<64x64xbf16>
// mlp
// CHECK: step.activation gelu {{.*}} -> tensor<64x48xbf16>
// mla
// CHECK: step.rms_norm {{.*}} : (tensor<64x12xbf16>, tensor<12xbf16>) -> tensor<64x12xbf16>
// CHECK: step.repeat_groups {{.*}} -> tensor<64x16xbf16>
// CHECK: step.concat {{.*}} -> tensor<64x48xbf16>
// CHECK: step.attention {{.*}} -> tensor<64x24xbf16>
// moe: the router is f32 from its logits to the weights of the picks.
// CHECK: step.linear {{.*}} : (tensor<64x64xbf16>, tensor<4x64xf32>) -> tensor<64x4xf32>
// CHECK: step.moe_route {{.*}} -> (tensor<64x2xf32>, tensor<64x2xi32>, tensor<64x2xi32>, tensor<5xi32>)
// CHECK: step.moe_statistics {{.*}} -> tensor<9xf64>
// CHECK: step.moe_losses {{.*}} -> (tensor<1xf32>, tensor<1xf32>)
// CHECK: step.moe_dispatch {{.*}} -> tensor<128x64xbf16>
// CHECK: step.grouped_linear {{.*}} -> tensor<128x16xbf16>
// CHECK: step.moe_combine {{.*}} -> tensor<64x64xbf16>
// CHECK: step.row_gate {{.*}} -> tensor<64x64xbf16>
// mamba3, mimo and siso
// CHECK: step.mamba3_scan {{.*}}block = 4 {{.*}} : (tensor<64x348xbf16>, tensor<8xf32>, tensor<8xf32>, tensor<8x2x16xf32>, tensor<8x2x16xf32>, tensor<16xbf16>, tensor<16xbf16>, tensor<8x2x16xf32>, tensor<8x2x16xf32>, tensor<8x2x16xf32>, tensor<128xbf16>) -> tensor<64x128xbf16>
// CHECK: step.mamba3_scan {{.*}}block = 5 {{.*}} : (tensor<64x316xbf16>, tensor<8xf32>, tensor<8xf32>, tensor<8x1x16xf32>, tensor<8x1x16xf32>, tensor<16xbf16>, tensor<16xbf16>) -> tensor<64x128xbf16>
// m2rnn
// CHECK: step.causal_conv {{.*}} : (tensor<64x33xbf16>, tensor<33x4xbf16>, tensor<33xbf16>) -> tensor<64x33xbf16>
// CHECK: step.m2rnn_scan {{.*}}, tensor<64x3xbf16>, tensor<3xf32>, tensor<3xf32>, tensor<3x5x5xbf16>) -> tensor<64x15xbf16>
// CHECK: step.skip_gate {{.*}}, tensor<3x5xbf16>) -> tensor<64x15xbf16>
// gated_deltanet
// CHECK: step.gated_delta {{.*}} : (tensor<64x12xbf16>, tensor<64x12xbf16>, tensor<64x28xbf16>, tensor<64x4xbf16>, tensor<64x4xbf16>, tensor<4xf32>, tensor<4xf32>) -> tensor<64x28xbf16>
// CHECK: step.gated_norm {{.*}} : (tensor<64x28xbf16>, tensor<64x28xbf16>, tensor<7xbf16>) -> tensor<64x28xbf16>
// The head, and its losses.
// CHECK: step.count_valid {{.*}} -> tensor<1xf32>
// CHECK: step.linear_cross_entropy {{.*}} : (tensor<64x64xbf16>, tensor<80x64xbf16>, tensor<2x32xi32>, tensor<1xf32>) -> (tensor<1xf32>, tensor<64x64xbf16>, tensor<80x64xf32>)
// CHECK: step.loss {{.*}} : tensor<1xf32>
// mtp
// CHECK: step.shift {{.*}} -> tensor<64x64xbf16>
// CHECK: step.concat {{.*}} -> tensor<64x128xbf16>
// CHECK: step.linear_cross_entropy {{.*}} -> (tensor<1xf32>, tensor<64x64xbf16>, tensor<80x64xf32>)
// The backward, in reverse: activations and their gradients bf16, parameters' f32.
// CHECK: step.gated_norm_grad {{.*}} -> (tensor<64x28xbf16>, tensor<64x28xbf16>, tensor<7xf32>)
// CHECK: step.gated_delta_grad {{.*}} -> (tensor<64x12xbf16>, tensor<64x12xbf16>, tensor<64x28xbf16>, tensor<64x4xbf16>, tensor<64x4xbf16>, tensor<4xf32>, tensor<4xf32>)
// CHECK: step.m2rnn_scan_grad {{.*}} -> (tensor<64x9xbf16>, tensor<64x9xbf16>, tensor<64x15xbf16>, tensor<64x3xbf16>, tensor<3xf32>, tensor<3xf32>, tensor<3x5x5xf32>)
// CHECK: step.causal_conv_grad {{.*}} -> (tensor<64x33xbf16>, tensor<33x4xf32>, tensor<33xf32>)
// CHECK: step.mamba3_scan_grad {{.*}}block = 5 {{.*}} -> (tensor<64x316xbf16>, tensor<8xf32>, tensor<8xf32>, tensor<8x1x16xf32>, tensor<8x1x16xf32>, tensor<16xf32>, tensor<16xf32>)
// CHECK: step.mamba3_scan_grad {{.*}}block = 4 {{.*}} -> (tensor<64x348xbf16>, {{.*}}, tensor<8x2x16xf32>, tensor<128xf32>)
// CHECK: step.row_gate_grad {{.*}} -> (tensor<64x64xbf16>, tensor<64x1xbf16>)
// CHECK: step.moe_dispatch {{.*}} -> tensor<128x64xbf16>
// CHECK: step.grouped_linear_grad_weight {{.*}} : (tensor<128x64xbf16>, tensor<128x16xbf16>, tensor<5xi32>) -> tensor<4x64x16xf32>
// CHECK: step.row_scale_grad {{.*}} -> (tensor<128x16xbf16>, tensor<128x1xf32>)
// CHECK: step.moe_dispatch_weights_grad {{.*}} -> tensor<64x2xf32>
// CHECK: step.moe_route_grad {{.*}} -> tensor<64x4xf32>
// CHECK: step.linear_grad_weight {{.*}} : (tensor<64x4xf32>, tensor<64x64xbf16>) -> tensor<4x64xf32>
// CHECK: step.linear_grad_input {{.*}} : (tensor<64x4xf32>, tensor<4x64xf32>) -> tensor<64x64xbf16>
// CHECK: step.attention_grad {{.*}}block = 2 {{.*}} -> (tensor<64x48xbf16>, tensor<64x48xbf16>, tensor<64x24xbf16>)
// CHECK: step.activation_grad gelu {{.*}}block = 1 {{.*}} -> tensor<64x48xbf16>
// CHECK: step.rms_norm_grad {{.*}}block = 0 {{.*}} -> (tensor<64x64xbf16>, tensor<64xf32>)
// CHECK: step.embedding_grad {{.*}} -> tensor<80x64xf32>
// The update: the norm of all groups in f64, then one sweep per group.
// CHECK-LABEL: step.func @update
// CHECK-NEXT: step.square_sum f32_decays {{.*}} : tensor<1xf64>
// CHECK-NEXT: step.square_sum f32_plain
// CHECK-NEXT: step.square_sum bf16_decays
// CHECK-NEXT: step.square_sum bf16_plain
// CHECK-NEXT: step.norm {{.*}} -> tensor<1xf32>
// CHECK: step.adamw f32_decays
// CHECK: step.adamw f32_plain
// CHECK: step.adamw bf16_decays
// CHECK: step.adamw bf16_plain
// CHECK-LABEL: step.func @evaluate
// CHECK: step.linear_cross_entropy_evaluate {{.*}} -> (tensor<2xf32>, tensor<2xf32>)
// CHECK: step.logits_at {{.*}} -> tensor<2x80xf32>
