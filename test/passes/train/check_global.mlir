// RUN: megacc-opt %s -split-input-file -step-check-global -verify-diagnostics

// expected-error @+3 {{has no function "update"}}
// expected-error @+2 {{has no function "micro_batch"}}
// expected-error @+1 {{has no function "evaluate"}}
module {
}

// -----

module {
  // expected-error @+1 {{"w" has 0 gradients, expected at least one}}
  step.parameter @w : tensor<4xf32> init constant {block = -1 : i64, trained, init_a = 1.0 : f64}
  // expected-error @+1 {{"state" has 1 gradients, expected none}}
  step.parameter @state : tensor<4xf32> init constant {block = -1 : i64, init_a = 1.0 : f64}
  step.func @micro_batch {
    %x = step.zero {block = -1 : i64, phase = #step.phase<backward>} : tensor<4xf32>
    step.accumulate @state, %x {block = -1 : i64, phase = #step.phase<backward>} : tensor<4xf32>
    // expected-error @+1 {{of the forward stands after the backward}}
    %y = step.zero {block = -1 : i64, phase = #step.phase<forward>} : tensor<4xf32>
  }
  step.func @update {
    // expected-error @+1 {{lacks 'block' or 'phase'}}
    %x = step.zero : tensor<4xf32>
  }
  step.func @evaluate {
  }
}

// -----

// The first accumulation of a parameter overwrites, the others add; inside groups as outside.
module {
  step.parameter @w : tensor<4xf32> init constant {block = -1 : i64, trained, init_a = 1.0 : f64}
  step.parameter @v : tensor<4xf32> init constant {block = -1 : i64, trained, init_a = 1.0 : f64}
  step.func @micro_batch {
    %x = step.zero {block = -1 : i64, phase = #step.phase<backward>} : tensor<4xf32>
    // expected-error @+1 {{adds to a gradient that nothing has written}}
    step.accumulate @w, %x {adds, block = -1 : i64, phase = #step.phase<backward>} : tensor<4xf32>
    step.accumulate @v, %x {block = -1 : i64, phase = #step.phase<backward>} : tensor<4xf32>
    step.fused attributes {block = -1 : i64, phase = #step.phase<backward>} {
      %y = step.zero : tensor<4xf32>
      // expected-error @+1 {{overwrites a gradient that is there}}
      step.accumulate @v, %y : tensor<4xf32>
      step.yield
    }
    step.accumulate @v, %x {adds, block = -1 : i64, phase = #step.phase<backward>} : tensor<4xf32>
  }
  step.func @update {
  }
  step.func @evaluate {
  }
}

// -----

// A phase is one of the dialect's, a block a number.
module {
  step.func @micro_batch {
    // expected-error @+1 {{lacks 'block' or 'phase'}}
    %x = step.zero {block = -1 : i64, phase = "forward"} : tensor<4xf32>
    // expected-error @+1 {{lacks 'block' or 'phase'}}
    %y = step.zero {block = "mixer", phase = #step.phase<forward>} : tensor<4xf32>
    %z = step.zero {block = 0 : i64, phase = #step.phase<recompute>} : tensor<4xf32>
  }
  step.func @update {
  }
  step.func @evaluate {
  }
}

// -----

// A tensor, and the FLOPs of an op, that 64 bits do not count.
module {
  step.func @micro_batch {
    // expected-error @unknown {{makes 'tensor<1048576x1048577xf32>' at "head", a tensor has at most 1099511627776 elements; fix: smaller sizes or a smaller micro_batch}}
    %x = step.zero {block = -1 : i64, phase = #step.phase<forward>} : tensor<1048576x1048577xf32> loc("head")
    // expected-error @+1 {{makes 'tensor<4294967296x4294967296xf32>'}}
    %y = step.zero {block = -1 : i64, phase = #step.phase<forward>} : tensor<4294967296x4294967296xf32>
  }
  step.func @update {
  }
  step.func @evaluate {
  }
}
