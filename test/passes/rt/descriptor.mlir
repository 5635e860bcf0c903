// The descriptor is JSON with sorted keys; see docs/descriptor.md.
// RUN: megacc-opt %s -rt-to-llvm | grep megacc_descriptor | sed -e 's/\\22/"/g' -e 's/,"/,\n"/g' | FileCheck %s
// RUN: megacc-opt %s -rt-to-llvm | grep megacc_descriptor | sed -e 's/\\22/"/g' | FileCheck %s --check-prefix=LISTS
// RUN: sed -e 's/megacc.target = "sm_90a", //' %s | megacc-opt -rt-to-llvm | sed -e 's/\\22/"/g' | FileCheck %s --check-prefix=DEFAULT

module attributes {megacc.target = "sm_90a", megacc.model = "small", megacc.config = {hidden = 16 : i64, lr = 1.0e-03 : f64,
    mesh = {tp = 2 : i64}},
                   megacc.declaration = {families = {A = {kind = "attention", heads = 4 : i64, shared = true, theta = 1.0e+04 : f64}},
                       placements = [{orders = [2, 3]}]},
                   megacc.receipt = []} {
  // Segments are in the order of MgSegment, whatever the order here.
  rt.segment "io" bytes 512
  rt.segment "weights" bytes 256
  rt.segment "constants" bytes 256
  rt.parameter "w" : tensor<4x4xbf16> at <weights[128 : 32] bf16> {block = 2 : i64, decays, first_moment = #rt.range<optimizer[64 : 64]>,
      gradient = #rt.range<gradients[256 : 64]>, init = "normal", init_a = 2.0e-02 : f64, master = #rt.range<optimizer[0 : 64]>,
      second_moment = #rt.range<optimizer[128 : 64]>, trained}
  rt.parameter "bias" : tensor<4xf32> at <weights[0 : 16]> {block = -1 : i64, init = "constant", init_a = 0.0 : f64}
  rt.input "tokens" : tensor<2x8xi32> at <io[0 : 64 + 256 m] i32>
  rt.metric "loss.main" : tensor<1xf32> at <io[256 : 4]> {weight = 0.5 : f64}
  rt.output "hidden" of "evaluate" : tensor<2x2xbf16> at <io[272 : 8] bf16>
  rt.func @micro_batch {
    rt.call @mg_copy(out io[256 : 4], in io[0 : 4]) {count = 1} block 2 cost 3 8 loc("blocks.2.norm")
  }
  rt.func @update {
  }
  rt.func @evaluate {
  }
}

// CHECK: {"abi":4,
// CHECK-NEXT: "declaration":{"families":{"A":{"heads":4,
// CHECK-NEXT: "kind":"attention",
// CHECK-NEXT: "shared":true,
// CHECK-NEXT: "theta":10000}},
// CHECK-NEXT: "placements":[{"orders":[2,3]}]},
// CHECK-NEXT: "functions":[{"launches":[{"block":2,
// CHECK-NEXT: "bytes":8,
// CHECK-NEXT: "flops":3,
// CHECK-NEXT: "kernel":"mg_copy",
// CHECK-NEXT: "path":"blocks.2.norm"}],
// CHECK-NEXT: "name":"micro_batch",
// CHECK-NEXT: "symbol":"megacc_micro_batch"},{"launches":[],
// CHECK-NEXT: "name":"update",
// CHECK-NEXT: "symbol":"megacc_update"},{"launches":[],
// CHECK-NEXT: "name":"evaluate",
// CHECK-NEXT: "symbol":"megacc_evaluate"}],
// CHECK-NEXT: "hidden":16,
// CHECK: "kernels":{"mg_copy":"out:y:any in:x:any | count | "},
// CHECK: "mesh":{"dp":1,
// CHECK-NEXT: "ep":1,
// CHECK-NEXT: "tp":2},
// CHECK: "optimizer":{"lr":0.001},
// CHECK: "target":"sm_90a"}

// LISTS-DAG: "inputs":[{"dtype":"i32","name":"tokens","offset":0,"shape":[2,8],"stride":256}]
// LISTS-DAG: "metrics":[{"dtype":"f32","name":"loss.main","offset":256,"shape":[1],"stride":0,"weight":0.5}]
// LISTS-DAG: "outputs":[{"dtype":"bf16","function":"evaluate","name":"hidden","offset":272,"shape":[2,2],"stride":0}]
// LISTS-DAG: {"block":2,"decays":true,"dtype":"bf16","gradient":256,"init":"normal","init_a":0.02,"m":64,"master":0,"name":"w","offset":128,"shape":[4,4],"trained":true,"v":128}
// LISTS-DAG: {"block":-1,"decays":false,"dtype":"f32","init":"constant","init_a":0,"name":"bias","offset":0,"shape":[4],"trained":false}
// LISTS-DAG: "segments":[{"bytes":256,"name":"weights"},{"bytes":0,"name":"optimizer"},{"bytes":0,"name":"gradients"},{"bytes":0,"name":"temporaries"},{"bytes":512,"name":"io"},{"bytes":256,"name":"constants"}]

// DEFAULT: "target":"cpu"
