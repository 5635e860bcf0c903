// The smallest preset, from declaration to a checked step.
// RUN: megacc-opt %models/dense-tiny.mlir -model-pipeline -mega-to-step -step-differentiate -step-add-optimizer -step-check-global --verify-roundtrip -o %t
// RUN: FileCheck %s < %t
// RUN: megacc-opt %models/dense-tiny.mlir -model-pipeline -mega-to-step=taps=true | FileCheck %s --check-prefix=TAPS
// RUN: megacc %models/dense-tiny.mlir --documents --emit=step | FileCheck %s --check-prefix=DOCUMENTS
// RUN: megacc-opt %models/dense-tiny.mlir -model-pipeline -mega-to-step --mlir-print-debuginfo | FileCheck %s --check-prefix=LOC
// Blocks of one type are one sequence of ops, forward and backward.
// RUN: grep "{block = 2 " %t | sed -e "s/%%[a-z_0-9#:]*//g" -e "s/block = [0-9]*//" -e "s/pair = [0-9]*//" -e "s/blocks\.[0-9]*//g" > %t.two
// RUN: grep "{block = 4 " %t | sed -e "s/%%[a-z_0-9#:]*//g" -e "s/block = [0-9]*//" -e "s/pair = [0-9]*//" -e "s/blocks\.[0-9]*//g" > %t.four
// RUN: diff %t.two %t.four
// RUN: grep -c linear_grad_weight %t.two | FileCheck %s --check-prefix=PRODUCTS

// PRODUCTS: 2

// CHECK: megacc.config = {accumulate = 1 : i64, {{.*}}documents = 0 : i64, {{.*}}final = {{3.*e-04|2.9.*E-4}} : f64, {{.*}}schedule_steps = 300 : i64
// CHECK-SAME: megacc.declaration = {families = {A = {head_dim = 32 : i64, heads = 4 : i64, kind = "attention", kv_heads = 2 : i64, {{.*}}}, F = {activation = "swiglu", kind = "mlp", width = 512 : i64}}, features = [], pattern = "AFAFAFAF", placements = []}
// CHECK-SAME: megacc.model = "dense_tiny"
// CHECK-SAME: megacc.slots = [{family = "attention", letter = "A", slot = 0 : i64}, {family = "mlp", letter = "F", slot = 1 : i64}
// CHECK: step.parameter @embedding.weight : tensor<256x128xf32> init normal {block = -1 : i64, decays
// CHECK: step.parameter @blocks.0.norm.weight : tensor<128xf32> init constant {block = 0 : i64, init_a = 1.000000e+00 : f64, trained}
// CHECK: step.parameter @blocks.0.mixer.qkv_proj.weight : tensor<256x128xf32> init normal {block = 0 : i64, decays
// CHECK: step.parameter @blocks.0.mixer.out_proj.weight : tensor<128x128xf32>
// CHECK: step.parameter @blocks.1.mixer.up.weight : tensor<1024x128xf32>
// CHECK: step.parameter @blocks.1.mixer.down.weight : tensor<128x512xf32>
// CHECK: step.parameter @final_norm.weight
// CHECK-NEXT: step.parameter @head.weight

// CHECK-LABEL: step.func @micro_batch
// CHECK: %[[X:.*]] = step.embedding {{.*}}invalid = "invalid.tokens"
// CHECK: %[[N:.*]] = step.rms_norm %[[X]], {{.*}}nonfinite = "nonfinite.embedding", pair = [[PAIR:[0-9]+]] : i64
// CHECK: %[[QKV:.*]] = step.linear %[[N]]
// CHECK: %[[PARTS:.*]]:3 = step.split %[[QKV]] {{.*}}widths = array<i64: 128, 64, 64>
// CHECK: %[[Q:.*]] = step.rope %[[PARTS]]#0 {{.*}}heads = 4
// CHECK: %[[K:.*]] = step.rope %[[PARTS]]#1 {{.*}}heads = 2
// CHECK: %[[Y:.*]] = step.attention %[[Q]], %[[K]], %[[PARTS]]#2 {{.*}}kv_heads = 2
// CHECK: %[[OUT:.*]] = step.linear %[[Y]]
// CHECK: step.add %[[X]], %[[OUT]]
// CHECK: step.activation swiglu
// CHECK: %[[TARGETS:.*]] = step.input "targets"
// CHECK: %[[VALID:.*]] = step.count_valid %[[TARGETS]]
// CHECK: step.linear_cross_entropy {{.*}}, %[[TARGETS]], %[[VALID]] {{.*}}invalid = "invalid.targets"
// CHECK: step.loss {{.*}}name = "main"
// CHECK-NEXT: step.accumulate @head.weight
// CHECK: step.rms_norm_grad {{.*}}pair = [[PAIR]] : i64
// CHECK: step.accumulate @embedding.weight
// CHECK-NOT: step.accumulate

// CHECK-LABEL: step.func @update
// CHECK: %[[DECAYS:.*]] = step.square_sum f32_decays {block = -1 : i64, phase = #step.phase<update>}
// CHECK-NEXT: %[[PLAIN:.*]] = step.square_sum f32_plain
// CHECK-NEXT: %[[NORM:.*]] = step.norm %[[DECAYS]], %[[PLAIN]]
// CHECK-NEXT: step.set_metric "grad_norm", %[[NORM]]
// CHECK-NEXT: %[[SCALARS:.*]] = step.input "scalars"
// CHECK-NEXT: step.adamw f32_decays, %[[NORM]], %[[SCALARS]] {block = -1 : i64
// CHECK-NEXT: step.adamw f32_plain, %[[NORM]], %[[SCALARS]] {block = -1 : i64

// CHECK-LABEL: step.func @evaluate
// CHECK-NOT: step.loss
// CHECK-NOT: pair =
// CHECK-NOT: invalid
// CHECK-NOT: nonfinite
// CHECK: %[[SUM:.*]], %[[COUNT:.*]] = step.linear_cross_entropy_evaluate
// CHECK: %[[LOGITS:.*]] = step.logits_at
// CHECK: step.output "loss_sum", %[[SUM]]
// CHECK: step.output "count", %[[COUNT]]
// CHECK: step.output "logits", %[[LOGITS]] {{.*}}shape = array<i64: 8, 256>

// TAPS-LABEL: step.func @micro_batch
// TAPS-COUNT-8: step.output "hidden.{{[0-7]}}", {{.*}}shape = array<i64: 8, 256, 128>
// TAPS-LABEL: step.func @evaluate
// TAPS-NOT: hidden

// DOCUMENTS: documents = 1 : i64
// DOCUMENTS-LABEL: step.func @micro_batch
// DOCUMENTS: %[[D:.*]] = step.input "documents"
// DOCUMENTS-COUNT-4: step.attention {{.*}}, %[[D]] {
// DOCUMENTS-LABEL: step.func @evaluate

// LOC: loc("blocks.2.mixer/qkv_proj")
