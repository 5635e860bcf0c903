// Where state, inputs, metrics, outputs and tables lie, and what launches over groups of parameters get.
// RUN: megacc-opt %s -step-assign-buffers --verify-roundtrip | FileCheck %s

module attributes {megacc.model = "types", megacc.config = {accumulate = 2 : i64}} {
  // Parameters by type and decay, untrained last, each padded to 128 elements; f32 gradients and moments share that order, and so do the masters
  // of the bf16 ones.
  // CHECK-DAG: rt.parameter "a" : tensor<130xf32> at <weights[0 : 520]> {{.*}}first_moment = #rt.range<optimizer[1536 : 520]>, gradient = #rt.range<gradients[0 : 520]>, init = "constant", {{.*}}second_moment = #rt.range<optimizer[4608 : 520]>, trained}
  // CHECK-DAG: rt.parameter "p" : tensor<5xf32> at <weights[1024 : 20]> {{.*}}first_moment = #rt.range<optimizer[2560 : 20]>, gradient = #rt.range<gradients[1024 : 20]>
  // CHECK-DAG: rt.parameter "w" : tensor<16x16xbf16> at <weights[1536 : 512] bf16> {{.*}}decays, first_moment = #rt.range<optimizer[3072 : 1024]>, gradient = #rt.range<gradients[1536 : 1024]>, init = "normal", {{.*}}master = #rt.range<optimizer[0 : 1024]>, second_moment = #rt.range<optimizer[6144 : 1024]>
  // CHECK-DAG: rt.parameter "n" : tensor<8xbf16> at <weights[2048 : 16] bf16> {{.*}}first_moment = #rt.range<optimizer[4096 : 32]>, gradient = #rt.range<gradients[2560 : 32]>{{.*}}master = #rt.range<optimizer[1024 : 32]>
  // CHECK-DAG: rt.parameter "s" : tensor<4xf32> at <weights[2304 : 16]> {block = 0 : i64, init = "constant", init_a = 0.000000e+00 : f64}
  // CHECK-DAG: rt.segment "weights" bytes 2816
  // CHECK-DAG: rt.segment "optimizer" bytes 7680
  // CHECK-DAG: rt.segment "gradients" bytes 3072
  step.parameter @s : tensor<4xf32> init constant {block = 0 : i64, init_a = 0.0 : f64}
  step.parameter @w : tensor<16x16xbf16> init normal {block = 0 : i64, decays, trained, init_a = 0.02 : f64}
  step.parameter @a : tensor<130xf32> init constant {block = 0 : i64, decays, trained, init_a = 0.0 : f64}
  step.parameter @n : tensor<8xbf16> init constant {block = 0 : i64, trained, init_a = 1.0 : f64}
  step.parameter @p : tensor<5xf32> init constant {block = 0 : i64, trained, init_a = 0.0 : f64}

  // io: inputs, metrics, outputs; what belongs to a micro-batch has a place for each.
  // CHECK-DAG: rt.input "tokens" : tensor<2x3xi32> at <io[0 : 24 + 256 m] i32>
  // CHECK-DAG: rt.input "scalars" : tensor<3xf32> at <io[512 : 12]>
  // CHECK-DAG: rt.metric "invalid.tokens" : tensor<1xf32> at <io[768 : 4]> {weight = 0.000000e+00 : f64}
  // CHECK-DAG: rt.metric "loss.main" : tensor<1xf32> at <io[784 : 4]> {weight = 5.000000e-01 : f64}
  // CHECK-DAG: rt.metric "grad_norm" : tensor<1xf32> at <io[800 : 4]>
  // CHECK-DAG: rt.output "hidden.0" of "micro_batch" : tensor<3x2x4xf32> at <io[1024 : 96 + 256 m]>
  // CHECK-DAG: rt.segment "io" bytes 1536
  // Equal tables are one: order, size, bias, a multiplier per token back.
  // CHECK-DAG: rt.table <constants[0 : 40] i64> [2, 7, {{[0-9]+, [0-9]+, [0-9]+}}]
  // CHECK-DAG: rt.table <constants[256 : 40] i64> [2, 11,
  // CHECK-DAG: rt.segment "constants" bytes 512

  // CHECK-LABEL: rt.func @micro_batch
  step.func @micro_batch {
    %tokens = step.input "tokens" : tensor<2x3xi32>
    // CHECK: rt.call @mg_ngram_rows(out temporaries[{{.*}}] i32 value 0, in io[0 : 24 + 256 m] i32, null, table constants[0 : 40] i64) {batch = 2, sequence = 3, count = 1, longest = 2}
    %i = step.ngram_rows %tokens {orders = array<i64: 2>, sizes = array<i64: 7>, seed = 3 : i64, record = "cpu.ngram_rows"}
         : (tensor<2x3xi32>) -> tensor<6x1xi32>
    // CHECK: rt.call @mg_ngram_rows({{.*}}, table constants[256 : 40] i64)
    %j = step.ngram_rows %tokens {orders = array<i64: 2>, sizes = array<i64: 11>, seed = 3 : i64, record = "cpu.ngram_rows"}
         : (tensor<2x3xi32>) -> tensor<6x1xi32>
    // CHECK: rt.call @mg_ngram_rows({{.*}}, table constants[0 : 40] i64)
    %k = step.ngram_rows %tokens {orders = array<i64: 2>, sizes = array<i64: 7>, seed = 3 : i64, record = "cpu.ngram_rows"}
         : (tensor<2x3xi32>) -> tensor<6x1xi32>
    %table = step.zero {record = "cpu.zero"} : tensor<9x4xf32>
    // CHECK: rt.call @mg_embedding(out temporaries[{{.*}} : 96] value 4, out io[768 : 4], in
    %x = step.embedding %table, %tokens {invalid = "invalid.tokens", record = "cpu.embedding"}
         : (tensor<9x4xf32>, tensor<2x3xi32>) -> tensor<6x4xf32>
    %valid = step.count_valid %tokens {record = "cpu.count_valid"} : (tensor<2x3xi32>) -> tensor<1xf32>
    // CHECK: rt.call @mg_accumulate_terms(sum io[784 : 4], in temporaries[{{.*}}] value 5) {accumulate = 1, parts = 1, scale = 5.000000e-01}
    step.loss %valid {name = "main", weight = 0.5 : f64, record = "cpu.accumulate_terms"} : tensor<1xf32>
    // CHECK: rt.call @mg_copy(out io[1024 : 96 + 256 m], in temporaries[{{.*}} : 96] value 4) {count = 24}
    step.output "hidden.0", %x {shape = array<i64: 3, 2, 4>, record = "cpu.copy"} : tensor<6x4xf32>
    // A first accumulation overwrites at the first micro-batch, others add.
    // CHECK: rt.call @mg_accumulate(sum gradients[1024 : 20], {{.*}}) {count = 5, accumulate = 1, scale = 1.000000e+00}
    %d = step.zero {record = "cpu.zero"} : tensor<5xf32>
    step.accumulate @p, %d {record = "cpu.accumulate"} : tensor<5xf32>
    // CHECK: rt.call @mg_accumulate(sum gradients[1024 : 20], {{.*}}) {count = 5, accumulate = 2, scale = 1.000000e+00}
    step.accumulate @p, %d {adds, record = "cpu.accumulate"} : tensor<5xf32>
  }

  // CHECK-LABEL: rt.func @update
  step.func @update {
    // A group is one range, padding and all.
    // CHECK: rt.call @mg_square_sum(out temporaries[{{.*}} : 8] f64 value 0, in gradients[0 : 1024], scratch temporaries[{{.*}}] raw) {count = 256}
    %f = step.square_sum f32_decays {record = "cpu.square_sum"} : tensor<1xf64>
    // CHECK: rt.call @mg_square_sum(out temporaries[{{.*}} : 8] f64 value 1, in gradients[1536 : 1024], {{.*}}) {count = 256}
    %b = step.square_sum bf16_decays {record = "cpu.square_sum"} : tensor<1xf64>
    // CHECK: rt.call @mg_norm(out temporaries[{{.*}} : 4] value 2, in temporaries[{{.*}} : 8] f64 value 0, in temporaries[{{.*}} : 8] f64 value 1) {parts = 2}
    %norm = step.norm %f, %b {record = "cpu.norm"} : (tensor<1xf64>, tensor<1xf64>) -> tensor<1xf32>
    step.set_metric "grad_norm", %norm {record = "cpu.copy"} : tensor<1xf32>
    %scalars = step.input "scalars" : tensor<3xf32>
    // CHECK: rt.call @mg_adamw(inout weights[0 : 1024], null, inout optimizer[1536 : 1024], inout optimizer[4608 : 1024], in gradients[0 : 1024], in temporaries[{{.*}} : 4] value 2, in io[512 : 12]) {count = 256, decays = 1,
    step.adamw f32_decays, %norm, %scalars {record = "cpu.adamw"} : tensor<1xf32>, tensor<3xf32>
    // CHECK: rt.call @mg_adamw(inout weights[1024 : 512], null, {{.*}}in gradients[1024 : 512], {{.*}}) {count = 128, decays = 0,
    step.adamw f32_plain, %norm, %scalars {record = "cpu.adamw"} : tensor<1xf32>, tensor<3xf32>
    // CHECK: rt.call @mg_adamw(inout weights[1536 : 512] bf16, inout optimizer[0 : 1024], inout optimizer[3072 : 1024], inout optimizer[6144 : 1024], in gradients[1536 : 1024], {{.*}}) {count = 256, decays = 1,
    step.adamw bf16_decays, %norm, %scalars {record = "cpu.adamw"} : tensor<1xf32>, tensor<3xf32>
    // CHECK: rt.call @mg_adamw(inout weights[2048 : 256] bf16, inout optimizer[1024 : 512], inout optimizer[4096 : 512], inout optimizer[7168 : 512], in gradients[2560 : 512], {{.*}}) {count = 128, decays = 0,
    step.adamw bf16_plain, %norm, %scalars {record = "cpu.adamw"} : tensor<1xf32>, tensor<3xf32>
  }
}
