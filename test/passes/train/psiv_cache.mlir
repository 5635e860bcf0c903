// PsiV is a cache of the scan that crosses to the backward, asked for by the declaration, a flag or the gate variable; every decision is said.
// RUN: megacc %s --emit=step | megacc-opt -memory-pipeline | FileCheck %s --check-prefix=OFF
// RUN: megacc %s --emit=step --psiv-cache=on | megacc-opt -memory-pipeline | FileCheck %s --check-prefix=ON
// RUN: env CPPMEGA_MAMBA3_P2_PSIV_CACHE=1 megacc %s --emit=step | megacc-opt -memory-pipeline | FileCheck %s --check-prefix=ON
// RUN: env CPPMEGA_MAMBA3_P2_PSIV_CACHE=1 megacc %s --emit=step --psiv-cache=off | megacc-opt -memory-pipeline | FileCheck %s --check-prefix=OFF
// RUN: megacc %s --emit=step --psiv-cache=auto | megacc-opt -memory-pipeline | FileCheck %s --check-prefix=OFF
// RUN: megacc %s --emit=plan | FileCheck %s --check-prefix=SILENT
// RUN: megacc %s --emit=plan --psiv-cache=auto | FileCheck %s --check-prefix=AUTO
// RUN: megacc %s --emit=plan --psiv-cache=on | FileCheck %s --check-prefix=PLAN
mega.model @scans hidden 16 vocab 32 sequence 8 {
  mega.pattern "MS" depth 2
  mega.family "M" = mamba3<head_dim = 8, state = 8, rank = 2>
  mega.family "S" = mamba3<head_dim = 8, state = 8, rank = 1, variant = siso>
}
mega.train @step of @scans { micro_batch = 2, optimizer = adamw<lr = 1.0e-3> }

// OFF-NOT: "psi_v"
// OFF: step.mamba3_scan {{.*}}cached = ["states"]{{.*}} -> (tensor<16x32xf32>, tensor<2x4x1x8x8xf32>)
// OFF-NOT: "psi_v"
// OFF-NOT: tensor<16x4x2x8xf32>
// ON: %{{.*}}, %[[CACHES:.*]]:2 = step.mamba3_scan {{.*}}cached = ["states", "psi_v"]{{.*}} -> (tensor<16x32xf32>, tensor<2x4x1x8x8xf32>, tensor<16x4x2x8xf32>)
// ON: %{{.*}}, %[[STATES:.*]] = step.mamba3_scan {{.*}}cached = ["states"]{{.*}} -> (tensor<16x32xf32>, tensor<2x4x1x8x8xf32>)
// ON: step.mamba3_scan_grad {{.*}}, %[[STATES]] {
// ON: step.mamba3_scan_grad {{.*}}, %[[CACHES]]#0, %[[CACHES]]#1 {
// SILENT-NOT: decisions
// AUTO: decisions
// AUTO-NEXT: blocks.0.mixer/scan: psiv_cache = auto: off, a cache of 4096 bytes is written and read to save one multiplication per number
// AUTO-NEXT: blocks.1.mixer/scan: psiv_cache = auto: nothing to cache, variant siso has no mimo_x
// PLAN: blocks.0.mixer/scan: psiv_cache = on: kept, 4096 bytes from the forward to the backward
// PLAN-NEXT: blocks.1.mixer/scan: psiv_cache = on: nothing to cache, variant siso has no mimo_x
