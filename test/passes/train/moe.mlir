// Routed experts: one loss term for all layers, picks counted a micro-batch, biases moved once a step.
// RUN: megacc-opt %s -model-pipeline -mega-to-step -step-differentiate -step-add-optimizer -step-check-global --verify-roundtrip -o %t
// RUN: FileCheck %s < %t
// RUN: megacc-opt %t -step-print-sharding-rules 2>&1 | FileCheck %s --check-prefix=RULES
// RUN: megacc %s --emit=plan | FileCheck %s --check-prefix=PLAN
// RUN: megacc %s --emit=rt | FileCheck %s --check-prefix=RT

mega.model @moe hidden 32 vocab 61 sequence 20 {
  mega.pattern "EG" depth 2
  mega.family "E" = moe<experts = 5, top_k = 2, width = 12, shared = 16, activation = swiglu, router = sigmoid, aux = 1.0e-2, scale = 2.5,
      bias_rate = 1.0e-2, shared_gate = true>
  mega.family "G" = moe<experts = 6, top_k = 2, width = 16, activation = relu2, aux = 1.0e-2, z = 1.0e-3, density = 0.3>
}

mega.train @step of @moe { micro_batch = 2, accumulate = 4, optimizer = adamw<lr = 3.0e-3> }

// CHECK: step.parameter @blocks.0.mixer.router.weight : tensor<5x32xf32>
// CHECK: step.parameter @blocks.0.mixer.router.bias : tensor<5xf32> init constant {block = 0 : i64, init_a = 0.000000e+00 : f64}
// CHECK: step.parameter @blocks.0.mixer.experts.up.weight : tensor<5x24x32xf32>
// CHECK: step.parameter @blocks.1.mixer.router.weight : tensor<7x32xf32>

// CHECK-LABEL: step.func @micro_batch
// CHECK: %[[N:.*]] = step.rms_norm
// CHECK: %[[LOGITS:.*]] = step.linear %[[N]]
// CHECK: %[[BIAS:.*]] = step.read @blocks.0.mixer.router.bias
// CHECK: %[[W:.*]], %[[CHOICE:.*]], %[[P:.*]], %[[O:.*]] = step.moe_route %[[LOGITS]], %[[BIAS]] {{.*}}nulls = 0 {{.*}}scale = 2.500000e+00 : f64, sigmoid, slots = 2
// CHECK: %[[STATISTICS:.*]] = step.moe_statistics %[[LOGITS]], %[[O]] {{.*}}sigmoid
// CHECK: %[[AUX0:.*]], %{{.*}} = step.moe_losses %[[STATISTICS]] {{.*}}tokens = 40 : i64
// CHECK: step.moe_count_picks %[[O]] {bias = @blocks.0.mixer.router.bias, block = 0 : i64, name = "picks.0", {{.*}}rate = 1.000000e-02
// CHECK: %[[ROWS:.*]] = step.moe_dispatch %[[N]], %[[P]], %[[O]] {{.*}} -> tensor<80x32xf32>
// CHECK: %[[SCALE:.*]] = step.moe_dispatch_weights %[[W]], %[[P]], %[[O]] {{.*}} -> tensor<80x1xf32>
// CHECK: %[[UP:.*]] = step.grouped_linear %[[ROWS]], %{{.*}}, %[[O]] {{.*}}expected_rows = 80
// CHECK: %[[ACT:.*]] = step.activation swiglu %[[UP]]
// CHECK: %[[SCALED:.*]] = step.row_scale %[[ACT]], %[[SCALE]]
// CHECK: %[[DOWN:.*]] = step.grouped_linear %[[SCALED]], %{{.*}}, %[[O]]
// CHECK: %[[Y:.*]] = step.moe_combine %[[DOWN]], %[[P]], %[[O]]
// CHECK: %[[S:.*]] = step.linear
// CHECK: %[[GATE:.*]] = step.linear %[[N]], {{.*}} -> tensor<40x1xf32>
// CHECK: %[[GATED:.*]] = step.row_gate %{{.*}}, %[[GATE]]
// CHECK: step.add %[[Y]], %[[GATED]]
// 7 slots of 6 experts and 13 null experts; 6 real picks at most, 2 expected.
// CHECK: %{{.*}}, %{{.*}}, %{{.*}}, %[[O1:.*]] = step.moe_route %[[LOGITS1:[^ ,]*]] {{.*}}nulls = 13 {{.*}}slots = 7 {{.*}} -> (tensor<40x6xf32>
// CHECK: %[[STATISTICS1:.*]] = step.moe_statistics %[[LOGITS1]], %[[O1]]
// CHECK: %[[AUX1:.*]], %[[Z1:.*]] = step.moe_losses %[[STATISTICS1]]
// CHECK: step.moe_count_picks %[[O1]] {block = 1 : i64, name = "picks.1"
// CHECK: step.grouped_linear {{.*}}expected_rows = 80 {{.*}} -> tensor<240x16xf32>
// CHECK: step.loss {{.*}}name = "main"
// CHECK: step.loss %[[AUX0]], %[[AUX1]] {{.*}}name = "moe_aux"
// CHECK: step.loss %[[Z1]] {{.*}}name = "moe_z"
// The losses of the router enter its gradient, a share of the micro-batches.
// CHECK: step.moe_route_grad %{{.*}}, %[[LOGITS1]], %{{.*}}, %[[STATISTICS1]] {aux = 2.500000e-03 : f64, {{.*}}tokens = 40 : i64, z = 2.500000e-04 : f64}
// CHECK: step.row_gate_grad
// CHECK: %[[DDOWN:.*]] = step.moe_dispatch %{{.*}}, %[[P]], %[[O]]
// CHECK: %[[DSCALED:.*]] = step.grouped_linear_grad_input %[[DDOWN]]
// CHECK: %[[DWEIGHT:.*]] = step.grouped_linear_grad_weight %[[DDOWN]], %[[SCALED]], %[[O]]
// CHECK: step.accumulate @blocks.0.mixer.experts.down.weight, %[[DWEIGHT]]
// CHECK: %{{.*}}, %[[DSCALE:.*]] = step.row_scale_grad %[[DSCALED]], %[[ACT]], %[[SCALE]]
// CHECK: %[[DW:.*]] = step.moe_dispatch_weights_grad %[[DSCALE]], %[[P]]
// CHECK: step.moe_combine
// CHECK: step.moe_route_grad %[[DW]], %[[LOGITS]], %[[CHOICE]], %[[STATISTICS]]

// CHECK-LABEL: step.func @update
// CHECK: step.adamw f32_plain
// CHECK-NEXT: step.moe_bias_update @blocks.0.mixer.router.bias, {{.*}}block = 0 : i64, experts = 5 : i64, phase = #step.phase<update>, picks = "picks.0", rate = 1.000000e-02
// CHECK-NEXT: {{^ *}}}

// CHECK-LABEL: step.func @evaluate
// CHECK-NOT: step.moe_count_picks
// CHECK-NOT: step.moe_statistics
// CHECK-NOT: step.loss

// RULES: remark: ([t, e], [e]) -> ([t, k], [t, k], ~[t, k], ~[first.e end.one]) private{t} replicate{e: {{.*}}; k: {{.*}}} attributes{experts = e}
// RULES: remark: ([t, d], ~[t, k], ~[first.e end.one]) -> (~[t k, d]) private{t} replicate{k: {{.*}}; e: {{.*}}}
// RULES: remark: (~[r, i], [e, o, i], ~[first.e end.one]) -> (~[r, o]) reduce{i} private{r e} linear{0; 1} attributes{expected_rows ~ r}

// Active experts only: 2*32*5 + 2*32*3*(2*12 + 16) + 2*32 a token forward, and 2*32*7 + 2*32*2*2*16.
// PLAN: 1 E moe {{.*}} 24.192 KFLOP {{.*}}; slot 0
// PLAN: 1 G moe {{.*}} 13.632 KFLOP {{.*}}; slot 1

// RT-DAG: rt.metric "picks.0" : tensor<5xf32>
// RT-DAG: rt.metric "loss.moe_aux" : tensor<1xf32> {{.*}}weight = 1.000000e+00
// RT: rt.call @mg_grouped_linear_grad_weight(sum gradients[
// RT-SAME: accumulate = 1
// RT: rt.call @mg_moe_bias_update(inout weights[{{.*}}], in io[
