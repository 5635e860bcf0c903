// The schedule is proved from the launches alone: a wrong offset or order is found, whoever made it.
// RUN: megacc-opt %s -rt-check-schedule -split-input-file -verify-diagnostics

rt.segment "temporaries" bytes 512
rt.segment "io" bytes 256
rt.input "x" : tensor<64xi32> at <io[0 : 256] i32>
rt.func @good {
  rt.call @mg_copy(out temporaries[0 : 64] value 0, in io[0 : 64]) {count = 16} block -1 cost 0 0
  rt.call @mg_add(out temporaries[0 : 64] value 1, in temporaries[0 : 64] value 0, in io[0 : 64]) {count = 16} block -1 cost 0 0
  rt.call @mg_copy(out io[64 : 64], in temporaries[0 : 64] value 1) {count = 16} block -1 cost 0 0
}

// -----

rt.segment "temporaries" bytes 512
rt.segment "io" bytes 256
rt.input "x" : tensor<64xi32> at <io[0 : 256] i32>
rt.func @overwritten {
  rt.call @mg_copy(out temporaries[0 : 64] value 0, in io[0 : 64]) {count = 16} block -1 cost 0 0
  rt.call @mg_copy(out temporaries[32 : 64] value 1, in io[64 : 64]) {count = 16} block -1 cost 0 0
  // expected-error @+1 {{reads value 0 at bytes 0 to 64, which do not hold it any more or not yet}}
  rt.call @mg_copy(out io[128 : 64], in temporaries[0 : 64] value 0) {count = 16} block -1 cost 0 0
}

// -----

rt.segment "temporaries" bytes 512
rt.segment "io" bytes 256
rt.input "x" : tensor<64xi32> at <io[0 : 256] i32>
rt.func @too_early {
  // expected-error @+1 {{reads value 0 at bytes 0 to 64, which do not hold it any more or not yet}}
  rt.call @mg_copy(out io[0 : 64], in temporaries[0 : 64] value 0) {count = 16} block -1 cost 0 0
  rt.call @mg_copy(out temporaries[0 : 64] value 0, in io[0 : 64]) {count = 16} block -1 cost 0 0
}

// -----

rt.segment "temporaries" bytes 512
rt.segment "io" bytes 256
rt.input "x" : tensor<64xi32> at <io[0 : 256] i32>
rt.func @nothing_is_kept_between_functions {
  rt.call @mg_copy(out temporaries[0 : 64] value 0, in io[0 : 64]) {count = 16} block -1 cost 0 0
}
rt.func @next {
  // expected-error @+1 {{reads value 0}}
  rt.call @mg_copy(out io[0 : 64], in temporaries[0 : 64] value 0) {count = 16} block -1 cost 0 0
}

// -----

rt.segment "temporaries" bytes 32
rt.segment "io" bytes 256
rt.input "x" : tensor<64xi32> at <io[0 : 256] i32>
rt.func @outside {
  // expected-error @+1 {{uses temporaries up to byte 64, but the segment has 32}}
  rt.call @mg_copy(out temporaries[0 : 64] value 0, in io[0 : 64]) {count = 16} block -1 cost 0 0
}

// -----

module attributes {megacc.config = {accumulate = 3 : i64}} {
  rt.segment "temporaries" bytes 64
  rt.segment "io" bytes 512
  rt.func @outside_at_the_last_micro_batch {
    // expected-error @+1 {{uses io up to byte 576, but the segment has 512}}
    rt.call @mg_copy(out temporaries[0 : 64] value 0, in io[0 : 64 + 256 m]) {count = 16} block -1 cost 0 0
  }
}

// -----

module attributes {megacc.config = {accumulate = 4 : i64}} {
  rt.segment "temporaries" bytes 64
  rt.segment "io" bytes 512
  rt.func @stride_overflows {
    // expected-error @+1 {{uses io up to byte 64 + 3 * 9223372036854775804, but the segment has 512}}
    rt.call @mg_copy(out temporaries[0 : 64] value 0, in io[0 : 64 + 9223372036854775804 m]) {count = 16} block -1 cost 0 0
  }
}

// -----

rt.segment "weights" bytes 64
// expected-error @+1 {{uses weights up to byte 80, but the segment has 64}}
rt.parameter "w" : tensor<4xf32> at <weights[64 : 16]> {block = 0 : i64, init = "constant", init_a = 1.0 : f64}
// expected-error @+1 {{uses gradients up to byte 16, but the segment has 0}}
rt.parameter "v" : tensor<4xf32> at <weights[0 : 16]> {block = 0 : i64, init = "constant", init_a = 1.0 : f64,
    gradient = #rt.range<gradients[0 : 16]>}

// -----

rt.segment "temporaries" bytes 512
rt.segment "io" bytes 256
rt.input "x" : tensor<64xi32> at <io[0 : 256] i32>
rt.func @overlapping {
  rt.call @mg_copy(out temporaries[0 : 64] value 0, in io[0 : 64]) {count = 16} block -1 cost 0 0
  // expected-error @+1 {{has operands that overlap: bytes 16 and 0 of temporaries}}
  rt.call @mg_copy(out temporaries[16 : 64] value 1, in temporaries[0 : 64] value 0) {count = 16} block -1 cost 0 0
}

// -----

module attributes {megacc.config = {accumulate = 2 : i64}} {
  rt.segment "io" bytes 512
  rt.input "x" : tensor<16xi32> at <io[0 : 64 + 256 m] i32>
  rt.func @overlapping_at_the_second_micro_batch {
    // expected-error @+1 {{has operands that overlap: bytes 256 and 0 of io}}
    rt.call @mg_copy(out io[256 : 64], in io[0 : 64 + 256 m]) {count = 16} block -1 cost 0 0
  }
}

// -----

rt.segment "temporaries" bytes 512
rt.segment "io" bytes 256
rt.input "x" : tensor<64xi32> at <io[0 : 256] i32>
rt.func @scratch_is_lost {
  rt.call @mg_copy(out temporaries[0 : 64] value 0, in io[0 : 64]) {count = 16} block -1 cost 0 0
  rt.call @mg_square_sum(out temporaries[256 : 8] f64 value 1, in io[0 : 64], scratch temporaries[0 : 8] raw) {count = 16} block -1 cost 0 0
  // expected-error @+1 {{reads value 0}}
  rt.call @mg_copy(out io[64 : 64], in temporaries[0 : 64] value 0) {count = 16} block -1 cost 0 0
}

// -----

rt.segment "temporaries" bytes 512
rt.segment "io" bytes 256
rt.input "x" : tensor<64xi32> at <io[0 : 256] i32>
rt.func @scratch_of_no_bytes_touches_nothing {
  rt.call @mg_copy(out temporaries[0 : 64] value 0, in io[0 : 64]) {count = 16} block -1 cost 0 0
  rt.call @mg_square_sum(out temporaries[256 : 8] f64 value 1, in temporaries[0 : 64] value 0, scratch temporaries[32 : 0] raw)
      {count = 16} block -1 cost 0 0
  rt.call @mg_copy(out io[64 : 64], in temporaries[0 : 64] value 0) {count = 16} block -1 cost 0 0
}

// -----

rt.segment "temporaries" bytes 512
rt.segment "io" bytes 256
rt.input "x" : tensor<64xi32> at <io[0 : 256] i32>
rt.func @sums_read_what_they_add_to {
  rt.call @mg_fill_zero(sum temporaries[0 : 64] value 0) {count = 16, accumulate = 0} block -1 cost 0 0
  rt.call @mg_accumulate(sum temporaries[0 : 64] value 0, in io[0 : 64]) {count = 16, accumulate = 2, scale = 1.0} block -1 cost 0 0
  // expected-error @+1 {{reads value 1}}
  rt.call @mg_accumulate(sum temporaries[64 : 64] value 1, in io[0 : 64]) {count = 16, accumulate = 2, scale = 1.0} block -1 cost 0 0
}

// -----

rt.segment "gradients" bytes 256
rt.segment "io" bytes 256
rt.input "x" : tensor<64xi32> at <io[0 : 256] i32>
rt.func @micro_batch {
  rt.call @mg_accumulate(sum gradients[0 : 64], in io[0 : 64]) {count = 16, accumulate = 1, scale = 1.0} block -1 cost 0 0
  rt.call @mg_accumulate(sum gradients[0 : 64], in io[64 : 64]) {count = 16, accumulate = 2, scale = 1.0} block -1 cost 0 0
  // expected-error @+1 {{overwrites bytes 32 to 96 of gradients, which the function has summed already; accumulate must be 2}}
  rt.call @mg_accumulate(sum gradients[32 : 64], in io[64 : 64]) {count = 16, accumulate = 1, scale = 1.0} block -1 cost 0 0
  // expected-error @+1 {{adds to bytes 128 to 192 of gradients, which the function has not summed; accumulate must be 1}}
  rt.call @mg_accumulate(sum gradients[128 : 64], in io[64 : 64]) {count = 16, accumulate = 2, scale = 1.0} block -1 cost 0 0
}
rt.func @another_function_begins_again {
  rt.call @mg_accumulate(sum gradients[0 : 64], in io[0 : 64]) {count = 16, accumulate = 1, scale = 1.0} block -1 cost 0 0
}

// -----

rt.segment "weights" bytes 128
rt.segment "gradients" bytes 128
rt.segment "temporaries" bytes 8
rt.segment "io" bytes 256
rt.input "x" : tensor<64xi32> at <io[0 : 256] i32>
rt.parameter "a" : tensor<4xf32> at <weights[0 : 16]> {block = 0 : i64, gradient = #rt.range<gradients[0 : 16]>, init = "constant",
    init_a = 1.0 : f64}
rt.parameter "b" : tensor<4xf32> at <weights[64 : 16]> {block = 0 : i64, gradient = #rt.range<gradients[64 : 16]>, init = "constant",
    init_a = 1.0 : f64}
rt.func @micro_batch {
  rt.call @mg_accumulate(sum gradients[0 : 16], in io[0 : 16]) {count = 4, accumulate = 1, scale = 1.0} block -1 cost 0 0
}
rt.func @update {
  // Padding may be read, and the gradient that was written.
  rt.call @mg_square_sum(out temporaries[0 : 8] f64 value 0, in gradients[0 : 64], scratch temporaries[0 : 0] raw)
      {count = 16} block -1 cost 0 0
  // expected-error @+1 {{reads the gradient of "b", which no launch before it writes}}
  rt.call @mg_square_sum(out temporaries[0 : 8] f64 value 1, in gradients[0 : 128], scratch temporaries[0 : 0] raw)
      {count = 32} block -1 cost 0 0
}

// -----

rt.segment "temporaries" bytes 8
rt.segment "io" bytes 256
rt.metric "picks.0" : tensor<2xf32> at <io[0 : 8]> {weight = 0.0 : f64}
rt.metric "picks.1" : tensor<2xf32> at <io[16 : 8]> {weight = 0.0 : f64}
rt.func @update {
  rt.call @mg_fill_zero(sum io[0 : 8]) {count = 2, accumulate = 0} block -1 cost 0 0
  rt.call @mg_copy(out io[64 : 8], in io[0 : 8]) {count = 2} block -1 cost 0 0
  // expected-error @+1 {{reads bytes 16 to 24 of io, which neither the host nor a launch before it writes}}
  rt.call @mg_copy(out io[64 : 8], in io[16 : 8]) {count = 2} block -1 cost 0 0
}

// -----

rt.segment "io" bytes 256
rt.input "x" : tensor<64xi32> at <io[0 : 256] i32>
rt.segment "constants" bytes 256
rt.table <constants[0 : 32] i64> [2, 7, 1, 3]
rt.func @tables {
  rt.call @mg_ngram_rows(out io[0 : 4] i32, in io[64 : 4] i32, null, table constants[0 : 32] i64) {batch = 1, sequence = 1, count = 1,
      longest = 1} block -1 cost 0 0
  // expected-error @+1 {{reads a table at bytes 8 to 40 of constants, where no rt.table lies}}
  rt.call @mg_ngram_rows(out io[0 : 4] i32, in io[64 : 4] i32, null, table constants[8 : 32] i64) {batch = 1, sequence = 1, count = 1,
      longest = 1} block -1 cost 0 0
  // expected-error @+1 {{reads a table at bytes 0 to 32 of io, where no rt.table lies}}
  rt.call @mg_ngram_rows(out io[32 : 4] i32, in io[64 : 4] i32, null, table io[0 : 32] i64) {batch = 1, sequence = 1, count = 1,
      longest = 1} block -1 cost 0 0
  // expected-error @+1 {{writes constants at byte 64}}
  rt.call @mg_copy(out constants[64 : 8], in io[0 : 8]) {count = 2} block -1 cost 0 0
}

// -----

// The range of the third micro-batch ends past the segment.
module attributes {megacc.config = {accumulate = 3 : i64}} {
  rt.segment "temporaries" bytes 64
  rt.segment "io" bytes 256
  // expected-error @+1 {{uses io up to byte 320, but the segment has 256}}
  rt.input "x" : tensor<16xi32> at <io[0 : 64 + 128 m] i32>
  rt.metric "sum" : tensor<1xf32> at <io[64 : 4]> {weight = 1.0 : f64}
}

// -----

module attributes {megacc.config = {accumulate = 2147483647 : i64}} {
  rt.segment "temporaries" bytes 64
  rt.segment "io" bytes 4398046511104
  rt.input "x" : tensor<16xi32> at <io[0 : 64 + 256 m] i32>
  rt.func @the_last_of_very_many_micro_batches {
    // expected-error @+1 {{has operands that overlap: bytes 549755813376 and 0 of io}}
    rt.call @mg_copy(out io[549755813376 : 64], in io[0 : 64 + 256 m]) {count = 16} block -1 cost 0 0
    rt.call @mg_copy(out io[549755813632 : 64], in io[0 : 64 + 256 m]) {count = 16} block -1 cost 0 0
  }
}

// -----

rt.segment "gradients" bytes 256
rt.func @only_io_moves {
  // expected-error @+1 {{moves by 128 bytes of gradients a micro-batch; only io has a place for each}}
  rt.call @mg_fill_zero(sum gradients[0 : 64 + 128 m]) {count = 16, accumulate = 0} block -1 cost 0 0
}

// -----

rt.segment "temporaries" bytes 256
rt.segment "io" bytes 256
rt.func @io_of_nobody {
  // expected-error @+1 {{reads bytes 64 to 128 of io, which neither the host nor a launch before it writes}}
  rt.call @mg_copy(out io[0 : 64], in io[64 : 64]) {count = 16} block -1 cost 0 0
}

// -----

module attributes {megacc.config = {accumulate = 2 : i64}} {
  rt.segment "temporaries" bytes 64
  rt.segment "io" bytes 512
  rt.input "x" : tensor<16xi32> at <io[0 : 64 + 64 m] i32>
  rt.func @io_of_nobody_at_the_second_micro_batch {
    // expected-error @+1 {{reads bytes 0 to 64 + m strides of io, which neither the host nor a launch before it writes}}
    rt.call @mg_copy(out temporaries[0 : 64] value 0, in io[0 : 64 + 128 m]) {count = 16} block -1 cost 0 0
  }
}

// -----

rt.segment "weights" bytes 64
rt.segment "gradients" bytes 64
rt.segment "io" bytes 256
rt.parameter "a" : tensor<4xf32> at <weights[0 : 16]> {block = 0 : i64, gradient = #rt.range<gradients[0 : 16]>, init = "constant",
    init_a = 1.0 : f64}
rt.input "x" : tensor<4xi32> at <io[0 : 16] i32>
rt.func @update {
  // It runs after @micro_batch, wherever it stands.
  rt.call @mg_copy(out io[64 : 16], in gradients[0 : 16]) {count = 4} block -1 cost 0 0
}
rt.func @micro_batch {
  // expected-error @+1 {{reads the gradient of "a", which no launch before it writes}}
  rt.call @mg_copy(out io[16 : 16], in gradients[0 : 16]) {count = 4} block -1 cost 0 0
  rt.call @mg_accumulate(sum gradients[0 : 16], in io[0 : 16]) {count = 4, accumulate = 1, scale = 1.0} block -1 cost 0 0
  rt.call @mg_copy(out io[32 : 16], in gradients[0 : 16]) {count = 4} block -1 cost 0 0
}
rt.func @evaluate {
  // expected-error @+1 {{reads the gradient of "a", which no launch before it writes}}
  rt.call @mg_copy(out io[16 : 16], in gradients[0 : 16]) {count = 4} block -1 cost 0 0
}

// -----

rt.segment "temporaries" bytes 64
rt.segment "constants" bytes 256
rt.table <constants[0 : 32] i64> [2, 7, 1, 3]
rt.func @constants_of_no_table {
  // expected-error @+1 {{reads a table at bytes 32 to 96 of constants, where no rt.table lies}}
  rt.call @mg_copy(out temporaries[0 : 64] value 0, in constants[32 : 64]) {count = 16} block -1 cost 0 0
}
