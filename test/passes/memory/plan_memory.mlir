// Marks and decisions: the default caches of every record, psi_v where the setting is on.
// RUN: sed s/SETTING/off/ %s | megacc-opt -step-plan-memory | FileCheck %s --check-prefixes=CHECK,OFF
// RUN: sed s/SETTING/auto/ %s | megacc-opt -step-plan-memory | FileCheck %s --check-prefixes=CHECK,AUTO
// RUN: sed s/SETTING/on/ %s | megacc-opt -step-plan-memory | FileCheck %s --check-prefixes=CHECK,ON
// What has no record keeps nothing here; step-select-kernels says so.
// RUN: sed 's/megacc.config/megacc.target = "none", megacc.config/' %s | megacc-opt -step-plan-memory | FileCheck %s --check-prefix=NONE
// NONE-NOT: keep

// Earlier decisions stay.
// OFF: megacc.decisions = [{choice = "earlier"}]
// AUTO: megacc.decisions = [{choice = "earlier"}, {alternatives = [{bytes = 480 : i64, choice = "kept", milliseconds = {{[0-9.eE-]+}} : f64}],
// AUTO-SAME: block = "blocks.1.mixer/scan", bytes = 0 : i64, choice = "off", milliseconds = 0.000000e+00 : f64,
// AUTO-SAME: reason = "a cache of 480 bytes is written and read to save one multiplication per number, in {{[0-9.]+}} ms", value = "psiv_cache = auto"},
// AUTO-SAME: {block = "blocks.2.mixer/scan", choice = "nothing to cache", reason = "variant siso has no mimo_x", value = "psiv_cache = auto"}]
// ON: megacc.decisions = [{choice = "earlier"}, {alternatives = [{bytes = 0 : i64, choice = "off", milliseconds = 0.000000e+00 : f64}],
// ON-SAME: block = "blocks.1.mixer/scan", bytes = 480 : i64, choice = "kept", {{.*}}, reason = "480 bytes from the forward to the backward",
// ON-SAME: value = "psiv_cache = on"}, {block = "blocks.2.mixer/scan", choice = "nothing to cache",
module attributes {megacc.config = {psiv_cache = "SETTING"}, megacc.decisions = [{choice = "earlier"}]} {
  step.func @micro_batch {
    %x = step.input "x" : tensor<6x10xf32>
    %w = step.input "w" : tensor<10xf32>
    // CHECK: step.rms_norm {{.*}}keep = ["rstd"], pair = 0 : i64
    %n = step.rms_norm %x, %w {pair = 0 : i64, eps = 1.0e-5 : f64} : (tensor<6x10xf32>, tensor<10xf32>) -> tensor<6x10xf32>
    // CHECK: step.attention {{.*}}keep = ["lse"]
    %a = step.attention %n, %n, %n {pair = 1 : i64, batch = 2 : i64, sequence = 3 : i64, heads = 2 : i64, kv_heads = 2 : i64,
         qk_dim = 5 : i64,
         v_dim = 5 : i64, scale = 0.5 : f64} : (tensor<6x10xf32>, tensor<6x10xf32>, tensor<6x10xf32>) -> tensor<6x10xf32>
    %h = step.input "h" : tensor<2xf32>
    %b = step.input "b" : tensor<2x2x4xf32>
    %c = step.input "c" : tensor<4xf32>
    %m = step.input "m" : tensor<2x2x5xf32>
    %p = step.input "p" : tensor<6x42xf32>
    // OFF: step.mamba3_scan {{.*}}keep = ["states"],
    // AUTO: step.mamba3_scan {{.*}}keep = ["states"],
    // ON: step.mamba3_scan {{.*}}keep = ["states", "psi_v"],
    %y = step.mamba3_scan %p, %h, %h, %b, %b, %c, %c, %m, %m, %m {pair = 2 : i64, batch = 2 : i64, sequence = 3 : i64, heads = 2 : i64,
         groups = 1 : i64, rank = 2 : i64, head_dim = 5 : i64, state = 4 : i64, angles = 0 : i64, chunk = 4 : i64, mimo, eps = 1.0e-5 : f64,
         operandSegmentSizes = array<i32: 1, 9, 0>}
         : (tensor<6x42xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2x2x4xf32>, tensor<2x2x4xf32>, tensor<4xf32>, tensor<4xf32>,
            tensor<2x2x5xf32>, tensor<2x2x5xf32>, tensor<2x2x5xf32>) -> tensor<6x10xf32> loc("blocks.1.mixer/scan")
    %b1 = step.input "b1" : tensor<2x1x4xf32>
    %p1 = step.input "p1" : tensor<6x34xf32>
    // CHECK: step.mamba3_scan {{.*}}keep = ["states"],
    %s = step.mamba3_scan %p1, %h, %h, %b1, %b1, %c, %c {pair = 3 : i64, batch = 2 : i64, sequence = 3 : i64, heads = 2 : i64,
         groups = 1 : i64,
         rank = 1 : i64, head_dim = 5 : i64, state = 4 : i64, angles = 0 : i64, chunk = 4 : i64, eps = 1.0e-5 : f64,
         operandSegmentSizes = array<i32: 1, 6, 0>}
         : (tensor<6x34xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2x1x4xf32>, tensor<2x1x4xf32>, tensor<4xf32>, tensor<4xf32>)
         -> tensor<6x10xf32> loc("blocks.2.mixer/scan")
    // Gradient ops have the pair, too, but keep nothing.
    // CHECK: step.rms_norm_grad {{.*}} {eps = {{[^,]*}}, pair = 0 : i64}
    %d:2 = step.rms_norm_grad %s, %x, %w {pair = 0 : i64, eps = 1.0e-5 : f64}
           : (tensor<6x10xf32>, tensor<6x10xf32>, tensor<10xf32>) -> (tensor<6x10xf32>, tensor<10xf32>)
  }
  // Nothing reads the caches of an evaluation.
  // CHECK-LABEL: step.func @evaluate
  // CHECK-NOT: keep
  step.func @evaluate {
    %x = step.input "x" : tensor<6x10xf32>
    %w = step.input "w" : tensor<10xf32>
    %n = step.rms_norm %x, %w {eps = 1.0e-5 : f64} : (tensor<6x10xf32>, tensor<10xf32>) -> tensor<6x10xf32>
  }
}
