// RUN: megacc-opt %s -split-input-file -verify-diagnostics

step.func @too_few_parameters {
  %x = step.input "x" : tensor<6x34xf32>
  %p0 = step.input "p0" : tensor<2xf32>
  %p1 = step.input "p1" : tensor<2x1x4xf32>
  %p2 = step.input "p2" : tensor<4xf32>
  // expected-error @+1 {{has 5 parameters; expected 6, with mimo 3 more, with out_norm and state_gate one more each: 6}}
  %y = step.mamba3_scan %x, %p0, %p0, %p1, %p1, %p2 {batch = 2 : i64, sequence = 3 : i64, heads = 2 : i64, groups = 1 : i64, rank = 1 : i64,
       head_dim = 5 : i64, state = 4 : i64, angles = 0 : i64, chunk = 4 : i64, eps = 1.0e-5 : f64,
       operandSegmentSizes = array<i32: 1, 5, 0>}
       : (tensor<6x34xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2x1x4xf32>, tensor<2x1x4xf32>, tensor<4xf32>) -> tensor<6x10xf32>
}

// -----

step.func @mimo_without_its_parameters {
  %x = step.input "x" : tensor<6x34xf32>
  %p0 = step.input "p0" : tensor<2xf32>
  %p1 = step.input "p1" : tensor<2x1x4xf32>
  %p2 = step.input "p2" : tensor<4xf32>
  // expected-error @+1 {{has 6 parameters; expected 6, with mimo 3 more, with out_norm and state_gate one more each: 9}}
  %y = step.mamba3_scan %x, %p0, %p0, %p1, %p1, %p2, %p2 {batch = 2 : i64, sequence = 3 : i64, heads = 2 : i64, groups = 1 : i64,
       rank = 1 : i64,
       head_dim = 5 : i64, state = 4 : i64, angles = 0 : i64, chunk = 4 : i64, eps = 1.0e-5 : f64, mimo,
       operandSegmentSizes = array<i32: 1, 6, 0>}
       : (tensor<6x34xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2x1x4xf32>, tensor<2x1x4xf32>, tensor<4xf32>, tensor<4xf32>)
       -> tensor<6x10xf32>
}

// -----

step.func @out_norm_without_its_weight {
  %x = step.input "x" : tensor<6x34xf32>
  %p0 = step.input "p0" : tensor<2xf32>
  %p1 = step.input "p1" : tensor<2x1x4xf32>
  %p2 = step.input "p2" : tensor<4xf32>
  // expected-error @+1 {{has 6 parameters; expected 6, with mimo 3 more, with out_norm and state_gate one more each: 7}}
  %y = step.mamba3_scan %x, %p0, %p0, %p1, %p1, %p2, %p2 {batch = 2 : i64, sequence = 3 : i64, heads = 2 : i64, groups = 1 : i64,
       rank = 1 : i64,
       head_dim = 5 : i64, state = 4 : i64, angles = 0 : i64, chunk = 4 : i64, eps = 1.0e-5 : f64, out_norm,
       operandSegmentSizes = array<i32: 1, 6, 0>}
       : (tensor<6x34xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2x1x4xf32>, tensor<2x1x4xf32>, tensor<4xf32>, tensor<4xf32>)
       -> tensor<6x10xf32>
}

// -----

step.func @groups_that_do_not_share_evenly {
  %x = step.input "x" : tensor<6x34xf32>
  %p0 = step.input "p0" : tensor<2xf32>
  %p1 = step.input "p1" : tensor<2x1x4xf32>
  %p2 = step.input "p2" : tensor<4xf32>
  // expected-error @+1 {{has 2 heads, which 3 groups cannot share evenly}}
  %y = step.mamba3_scan %x, %p0, %p0, %p1, %p1, %p2, %p2 {batch = 2 : i64, sequence = 3 : i64, heads = 2 : i64, groups = 3 : i64,
       rank = 1 : i64,
       head_dim = 5 : i64, state = 4 : i64, angles = 0 : i64, chunk = 4 : i64, eps = 1.0e-5 : f64,
       operandSegmentSizes = array<i32: 1, 6, 0>}
       : (tensor<6x34xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2x1x4xf32>, tensor<2x1x4xf32>, tensor<4xf32>, tensor<4xf32>)
       -> tensor<6x10xf32>
}

// -----

step.func @rank_without_mimo {
  %x = step.input "x" : tensor<6x34xf32>
  %p0 = step.input "p0" : tensor<2xf32>
  %p1 = step.input "p1" : tensor<2x1x4xf32>
  %p2 = step.input "p2" : tensor<4xf32>
  // expected-error @+1 {{has no mimo parameters, but rank 2}}
  %y = step.mamba3_scan %x, %p0, %p0, %p1, %p1, %p2, %p2 {batch = 2 : i64, sequence = 3 : i64, heads = 2 : i64, groups = 1 : i64,
       rank = 2 : i64,
       head_dim = 5 : i64, state = 4 : i64, angles = 0 : i64, chunk = 4 : i64, eps = 1.0e-5 : f64,
       operandSegmentSizes = array<i32: 1, 6, 0>}
       : (tensor<6x34xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2x1x4xf32>, tensor<2x1x4xf32>, tensor<4xf32>, tensor<4xf32>)
       -> tensor<6x10xf32>
}

// -----

step.func @too_many_angles {
  %x = step.input "x" : tensor<6x34xf32>
  %p0 = step.input "p0" : tensor<2xf32>
  %p1 = step.input "p1" : tensor<2x1x4xf32>
  %p2 = step.input "p2" : tensor<4xf32>
  // expected-error @+1 {{rotates 3 pairs of 4 channels}}
  %y = step.mamba3_scan %x, %p0, %p0, %p1, %p1, %p2, %p2 {batch = 2 : i64, sequence = 3 : i64, heads = 2 : i64, groups = 1 : i64,
       rank = 1 : i64,
       head_dim = 5 : i64, state = 4 : i64, angles = 3 : i64, chunk = 4 : i64, eps = 1.0e-5 : f64,
       operandSegmentSizes = array<i32: 1, 6, 0>}
       : (tensor<6x34xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2x1x4xf32>, tensor<2x1x4xf32>, tensor<4xf32>, tensor<4xf32>)
       -> tensor<6x10xf32>
}

// -----

step.func @projection_of_another_width {
  %x = step.input "x" : tensor<6x33xf32>
  %p0 = step.input "p0" : tensor<2xf32>
  %p1 = step.input "p1" : tensor<2x1x4xf32>
  %p2 = step.input "p2" : tensor<4xf32>
  // expected-error @+1 {{'projection' is 'tensor<6x33xf32>', expected 6 x 34}}
  %y = step.mamba3_scan %x, %p0, %p0, %p1, %p1, %p2, %p2 {batch = 2 : i64, sequence = 3 : i64, heads = 2 : i64, groups = 1 : i64,
       rank = 1 : i64,
       head_dim = 5 : i64, state = 4 : i64, angles = 0 : i64, chunk = 4 : i64, eps = 1.0e-5 : f64,
       operandSegmentSizes = array<i32: 1, 6, 0>}
       : (tensor<6x33xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2x1x4xf32>, tensor<2x1x4xf32>, tensor<4xf32>, tensor<4xf32>)
       -> tensor<6x10xf32>
}

// -----

step.func @parameter_of_another_size {
  %x = step.input "x" : tensor<6x34xf32>
  %p0 = step.input "p0" : tensor<2xf32>
  %p1 = step.input "p1" : tensor<2x1x3xf32>
  %p2 = step.input "p2" : tensor<4xf32>
  // expected-error @+1 {{has parameter 2 of 'tensor<2x1x3xf32>', expected 8 elements}}
  %y = step.mamba3_scan %x, %p0, %p0, %p1, %p1, %p2, %p2 {batch = 2 : i64, sequence = 3 : i64, heads = 2 : i64, groups = 1 : i64,
       rank = 1 : i64,
       head_dim = 5 : i64, state = 4 : i64, angles = 0 : i64, chunk = 4 : i64, eps = 1.0e-5 : f64,
       operandSegmentSizes = array<i32: 1, 6, 0>}
       : (tensor<6x34xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2x1x3xf32>, tensor<2x1x3xf32>, tensor<4xf32>, tensor<4xf32>)
       -> tensor<6x10xf32>
}

// -----

step.func @out_norm_of_another_size {
  %x = step.input "x" : tensor<6x34xf32>
  %p0 = step.input "p0" : tensor<2xf32>
  %p1 = step.input "p1" : tensor<2x1x4xf32>
  %p2 = step.input "p2" : tensor<4xf32>
  // expected-error @+1 {{has parameter 6 of 'tensor<4xf32>', expected 10 elements}}
  %y = step.mamba3_scan %x, %p0, %p0, %p1, %p1, %p2, %p2, %p2 {batch = 2 : i64, sequence = 3 : i64, heads = 2 : i64, groups = 1 : i64,
       rank = 1 : i64,
       head_dim = 5 : i64, state = 4 : i64, angles = 0 : i64, chunk = 4 : i64, eps = 1.0e-5 : f64, out_norm,
       operandSegmentSizes = array<i32: 1, 7, 0>}
       : (tensor<6x34xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2x1x4xf32>, tensor<2x1x4xf32>, tensor<4xf32>, tensor<4xf32>,
       tensor<4xf32>) -> tensor<6x10xf32>
}

// -----

step.func @result_of_another_width {
  %x = step.input "x" : tensor<6x34xf32>
  %p0 = step.input "p0" : tensor<2xf32>
  %p1 = step.input "p1" : tensor<2x1x4xf32>
  %p2 = step.input "p2" : tensor<4xf32>
  // expected-error @+1 {{'y' is 'tensor<6x9xf32>', expected 6 x 10}}
  %y = step.mamba3_scan %x, %p0, %p0, %p1, %p1, %p2, %p2 {batch = 2 : i64, sequence = 3 : i64, heads = 2 : i64, groups = 1 : i64,
       rank = 1 : i64,
       head_dim = 5 : i64, state = 4 : i64, angles = 0 : i64, chunk = 4 : i64, eps = 1.0e-5 : f64,
       operandSegmentSizes = array<i32: 1, 6, 0>}
       : (tensor<6x34xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2x1x4xf32>, tensor<2x1x4xf32>, tensor<4xf32>, tensor<4xf32>)
       -> tensor<6x9xf32>
}

// -----

step.func @documents_of_other_tokens {
  %x = step.input "x" : tensor<6x34xf32>
  %p0 = step.input "p0" : tensor<2xf32>
  %p1 = step.input "p1" : tensor<2x1x4xf32>
  %p2 = step.input "p2" : tensor<4xf32>
  %d = step.input "documents" : tensor<2x4xi32>
  // expected-error @+1 {{has documents of 'tensor<2x4xi32>' for 6 rows}}
  %y = step.mamba3_scan %x, %p0, %p0, %p1, %p1, %p2, %p2, %d {batch = 2 : i64, sequence = 3 : i64, heads = 2 : i64, groups = 1 : i64,
       rank = 1 : i64,
       head_dim = 5 : i64, state = 4 : i64, angles = 0 : i64, chunk = 4 : i64, eps = 1.0e-5 : f64,
       operandSegmentSizes = array<i32: 1, 6, 1>}
       : (tensor<6x34xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2x1x4xf32>, tensor<2x1x4xf32>, tensor<4xf32>, tensor<4xf32>,
       tensor<2x4xi32>) -> tensor<6x10xf32>
}

// -----

step.func @cache_without_a_name {
  %x = step.input "x" : tensor<6x34xf32>
  %p0 = step.input "p0" : tensor<2xf32>
  %p1 = step.input "p1" : tensor<2x1x4xf32>
  %p2 = step.input "p2" : tensor<4xf32>
  // expected-error @+1 {{names 0 caches and has 1}}
  %y, %c = step.mamba3_scan %x, %p0, %p0, %p1, %p1, %p2, %p2 {batch = 2 : i64, sequence = 3 : i64, heads = 2 : i64, groups = 1 : i64,
           rank = 1 : i64,
           head_dim = 5 : i64, state = 4 : i64, angles = 0 : i64, chunk = 4 : i64, eps = 1.0e-5 : f64,
           operandSegmentSizes = array<i32: 1, 6, 0>}
           : (tensor<6x34xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2x1x4xf32>, tensor<2x1x4xf32>, tensor<4xf32>, tensor<4xf32>)
           -> (tensor<6x10xf32>, tensor<2x2x1x4x5xf32>)
}

// -----

step.func @cache_named_twice {
  %x = step.input "x" : tensor<6x34xf32>
  %p0 = step.input "p0" : tensor<2xf32>
  %p1 = step.input "p1" : tensor<2x1x4xf32>
  %p2 = step.input "p2" : tensor<4xf32>
  // expected-error @+1 {{names the cache "states" twice}}
  %y, %c:2 = step.mamba3_scan %x, %p0, %p0, %p1, %p1, %p2, %p2 {batch = 2 : i64, sequence = 3 : i64, heads = 2 : i64, groups = 1 : i64,
             rank = 1 : i64,
           head_dim = 5 : i64, state = 4 : i64, angles = 0 : i64, chunk = 4 : i64, eps = 1.0e-5 : f64, cached = ["states", "states"],
           operandSegmentSizes = array<i32: 1, 6, 0>}
           : (tensor<6x34xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2x1x4xf32>, tensor<2x1x4xf32>, tensor<4xf32>, tensor<4xf32>)
           -> (tensor<6x10xf32>, tensor<2x2x1x4x5xf32>, tensor<2x2x1x4x5xf32>)
}

// -----

step.func @grad_of_another_d_y {
  %x = step.input "x" : tensor<6x34xf32>
  %dy = step.input "d_y" : tensor<6x9xf32>
  %p0 = step.input "p0" : tensor<2xf32>
  %p1 = step.input "p1" : tensor<2x1x4xf32>
  %p2 = step.input "p2" : tensor<4xf32>
  // expected-error @+1 {{'y' is 'tensor<6x9xf32>', expected 6 x 10}}
  %d:7 = step.mamba3_scan_grad %dy, %x, %p0, %p0, %p1, %p1, %p2, %p2 {batch = 2 : i64, sequence = 3 : i64, heads = 2 : i64,
         groups = 1 : i64, rank = 1 : i64,
         head_dim = 5 : i64, state = 4 : i64, angles = 0 : i64, chunk = 4 : i64, eps = 1.0e-5 : f64,
         operandSegmentSizes = array<i32: 1, 1, 6, 0, 0>}
         : (tensor<6x9xf32>, tensor<6x34xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2x1x4xf32>, tensor<2x1x4xf32>, tensor<4xf32>,
         tensor<4xf32>)
         -> (tensor<6x34xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2x1x4xf32>, tensor<2x1x4xf32>, tensor<4xf32>, tensor<4xf32>)
}

// -----

step.func @grad_of_another_d_projection {
  %x = step.input "x" : tensor<6x34xf32>
  %dy = step.input "d_y" : tensor<6x10xf32>
  %p0 = step.input "p0" : tensor<2xf32>
  %p1 = step.input "p1" : tensor<2x1x4xf32>
  %p2 = step.input "p2" : tensor<4xf32>
  // expected-error @+1 {{'d_projection' is 'tensor<6x33xf32>', expected 6 x 34}}
  %d:7 = step.mamba3_scan_grad %dy, %x, %p0, %p0, %p1, %p1, %p2, %p2 {batch = 2 : i64, sequence = 3 : i64, heads = 2 : i64,
         groups = 1 : i64, rank = 1 : i64,
         head_dim = 5 : i64, state = 4 : i64, angles = 0 : i64, chunk = 4 : i64, eps = 1.0e-5 : f64,
         operandSegmentSizes = array<i32: 1, 1, 6, 0, 0>}
         : (tensor<6x10xf32>, tensor<6x34xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2x1x4xf32>, tensor<2x1x4xf32>, tensor<4xf32>,
         tensor<4xf32>)
         -> (tensor<6x33xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2x1x4xf32>, tensor<2x1x4xf32>, tensor<4xf32>, tensor<4xf32>)
}

// -----

step.func @grad_of_fewer_parameters {
  %x = step.input "x" : tensor<6x34xf32>
  %dy = step.input "d_y" : tensor<6x10xf32>
  %p0 = step.input "p0" : tensor<2xf32>
  %p1 = step.input "p1" : tensor<2x1x4xf32>
  %p2 = step.input "p2" : tensor<4xf32>
  // expected-error @+1 {{has 5 gradients for 6 parameters}}
  %d:6 = step.mamba3_scan_grad %dy, %x, %p0, %p0, %p1, %p1, %p2, %p2 {batch = 2 : i64, sequence = 3 : i64, heads = 2 : i64,
         groups = 1 : i64, rank = 1 : i64,
         head_dim = 5 : i64, state = 4 : i64, angles = 0 : i64, chunk = 4 : i64, eps = 1.0e-5 : f64,
         operandSegmentSizes = array<i32: 1, 1, 6, 0, 0>}
         : (tensor<6x10xf32>, tensor<6x34xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2x1x4xf32>, tensor<2x1x4xf32>, tensor<4xf32>,
         tensor<4xf32>)
         -> (tensor<6x34xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2x1x4xf32>, tensor<2x1x4xf32>, tensor<4xf32>)
}

// -----

step.func @grad_of_another_parameter {
  %x = step.input "x" : tensor<6x34xf32>
  %dy = step.input "d_y" : tensor<6x10xf32>
  %p0 = step.input "p0" : tensor<2xf32>
  %p1 = step.input "p1" : tensor<2x1x4xf32>
  %p2 = step.input "p2" : tensor<4xf32>
  // expected-error @+1 {{'d_parameters' is 'tensor<8xf32>', expected 2 x 1 x 4}}
  %d:7 = step.mamba3_scan_grad %dy, %x, %p0, %p0, %p1, %p1, %p2, %p2 {batch = 2 : i64, sequence = 3 : i64, heads = 2 : i64,
         groups = 1 : i64, rank = 1 : i64,
         head_dim = 5 : i64, state = 4 : i64, angles = 0 : i64, chunk = 4 : i64, eps = 1.0e-5 : f64,
         operandSegmentSizes = array<i32: 1, 1, 6, 0, 0>}
         : (tensor<6x10xf32>, tensor<6x34xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2x1x4xf32>, tensor<2x1x4xf32>, tensor<4xf32>,
         tensor<4xf32>)
         -> (tensor<6x34xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2x1x4xf32>, tensor<8xf32>, tensor<4xf32>, tensor<4xf32>)
}

// -----

step.func @grad_of_a_parameter_in_bf16 {
  %x = step.input "x" : tensor<6x34xf32>
  %dy = step.input "d_y" : tensor<6x10xf32>
  %p0 = step.input "p0" : tensor<2xf32>
  %p1 = step.input "p1" : tensor<2x1x4xf32>
  %p2 = step.input "p2" : tensor<4xf32>
  // expected-error @+1 {{result #1 must be variadic of statically shaped tensor of 32-bit float values, but got 'tensor<2xbf16>'}}
  %d:7 = step.mamba3_scan_grad %dy, %x, %p0, %p0, %p1, %p1, %p2, %p2 {batch = 2 : i64, sequence = 3 : i64, heads = 2 : i64,
         groups = 1 : i64, rank = 1 : i64,
         head_dim = 5 : i64, state = 4 : i64, angles = 0 : i64, chunk = 4 : i64, eps = 1.0e-5 : f64,
         operandSegmentSizes = array<i32: 1, 1, 6, 0, 0>}
         : (tensor<6x10xf32>, tensor<6x34xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2x1x4xf32>, tensor<2x1x4xf32>, tensor<4xf32>,
         tensor<4xf32>)
         -> (tensor<6x34xf32>, tensor<2xbf16>, tensor<2xbf16>, tensor<2x1x4xbf16>, tensor<2x1x4xbf16>, tensor<4xbf16>, tensor<4xbf16>)
}

// -----

step.func @grad_of_a_cache_without_a_name {
  %x = step.input "x" : tensor<6x34xf32>
  %dy = step.input "d_y" : tensor<6x10xf32>
  %p0 = step.input "p0" : tensor<2xf32>
  %p1 = step.input "p1" : tensor<2x1x4xf32>
  %p2 = step.input "p2" : tensor<4xf32>
  %c = step.zero : tensor<2x2x1x4x5xf32>
  // expected-error @+1 {{names 0 caches and has 1}}
  %d:7 = step.mamba3_scan_grad %dy, %x, %p0, %p0, %p1, %p1, %p2, %p2, %c {batch = 2 : i64, sequence = 3 : i64, heads = 2 : i64,
         groups = 1 : i64, rank = 1 : i64,
         head_dim = 5 : i64, state = 4 : i64, angles = 0 : i64, chunk = 4 : i64, eps = 1.0e-5 : f64,
         operandSegmentSizes = array<i32: 1, 1, 6, 0, 1>}
         : (tensor<6x10xf32>, tensor<6x34xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2x1x4xf32>, tensor<2x1x4xf32>, tensor<4xf32>,
         tensor<4xf32>, tensor<2x2x1x4x5xf32>)
         -> (tensor<6x34xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2x1x4xf32>, tensor<2x1x4xf32>, tensor<4xf32>, tensor<4xf32>)
}

// -----

step.func @gate_of_other_heads {
  %logits = step.input "logits" : tensor<6x2xf32>
  %bias = step.input "bias" : tensor<3xf32>
  // expected-error @+1 {{'bias' is 'tensor<3xf32>', expected 2}}
  %cut = step.state_gate %logits, %bias : (tensor<6x2xf32>, tensor<3xf32>) -> tensor<6x2xf32>
}

// -----

step.func @gate_grad_of_another_d_bias {
  %logits = step.input "logits" : tensor<6x2xf32>
  %bias = step.input "bias" : tensor<2xf32>
  // expected-error @+1 {{'d_bias' is 'tensor<3xf32>', expected 2}}
  %d:2 = step.state_gate_grad %logits, %logits, %bias : (tensor<6x2xf32>, tensor<6x2xf32>, tensor<2xf32>)
         -> (tensor<6x2xf32>, tensor<3xf32>)
}
