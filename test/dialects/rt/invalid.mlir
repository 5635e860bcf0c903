// RUN: megacc-opt %s -split-input-file -verify-diagnostics

// expected-error @+1 {{"stack" is not a segment; expected weights, optimizer, gradients, temporaries, io or constants}}
rt.segment "stack" bytes 0

// -----

// expected-error @+1 {{unknown segment "heap"; expected weights}}
rt.input "tokens" : tensor<2xi32> at <heap[0 : 8]>

// -----

// expected-error @+1 {{offset -8, bytes 8 and stride 0 may not be negative}}
rt.input "tokens" : tensor<2xi32> at <io[-8 : 8]>

// -----

// expected-error @+1 {{offset 9223372036854775800 and bytes 16 are too large}}
rt.input "tokens" : tensor<4xi32> at <io[9223372036854775800 : 16] i32>

// -----

// expected-error @+1 {{offset 0, bytes 7 and stride 0 must be multiples of the 2 bytes of bf16}}
rt.output "hidden" of "evaluate" : tensor<4xbf16> at <io[0 : 7] bf16>

// -----

// expected-error @+1 {{input is at #rt.range<io[0 : 8]>, expected 8 bytes of i32 in io}}
rt.input "tokens" : tensor<2xi32> at <io[0 : 8]>

// -----

// expected-error @+1 {{metric is at #rt.range<io[0 : 8]>, expected 4 bytes of f32 in io}}
rt.metric "loss.main" : tensor<1xf32> at <io[0 : 8]> {weight = 1.0 : f64}

// -----

// expected-error @+1 {{output is at #rt.range<weights[0 : 8]>, expected 8 bytes of f32 in io}}
rt.output "logits" of "evaluate" : tensor<2xf32> at <weights[0 : 8]>

// -----

// expected-error @+1 {{has type 'f32', expected a tensor of static shape of f32, bf16, f64, i32 or i64}}
rt.metric "loss.main" : f32 at <io[0 : 4]> {weight = 1.0 : f64}

// -----

// expected-error @+1 {{weight is at #rt.range<weights[0 : 16]>, expected 8 bytes of bf16 in weights}}
rt.parameter "w" : tensor<4xbf16> at <weights[0 : 16]> {block = 0 : i64, init = "constant", init_a = 1.0 : f64}

// -----

// expected-error @+1 {{has elements of 'i32', expected f32 or bf16}}
rt.parameter "w" : tensor<4xi32> at <weights[0 : 16] i32> {block = 0 : i64, init = "constant", init_a = 1.0 : f64}

// -----

// expected-error @+1 {{of f32 has a master; only a bf16 parameter has one}}
rt.parameter "w" : tensor<4xf32> at <weights[0 : 16]> {block = 0 : i64, init = "constant", init_a = 1.0 : f64,
    master = #rt.range<optimizer[0 : 16]>}

// -----

// expected-error @+1 {{gradient is at #rt.range<gradients[0 : 8] bf16>, expected 16 bytes of f32 in gradients}}
rt.parameter "w" : tensor<4xbf16> at <weights[0 : 8] bf16> {block = 0 : i64, init = "constant", init_a = 1.0 : f64,
    gradient = #rt.range<gradients[0 : 8] bf16>}

// -----

// expected-error @+1 {{table is at #rt.range<constants[0 : 16] i64>, expected 8 bytes of i64 in constants}}
rt.table <constants[0 : 16] i64> [1]

// -----

rt.func @unknown_kernel {
  // expected-error @+1 {{unknown kernel "mg_sub"; kernels.def lists them all}}
  rt.call @mg_sub(out io[0 : 4]) {} block -1 cost 0 0
}

// -----

rt.func @unknown_kernel_generic {
  // expected-error @+1 {{calls the unknown kernel mg_sub}}
  "rt.call"() {kernel = "mg_sub", ranges = [], ints = array<i64>, doubles = array<f64>, block = -1 : i64, flops = 0 : i64,
      moved_bytes = 0 : i64} : () -> ()
}

// -----

rt.func @wrong_role {
  // expected-error @+1 {{operand is "in", expected "out"}}
  rt.call @mg_copy(in io[0 : 4], in io[4 : 4]) {count = 1} block -1 cost 0 0
}

// -----

rt.func @too_few_operands {
  // expected-error @+1 {{has 1 operands, but mg_copy takes 2}}
  rt.call @mg_copy(out io[0 : 4]) {count = 1} block -1 cost 0 0
}

// -----

rt.func @too_many_operands {
  // expected-error @+1 {{has 4 operands, but mg_split takes 3}}
  rt.call @mg_split(in io[0 : 4], out io[4 : 4], out io[8 : 4], out io[12 : 4]) {rows = 1, groups = 1, width0 = 1, width1 = 1, width2 = 0,
      width3 = 0, parts = 2} block -1 cost 0 0
}

// -----

rt.func @required_operand_is_null {
  // expected-error @+1 {{lacks its operand "x", which is not optional}}
  rt.call @mg_copy(out io[0 : 4], null) {count = 1} block -1 cost 0 0
}

// -----

rt.func @operand_is_no_range {
  // expected-error @+1 {{lacks its operand "rstd"}}
  "rt.call"() {kernel = "mg_rms_norm", ranges = [#rt.range<io[0 : 4]>, unit, 7 : i64, unit, #rt.range<io[4 : 4]>, unit,
      #rt.range<io[8 : 4]>], ints = array<i64: 1, 1>, doubles = array<f64: 1.0e-5>, block = -1 : i64, flops = 0 : i64, moved_bytes = 0 : i64} : () -> ()
}

// -----

rt.func @integers_are_missing {
  // expected-error @+1 {{has 0 integers and 0 numbers, but mg_norm takes 1 and 0}}
  "rt.call"() {kernel = "mg_norm", ranges = [#rt.range<io[0 : 4]>], ints = array<i64>, doubles = array<f64>, block = -1 : i64,
      flops = 0 : i64, moved_bytes = 0 : i64} : () -> ()
}

// -----

rt.func @negative_parts {
  // expected-error @+1 {{has parts = -1, expected 1 to 4096}}
  rt.call @mg_norm(out io[0 : 4], in io[8 : 8] f64) {parts = -1} block -1 cost 0 0
}

// -----

rt.func @huge_parts {
  // expected-error @+1 {{has parts = 4611686018427387904, expected 1 to 4096}}
  rt.call @mg_norm(out io[0 : 4], in io[8 : 8] f64) {parts = 4611686018427387904} block -1 cost 0 0
}

// -----

rt.func @wrong_type {
  // expected-error @+1 {{operand "tokens" is of f32, expected i32}}
  rt.call @mg_ngram_rows(out io[0 : 4] i32, in io[4 : 4], null, table constants[0 : 8] i64) {batch = 1, sequence = 1, count = 1,
      longest = 1} block -1 cost 0 0
}

// -----

rt.func @any_is_a_float {
  // expected-error @+1 {{operand "y" is of i32, expected f32 or bf16}}
  rt.call @mg_copy(out io[0 : 4] i32, in io[4 : 4]) {count = 1} block -1 cost 0 0
}

// -----

rt.func @untyped_group {
  // expected-error @+1 {{operand "part" is of raw, expected a type with elements}}
  rt.call @mg_norm(out io[0 : 4], in io[4 : 8] raw) {parts = 1} block -1 cost 0 0
}

// -----

rt.func @unknown_stream {
  // expected-error @+1 {{is on stream 2, but there are 2}}
  rt.call @mg_copy(out io[0 : 4], in io[4 : 4]) {count = 1} on 2 block -1 cost 0 0
}

// -----

rt.func @negative_count {
  // expected-error @+1 {{has count = -1, it must be at least 0}}
  rt.call @mg_copy(out io[0 : 4], in io[4 : 4]) {count = -1} block -1 cost 0 0
}

// -----

rt.func @negative_axis {
  // expected-error @+1 {{has vocab_axis = -2, it must be at least -1}}
  rt.call @mg_embedding(out io[0 : 4], null, in io[4 : 4], in io[8 : 4] i32) {rows = 1, cols = 1, vocab = 1,
      vocab_axis = -2} block -1 cost 0 0
}

// -----

rt.func @unknown_accumulate {
  // expected-error @+1 {{has accumulate = 3, expected 0, 1 or 2}}
  rt.call @mg_fill_zero(sum io[0 : 4]) {count = 1, accumulate = 3} block -1 cost 0 0
}

// -----

rt.func @count_of_another_operand {
  // expected-error @+1 {{operand "x" has 8 bytes, expected 1 elements of 4}}
  rt.call @mg_copy(out io[0 : 4], in io[8 : 8]) {count = 1} block -1 cost 0 0
}

// -----

rt.func @huge_count {
  // expected-error @+1 {{operand "y" has 4 bytes, expected 9223372036854775807 elements of 4}}
  rt.call @mg_copy(out io[0 : 4], in io[4 : 4]) {count = 9223372036854775807} block -1 cost 0 0
}

// -----

rt.func @product_past_64_bits {
  // expected-error @+1 {{has integers that make no number of elements of its operand "y"}}
  rt.call @mg_sum_groups(out io[0 : 0], in io[4 : 0]) {rows = 4294967296, groups = 1, width = 4294967296, scale = 1.0} block -1 cost 0 0
}

// -----

rt.func @division_by_zero {
  // expected-error @+1 {{has integers that make no number of elements of its operand "states"}}
  rt.call @mg_m2rnn_scan(out io[0 : 4], out io[4 : 4], in io[8 : 4], in io[12 : 4], in io[16 : 4], in io[20 : 4], in io[24 : 4],
      in io[28 : 4], in io[32 : 4], null, scratch io[36 : 0] raw) {batch = 1, sequence = 1, heads = 1, key = 1, value = 1,
      interval = 0} block -1 cost 0 0
}

// -----

rt.func @negative_size_of_an_operand {
  // expected-error @+1 {{has integers that make no number of elements of its operand "k"}}
  rt.call @mg_attention(out io[0 : 4], null, in io[8 : 4], in io[12 : 4], null, null, null, scratch io[16 : 0] raw) {batch = 1,
      sequence = 1, heads = 1, kv_heads = 1, qk_dim = 1, v_dim = 1, shared_dim = 9, scale = 1.0} block -1 cost 0 0
}

// -----

rt.func @negative_parts_of_a_split {
  // expected-error @+1 {{has parts = -1, expected 1 to 4096}}
  rt.call @mg_split(in io[0 : 8], out io[8 : 4], out io[12 : 4]) {rows = 1, groups = 1, width0 = 1, width1 = 1, width2 = 0, width3 = 0,
      parts = -1} block -1 cost 0 0
}

// -----

rt.func @negative_cost {
  // expected-error @+1 {{has a cost of -1 FLOPs and 0 bytes, neither may be negative}}
  rt.call @mg_copy(out io[0 : 4], in io[4 : 4]) {count = 1} block -1 cost -1 0
}

// -----

// expected-error @+1 {{"io" has -1 bytes, it must be at least 0}}
rt.segment "io" bytes -1
