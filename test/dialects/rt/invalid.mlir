// RUN: megacc-opt %s -split-input-file -verify-diagnostics

// expected-error @+1 {{"stack" is no segment; expected weights, optimizer, gradients, temporaries or io}}
rt.segment "stack" bytes 0

// -----

// expected-error @+1 {{unknown segment "heap"; expected weights}}
rt.input "tokens" : tensor<2xi32> at <heap[0 : 8]>

// -----

// expected-error @+1 {{offset -8, bytes 8 and stride 0 may not be negative}}
rt.input "tokens" : tensor<2xi32> at <io[-8 : 8]>

// -----

rt.func @f {
  // expected-error @+1 {{unknown kernel "mg_sub"; kernels.def lists them all}}
  rt.call @mg_sub(out io[0 : 4]) {} block -1 cost 0 0
}

// -----

rt.func @f {
  // expected-error @+1 {{operand is "in", expected "out"}}
  rt.call @mg_copy(in io[0 : 4], in io[4 : 4]) {count = 1} block -1 cost 0 0
}

// -----

rt.func @f {
  // expected-error @+1 {{has 1 operands, but mg_copy takes 2}}
  rt.call @mg_copy(out io[0 : 4]) {count = 1} block -1 cost 0 0
}

// -----

rt.func @f {
  // expected-error @+1 {{lacks an operand that is not optional}}
  rt.call @mg_copy(out io[0 : 4], null) {count = 1} block -1 cost 0 0
}
