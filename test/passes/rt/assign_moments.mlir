// Matrices under Muon stand behind the rest and have no second moment; moments in bf16 take two bytes.
// RUN: megacc-opt %s --step-assign-buffers | FileCheck %s

module attributes {megacc.model = "moments", megacc.config = {accumulate = 1 : i64, moments = "bf16", seed = 0 : i64}} {
  // CHECK-DAG: rt.parameter "p" : tensor<5xf32> at <weights[0 : 20]> {{.*}}first_moment = #rt.range<optimizer[0 : 10] bf16>{{.*}}second_moment = #rt.range<optimizer[512 : 10] bf16>
  // CHECK-DAG: rt.parameter "w" : tensor<6x4xf32> at <weights[512 : 96]> {{.*}}first_moment = #rt.range<optimizer[256 : 48] bf16>, gradient = #rt.range<gradients[512 : 96]>, init = "normal", init_a = {{[^,]*}}, trained}
  // CHECK-DAG: rt.segment "optimizer" bytes 768
  step.parameter @w : tensor<6x4xf32> init normal {block = 0 : i64, decays, trained,
    init_a = 0.02 : f64, pieces = array<i64: 0, 6, 6, 6, 1, 0>}
  step.parameter @p : tensor<5xf32> init constant {block = 0 : i64, trained, init_a = 1.0 : f64}
  step.func @update {
    %matrices = step.square_sum muon_f32 {record = "cpu.square_sum"} : tensor<1xf64>
    %rest = step.square_sum f32_plain {record = "cpu.square_sum"} : tensor<1xf64>
    %norm = step.norm %matrices, %rest {record = "cpu.norm"} : (tensor<1xf64>, tensor<1xf64>) -> tensor<1xf32>
    %scalars = step.input "scalars" : tensor<3xf32>
    %step = step.input "step" : tensor<1xi32>
    // CHECK: rt.table <constants[{{.*}}> [1, 0, {{-?[0-9]+}}, 0]
    // CHECK: rt.table <constants[{{.*}}> [{{-?[0-9]+}}, 0]
    // CHECK: rt.call @mg_adamw_rounded(inout weights[0 : 512], null, inout optimizer[0 : 256] bf16, inout optimizer[512 : 256] bf16, in gradients[0 : 512], {{.*}}) {count = 128, decays = 0, numbers = 4
    step.adamw f32_plain, %norm, %scalars, %step {record = "cpu.adamw_rounded"} : tensor<1xf32>, tensor<3xf32>, tensor<1xi32>
    // CHECK: rt.call @mg_muon(inout weights[512 : 96], null, inout optimizer[256 : 48] bf16, in gradients[512 : 96], {{.*}}) {experts = 1, rows = 6, cols = 4, first = 0, run = 6, stride = 6, piece_rows = 6, pieces = 1, spacing = 0, numbers = 2, iterations = 5, nesterov = 1
    step.muon @w[0], %norm, %scalars, %step {record = "cpu.muon"} : tensor<1xf32>, tensor<3xf32>, tensor<1xi32>
  }
}
