// Placements on the input, beside a block and on the objective, and attention to concepts: what they build, forward and backward.
// RUN: megacc-opt %s -model-pipeline -mega-to-step -step-differentiate -step-add-optimizer -step-check-global | FileCheck %s
// RUN: megacc %s --documents --emit=rt | megacc-opt --verify-roundtrip | FileCheck %s --check-prefix=RT
// RUN: megacc %s --documents --target=sm_90a --precision=bf16 --emit=rt | FileCheck %s --check-prefix=CARD

mega.model @placed hidden 16 vocab 61 sequence 12 {
  mega.pattern "FC" depth 2
  mega.family "F" = mlp<width = 24>
  mega.family "C" = concept<concepts = 5, heads = 2>
  mega.place structure<components = "dep_level, ast_depth", dim = 3, sizes = [7]> on input
  mega.place engram<orders = [2, 4], dim = 6, gated = true, conv = 3> on "F" ranks [0]
  mega.place stp<layers = [1], spans = 4, start = 10> on objective
}

mega.train @step of @placed { micro_batch = 2, accumulate = 2, optimizer = adamw<lr = 3.0e-3> }

// What follows from defaults is part of the declaration.
// CHECK: placements = [{components = "dep_level,ast_depth", dim = 3 : i64, kind = "structure", sizes = [7, 64]}, {kind = "stp", {{.*}}start = 10
// CHECK-LABEL: step.func @micro_batch
// CHECK-DAG: %[[LEVEL:.*]] = step.input "structure.dep_level" {{.*}} tensor<2x12xi32>
// CHECK-DAG: %[[DEPTH:.*]] = step.input "structure.ast_depth" {{.*}} tensor<2x12xi32>
// CHECK: %[[ROWS:.*]] = step.component_rows %[[LEVEL]], %[[DEPTH]] {{.*}}sizes = array<i64: 7, 64>
// CHECK: %[[FOUND:.*]] = step.embedding %{{.*}}, %[[ROWS]] {{.*}} -> tensor<24x6xf32>
// CHECK: step.weighted_parts %[[FOUND]]
// CHECK: %[[N:.*]] = step.rms_norm %{{.*}} {block = 0
// CHECK: %[[IN:.*]] = step.read @blocks.0.engram.in_proj.weight
// CHECK: %[[Z:.*]] = step.linear %[[N]], %[[IN]]
// CHECK: %[[TWO:.*]] = step.window_sum %[[Z]] {{.*}}scale = 2.500000e-01 : f64, sequence = 12 : i64, window = 2
// CHECK: step.linear %[[TWO]]
// CHECK: %[[FOUR:.*]] = step.window_sum %[[Z]] {{.*}}scale = 1.250000e-01 : f64, sequence = 12 : i64, window = 4
// CHECK: %[[GATE:.*]] = step.alignment %[[N]]
// CHECK: %[[OUT:.*]] = step.row_gate %{{.*}}, %[[GATE]]
// CHECK: %[[UNIT:.*]] = step.unit_norm %[[OUT]]
// CHECK: %[[LOCAL:.*]] = step.causal_conv %[[UNIT]]
// CHECK: step.add %[[LOCAL]], %[[OUT]]
// CHECK: %[[CONCEPTS:.*]] = step.read @blocks.1.mixer.concepts
// CHECK: %[[K:.*]] = step.linear %[[CONCEPTS]]
// CHECK: %[[V:.*]] = step.linear %[[CONCEPTS]]
// CHECK: step.bank_attention %{{.*}}, %[[K]], %[[V]] {{.*}}heads = 2
// CHECK: %[[STREAM:.*]] = step.add {{.*}}
// CHECK: %[[SPANS:.*]] = step.input "stp.spans" {{.*}} tensor<4x3xi32>
// CHECK: %[[COUNT:.*]] = step.count_spans %[[SPANS]]
// CHECK: %[[LOSS:.*]] = step.straightness %[[STREAM]], %[[SPANS]], %[[COUNT]] {{.*}}weight = 5.000000e-02
// CHECK: step.loss %[[LOSS]] {{.*}}name = "stp"
// CHECK: step.straightness_grad %[[STREAM]], %[[SPANS]], %[[COUNT]] {{.*}}weight = 2.500000e-02
// Keys and values both give a gradient to the concepts.
// CHECK-COUNT-2: step.accumulate @blocks.1.mixer.concepts, %{{.*}} : tensor<5x16xf32>
// CHECK: step.window_sum {{.*}}ahead{{.*}}window = 4
// CHECK: step.weighted_parts_grad
// CHECK-LABEL: step.func @evaluate
// CHECK: step.component_rows
// CHECK-NOT: stp.spans

// RT-LABEL: rt.func @micro_batch
// RT: rt.call @mg_component_rows(out temporaries{{.*}} table constants[{{.*}}] i64, in io{{.*}} i32, in io{{.*}} i32) {rows = 24, parts = 2}
// RT: rt.call @mg_window_sum(
// RT: rt.call @mg_bank_attention(
// RT: rt.call @mg_count_spans(
// RT: rt.call @mg_straightness(
// RT: rt.call @mg_straightness_grad(
// RT: rt.call @mg_bank_attention_grad(

// On a card the gradient of the concepts is f32, too.
// CARD-LABEL: rt.func @micro_batch
// CARD: rt.call @mg_bank_attention_grad(
// CARD: rt.call @mg_linear_grad_input(out temporaries[{{[0-9]+ : 320}}] value {{[0-9]+}}, in temporaries[{{.*}}] bf16 value {{[0-9]+}}, in weights[{{.*}}] bf16
