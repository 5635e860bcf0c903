// Attention on a card reads packed keys and values, and a part of the key that all heads share, where they lie: what would take them apart and
// put them together is made again inside both groups, and nothing of it is left outside.
// RUN: megacc-opt %s -split-input-file -step-fuse --verify-roundtrip | FileCheck %s
// RUN: megacc-opt %s -split-input-file -step-fuse -step-plan-memory -step-apply-memory -step-select-kernels | FileCheck %s --check-prefix=RECORD

// CHECK-LABEL: step.func @packed
// RECORD-LABEL: step.func @packed
module attributes {megacc.target = "sm_90a"} {
  step.func @packed {
    %q = step.zero : tensor<8x256xbf16>
    %kv = step.zero : tensor<8x256xbf16>
    %r = step.zero : tensor<8x64xbf16>
    // CHECK: step.zero
    // CHECK-NEXT: %[[KV:.*]] = step.zero : tensor<8x256xbf16>
    // CHECK-NEXT: %[[R:.*]] = step.zero : tensor<8x64xbf16>
    // CHECK-NEXT: %[[Y:.*]] = step.fused : tensor<8x128xbf16> {
    // CHECK-NEXT: step.repeat_groups %[[R]]
    // CHECK-NEXT: %[[PARTS:.*]]:2 = step.split %[[KV]]
    // CHECK-NEXT: %[[K:.*]] = step.concat %[[PARTS]]#0
    // CHECK-NEXT: %[[INNER:.*]] = step.attention %{{.*}}, %[[K]], %[[PARTS]]#1
    // CHECK-NEXT: step.yield %[[INNER]]
    // RECORD: step.fused {{.*}}record = "sm_90a.repeat_groups+split+concat+attention"
    %all = step.repeat_groups %r {groups = 2 : i64} : (tensor<8x64xbf16>) -> tensor<8x128xbf16>
    %parts:2 = step.split %kv {groups = 2 : i64, widths = array<i64: 64, 64>} : (tensor<8x256xbf16>) -> (tensor<8x128xbf16>,
        tensor<8x128xbf16>)
    %k = step.concat %parts#0, %all {groups = 2 : i64, widths = array<i64: 64, 64>} : (tensor<8x128xbf16>, tensor<8x128xbf16>)
        -> tensor<8x256xbf16>
    %y = step.attention %q, %k, %parts#1 {pair = 0 : i64, batch = 1 : i64, sequence = 8 : i64, heads = 2 : i64, kv_heads = 2 : i64,
        qk_dim = 128 : i64,
         v_dim = 64 : i64, scale = 0.5 : f64} : (tensor<8x256xbf16>, tensor<8x256xbf16>, tensor<8x128xbf16>) -> tensor<8x128xbf16>
    // CHECK: %[[D:.*]]:3 = step.fused
    // CHECK-NEXT: step.repeat_groups %[[R]]
    // CHECK-NEXT: step.split %[[KV]]
    // CHECK-NEXT: step.concat
    // CHECK-NEXT: %[[DQ:.*]], %[[DK:.*]], %[[DV:.*]] = step.attention_grad
    // CHECK-NEXT: %[[TAKEN:.*]]:2 = step.split %[[DK]]
    // CHECK-NEXT: %[[DKV:.*]] = step.concat %[[TAKEN]]#0, %[[DV]]
    // CHECK-NEXT: step.yield %[[DQ]], %[[TAKEN]]#1, %[[DKV]]
    // CHECK-NEXT: }
    // CHECK-NEXT: step.sum_groups %[[D]]#1
    // CHECK-NOT: step.split
    // CHECK-NOT: step.concat
    // RECORD: step.fused {{.*}}record = "sm_90a.repeat_groups+split+concat+attention_grad+split+concat"
    %dq, %dk, %dv = step.attention_grad %y, %y, %q, %k, %parts#1 {pair = 0 : i64, batch = 1 : i64, sequence = 8 : i64, heads = 2 : i64,
        kv_heads = 2 : i64,
         qk_dim = 128 : i64, v_dim = 64 : i64, scale = 0.5 : f64, operandSegmentSizes = array<i32: 1, 1, 1, 1, 1, 0, 0>}
         : (tensor<8x128xbf16>, tensor<8x128xbf16>, tensor<8x256xbf16>, tensor<8x256xbf16>, tensor<8x128xbf16>)
         -> (tensor<8x256xbf16>, tensor<8x256xbf16>, tensor<8x128xbf16>)
    %taken:2 = step.split %dk {groups = 2 : i64, widths = array<i64: 64, 64>} : (tensor<8x256xbf16>) -> (tensor<8x128xbf16>,
        tensor<8x128xbf16>)
    %dkv = step.concat %taken#0, %dv {groups = 2 : i64, widths = array<i64: 64, 64>} : (tensor<8x128xbf16>, tensor<8x128xbf16>)
        -> tensor<8x256xbf16>
    %dr = step.sum_groups %taken#1 {groups = 2 : i64} : (tensor<8x128xbf16>) -> tensor<8x64xbf16>
    step.output "dq", %dq : tensor<8x256xbf16>
    step.output "dkv", %dkv : tensor<8x256xbf16>
    step.output "dr", %dr : tensor<8x64xbf16>
  }
}

// -----

// Keys whose own channels fill no whole panel of 64 stay dense, and nothing is left of the attempt.
// CHECK-LABEL: step.func @narrow
// RECORD-LABEL: step.func @narrow
module attributes {megacc.target = "sm_90a"} {
  step.func @narrow {
    // CHECK-NOT: step.fused
    // CHECK: step.repeat_groups
    // CHECK-NEXT: step.split
    // CHECK-NEXT: step.concat
    // CHECK-NEXT: step.attention
    // CHECK-NEXT: step.output
    %q = step.zero : tensor<8x96xbf16>
    %kv = step.zero : tensor<8x96xbf16>
    %r = step.zero : tensor<8x16xbf16>
    %all = step.repeat_groups %r {groups = 2 : i64} : (tensor<8x16xbf16>) -> tensor<8x32xbf16>
    %parts:2 = step.split %kv {groups = 2 : i64, widths = array<i64: 32, 16>} : (tensor<8x96xbf16>) -> (tensor<8x64xbf16>,
        tensor<8x32xbf16>)
    %k = step.concat %parts#0, %all {groups = 2 : i64, widths = array<i64: 32, 16>} : (tensor<8x64xbf16>, tensor<8x32xbf16>)
        -> tensor<8x96xbf16>
    %y = step.attention %q, %k, %parts#1 {batch = 1 : i64, sequence = 8 : i64, heads = 2 : i64, kv_heads = 2 : i64, qk_dim = 48 : i64,
         v_dim = 16 : i64, scale = 0.5 : f64} : (tensor<8x96xbf16>, tensor<8x96xbf16>, tensor<8x32xbf16>) -> tensor<8x32xbf16>
    step.output "y", %y : tensor<8x32xbf16>
  }
}
