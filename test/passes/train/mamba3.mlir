// Mamba-3: one packed projection, the scan, one product; the variants differ by their parameters.
// RUN: split-file %s %t
// RUN: megacc-opt %t/mimo.mlir -model-pipeline -mega-to-step -step-differentiate -step-add-optimizer -step-check-global | FileCheck %s
// RUN: megacc-opt %t/mimo.mlir -model-pipeline -mega-to-step -step-differentiate -step-print-sharding-rules -o /dev/null 2>&1 | FileCheck %s --check-prefix=RULES
// RUN: megacc %t/siso.mlir --documents --emit=step | FileCheck %s --check-prefix=SISO
// RUN: megacc %t/siso.mlir --emit=rt | FileCheck %s --check-prefix=LAUNCH
// RUN: megacc %t/mimo.mlir --emit=plan | FileCheck %s --check-prefix=PLAN

// CHECK: step.parameter @blocks.0.mixer.in_proj.weight : tensor<406x32xf32> init uniform {block = 0 : i64, decays
// CHECK: step.parameter @blocks.0.mixer.dt_bias : tensor<6xf32> init dt_bias {block = 0 : i64
// CHECK-LABEL: step.func @micro_batch
// CHECK: %[[N:.*]] = step.rms_norm
// CHECK: %[[P:.*]] = step.linear %[[N]]
// CHECK: %[[DT:.*]] = step.read @blocks.0.mixer.dt_bias
// CHECK: %[[NORM:.*]] = step.read @blocks.0.mixer.norm.weight
// CHECK: %[[Y:.*]] = step.mamba3_scan %[[P]], %[[DT]], {{.*}}, %[[NORM]] {angles = 4 : i64, batch = 2 : i64, {{.*}}chunk = 8 : i64, {{.*}}heavy, mimo, {{.*}}out_norm, pair = [[PAIR:[0-9]+]] : i64
// CHECK-SAME: -> tensor<600x96xf32>
// CHECK: step.linear %[[Y]]
// CHECK: %[[DY:.*]] = step.linear_grad_input
// CHECK: %[[D:.*]], %[[DPARAMS:.*]]:10 = step.mamba3_scan_grad %[[DY]], %[[P]], %[[DT]], {{.*}}pair = [[PAIR]] : i64
// CHECK: step.accumulate @blocks.0.mixer.norm.weight, %[[DPARAMS]]#9
// CHECK: step.accumulate @blocks.0.mixer.mimo_o, %[[DPARAMS]]#8
// CHECK: step.accumulate @blocks.0.mixer.C_norm.weight, %[[DPARAMS]]#5
// CHECK: step.accumulate @blocks.0.mixer.D, %[[DPARAMS]]#1
// CHECK: step.accumulate @blocks.0.mixer.dt_bias, %[[DPARAMS]]#0
// CHECK: step.linear_grad_weight %[[D]]

// RULES: ([b s, z.g z.m z.p x.g x.m x.p B.r B.g B.n C.r C.g C.n dt.g dt.m A.g A.m trap.g trap.m angle.a], [g m], [g m], [g m, r, n], [g m, r, n], [n], [n], [g m, r, p], [g m, r, p], [g m, r, p], [g m p]) -> ([b s, g m p]) replicate{s: {{.*}}}
// RULES: -> ([b s, z.g z.m z.p x.g x.m x.p B.r B.g B.n C.r C.g C.n dt.g dt.m A.g A.m trap.g trap.m angle.a], {{.*}}) reduce{b g m}

// SISO: %[[DOCUMENTS:.*]] = step.input "documents"
// SISO: step.mamba3_scan {{.*}}, %[[DOCUMENTS]] {
// SISO: step.mamba3_scan_grad {{.*}}, %[[DOCUMENTS]] {

// LAUNCH: rt.call @mg_mamba3_scan(out {{.*}}, out {{.*}}, null, in {{.*}}, null, scratch {{.*}}window = 256, {{.*}}mimo = 0, out_norm = 0, parts = 6
// LAUNCH: rt.call @mg_mamba3_scan_grad(out {{.*}}, in {{.*}}, in {{.*}}, null, in {{.*}}, null, scratch {{.*}}mimo = 0, out_norm = 0, parts = 6

// Forward 2 * 32 * 406 + 2 * 96 * 32 and 6 heads of 2 * 2 * 16 * (16 + 16) + 4 * 2 * 16 * 16, three times over.
// PLAN: mamba3 {{.*}}170.112 KFLOP

//--- mimo.mlir
mega.model @mimo hidden 32 vocab 61 sequence 300 {
  mega.pattern "M" depth 1
  mega.family "M" = mamba3<expand = 3, head_dim = 16, state = 16, groups = 3, rank = 2, chunk = 8, decay = heavy, out_norm = true>
}
mega.train @step of @mimo { micro_batch = 2, optimizer = adamw<lr = 3.0e-3> }

//--- siso.mlir
mega.model @siso hidden 32 vocab 61 sequence 24 {
  mega.pattern "M" depth 1
  mega.family "M" = mamba3<head_dim = 16, state = 16, rank = 1, chunk = 64, variant = siso>
}
mega.train @step of @siso { micro_batch = 2, optimizer = adamw<lr = 3.0e-3> }
