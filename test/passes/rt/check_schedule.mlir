// The schedule is proved from the launches alone: a wrong offset or order is found, whoever made it.
// RUN: megacc-opt %s -rt-check-schedule -split-input-file -verify-diagnostics

rt.segment "temporaries" bytes 512
rt.segment "io" bytes 256
rt.func @good {
  rt.call @mg_copy(out temporaries[0 : 64] value 0, in io[0 : 64]) {count = 16} block -1 cost 0 0
  rt.call @mg_add(out temporaries[0 : 64] value 1, in temporaries[0 : 64] value 0, in io[0 : 64]) {count = 16} block -1 cost 0 0
  rt.call @mg_copy(out io[64 : 64], in temporaries[0 : 64] value 1) {count = 16} block -1 cost 0 0
}

// -----

rt.segment "temporaries" bytes 512
rt.segment "io" bytes 256
rt.func @overwritten {
  rt.call @mg_copy(out temporaries[0 : 64] value 0, in io[0 : 64]) {count = 16} block -1 cost 0 0
  rt.call @mg_copy(out temporaries[32 : 64] value 1, in io[64 : 64]) {count = 16} block -1 cost 0 0
  // expected-error @+1 {{reads value 0 at bytes 0 to 64, which do not hold it any more or not yet}}
  rt.call @mg_copy(out io[128 : 64], in temporaries[0 : 64] value 0) {count = 16} block -1 cost 0 0
}

// -----

rt.segment "temporaries" bytes 512
rt.segment "io" bytes 256
rt.func @too_early {
  // expected-error @+1 {{reads value 0 at bytes 0 to 64, which do not hold it any more or not yet}}
  rt.call @mg_copy(out io[0 : 64], in temporaries[0 : 64] value 0) {count = 16} block -1 cost 0 0
  rt.call @mg_copy(out temporaries[0 : 64] value 0, in io[0 : 64]) {count = 16} block -1 cost 0 0
}

// -----

rt.segment "temporaries" bytes 32
rt.segment "io" bytes 256
rt.func @outside {
  // expected-error @+1 {{uses temporaries up to byte 64, but the segment has 32}}
  rt.call @mg_copy(out temporaries[0 : 64] value 0, in io[0 : 64]) {count = 16} block -1 cost 0 0
}

// -----

rt.segment "temporaries" bytes 512
rt.segment "io" bytes 256
rt.func @overlapping {
  rt.call @mg_copy(out temporaries[0 : 64] value 0, in io[0 : 64]) {count = 16} block -1 cost 0 0
  // expected-error @+1 {{has operands that overlap: bytes 16 and 0 of temporaries}}
  rt.call @mg_copy(out temporaries[16 : 64] value 1, in temporaries[0 : 64] value 0) {count = 16} block -1 cost 0 0
}

// -----

rt.segment "temporaries" bytes 512
rt.segment "io" bytes 256
rt.func @scratch_is_lost {
  rt.call @mg_copy(out temporaries[0 : 64] value 0, in io[0 : 64]) {count = 16} block -1 cost 0 0
  rt.call @mg_gradient_norm(out temporaries[256 : 4] value 1, in io[0 : 64], workspace temporaries[0 : 8]) {count = 16} block -1 cost 0 0
  // expected-error @+1 {{reads value 0}}
  rt.call @mg_copy(out io[64 : 64], in temporaries[0 : 64] value 0) {count = 16} block -1 cost 0 0
}
