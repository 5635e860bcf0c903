// RUN: megacc-opt %s -split-input-file -verify-diagnostics

step.func @f {
  %x = step.input "x" : tensor<6x34xf32>
  %h = step.input "h" : tensor<2xf32>
  %b = step.input "b" : tensor<2x1x4xf32>
  %n = step.input "n" : tensor<4xf32>
  // expected-error @+1 {{has 5 parameters; expected 6, with mimo 9, with a norm one more}}
  %y, %s = step.mamba3_scan %x, %h, %h, %b, %b, %n {batch = 2 : i64, sequence = 3 : i64, heads = 2 : i64, groups = 1 : i64,
           rank = 1 : i64, head_dim = 5 : i64, state = 4 : i64, angles = 0 : i64, chunk = 4 : i64, window = 64 : i64, eps = 1.0e-5 : f64,
           operandSegmentSizes = array<i32: 1, 5, 0>}
           : (tensor<6x34xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2x1x4xf32>, tensor<2x1x4xf32>, tensor<4xf32>)
           -> (tensor<6x10xf32>, tensor<2x2x1x4x5xf32>)
}

// -----

step.func @f {
  %x = step.input "x" : tensor<6x34xf32>
  %h = step.input "h" : tensor<2xf32>
  %b = step.input "b" : tensor<2x1x4xf32>
  %n = step.input "n" : tensor<4xf32>
  // expected-error @+1 {{has 2 heads, which 3 groups cannot share evenly}}
  %y, %s = step.mamba3_scan %x, %h, %h, %b, %b, %n, %n {batch = 2 : i64, sequence = 3 : i64, heads = 2 : i64, groups = 3 : i64,
           rank = 1 : i64, head_dim = 5 : i64, state = 4 : i64, angles = 0 : i64, chunk = 4 : i64, window = 64 : i64, eps = 1.0e-5 : f64,
           operandSegmentSizes = array<i32: 1, 6, 0>}
           : (tensor<6x34xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2x1x4xf32>, tensor<2x1x4xf32>, tensor<4xf32>, tensor<4xf32>)
           -> (tensor<6x10xf32>, tensor<2x2x1x4x5xf32>)
}

// -----

step.func @f {
  %x = step.input "x" : tensor<6x34xf32>
  %h = step.input "h" : tensor<2xf32>
  %b = step.input "b" : tensor<2x1x4xf32>
  %n = step.input "n" : tensor<4xf32>
  // expected-error @+1 {{has no mimo parameters, but rank 2}}
  %y, %s = step.mamba3_scan %x, %h, %h, %b, %b, %n, %n {batch = 2 : i64, sequence = 3 : i64, heads = 2 : i64, groups = 1 : i64,
           rank = 2 : i64, head_dim = 5 : i64, state = 4 : i64, angles = 0 : i64, chunk = 4 : i64, window = 64 : i64, eps = 1.0e-5 : f64,
           operandSegmentSizes = array<i32: 1, 6, 0>}
           : (tensor<6x34xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2x1x4xf32>, tensor<2x1x4xf32>, tensor<4xf32>, tensor<4xf32>)
           -> (tensor<6x10xf32>, tensor<2x2x1x4x5xf32>)
}

// -----

step.func @f {
  %x = step.input "x" : tensor<6x34xf32>
  %h = step.input "h" : tensor<2xf32>
  %b = step.input "b" : tensor<2x1x4xf32>
  %n = step.input "n" : tensor<4xf32>
  // expected-error @+1 {{rotates 3 pairs of 4 channels}}
  %y, %s = step.mamba3_scan %x, %h, %h, %b, %b, %n, %n {batch = 2 : i64, sequence = 3 : i64, heads = 2 : i64, groups = 1 : i64,
           rank = 1 : i64, head_dim = 5 : i64, state = 4 : i64, angles = 3 : i64, chunk = 4 : i64, window = 64 : i64, eps = 1.0e-5 : f64,
           operandSegmentSizes = array<i32: 1, 6, 0>}
           : (tensor<6x34xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2x1x4xf32>, tensor<2x1x4xf32>, tensor<4xf32>, tensor<4xf32>)
           -> (tensor<6x10xf32>, tensor<2x2x1x4x5xf32>)
}

// -----

step.func @f {
  %x = step.input "x" : tensor<6x34xf32>
  %h = step.input "h" : tensor<2xf32>
  %b = step.input "b" : tensor<2x1x4xf32>
  %n = step.input "n" : tensor<4xf32>
  // expected-error @+1 {{has windows of 48 tokens, not a multiple of 64}}
  %y, %s = step.mamba3_scan %x, %h, %h, %b, %b, %n, %n {batch = 2 : i64, sequence = 3 : i64, heads = 2 : i64, groups = 1 : i64,
           rank = 1 : i64, head_dim = 5 : i64, state = 4 : i64, angles = 0 : i64, chunk = 4 : i64, window = 48 : i64, eps = 1.0e-5 : f64,
           operandSegmentSizes = array<i32: 1, 6, 0>}
           : (tensor<6x34xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2x1x4xf32>, tensor<2x1x4xf32>, tensor<4xf32>, tensor<4xf32>)
           -> (tensor<6x10xf32>, tensor<2x2x1x4x5xf32>)
}

// -----

step.func @f {
  %x = step.input "x" : tensor<6x33xf32>
  %h = step.input "h" : tensor<2xf32>
  %b = step.input "b" : tensor<2x1x4xf32>
  %n = step.input "n" : tensor<4xf32>
  // expected-error @+1 {{has a projection of 'tensor<6x33xf32>', expected 6 x 34}}
  %y, %s = step.mamba3_scan %x, %h, %h, %b, %b, %n, %n {batch = 2 : i64, sequence = 3 : i64, heads = 2 : i64, groups = 1 : i64,
           rank = 1 : i64, head_dim = 5 : i64, state = 4 : i64, angles = 0 : i64, chunk = 4 : i64, window = 64 : i64, eps = 1.0e-5 : f64,
           operandSegmentSizes = array<i32: 1, 6, 0>}
           : (tensor<6x33xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2x1x4xf32>, tensor<2x1x4xf32>, tensor<4xf32>, tensor<4xf32>)
           -> (tensor<6x10xf32>, tensor<2x2x1x4x5xf32>)
}

// -----

step.func @f {
  %x = step.input "x" : tensor<6x34xf32>
  %h = step.input "h" : tensor<2xf32>
  %b = step.input "b" : tensor<2x1x3xf32>
  %n = step.input "n" : tensor<4xf32>
  // expected-error @+1 {{has parameter 2 of 'tensor<2x1x3xf32>', expected 8 elements}}
  %y, %s = step.mamba3_scan %x, %h, %h, %b, %b, %n, %n {batch = 2 : i64, sequence = 3 : i64, heads = 2 : i64, groups = 1 : i64,
           rank = 1 : i64, head_dim = 5 : i64, state = 4 : i64, angles = 0 : i64, chunk = 4 : i64, window = 64 : i64, eps = 1.0e-5 : f64,
           operandSegmentSizes = array<i32: 1, 6, 0>}
           : (tensor<6x34xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2x1x3xf32>, tensor<2x1x3xf32>, tensor<4xf32>, tensor<4xf32>)
           -> (tensor<6x10xf32>, tensor<2x2x1x4x5xf32>)
}

// -----

step.func @f {
  %x = step.input "x" : tensor<6x34xf32>
  %h = step.input "h" : tensor<2xf32>
  %b = step.input "b" : tensor<2x1x4xf32>
  %n = step.input "n" : tensor<4xf32>
  // expected-error @+1 {{has results of 'tensor<6x9xf32>' and 'tensor<2x2x1x4x5xf32>', expected 6 x 10 and 1 states a head}}
  %y, %s = step.mamba3_scan %x, %h, %h, %b, %b, %n, %n {batch = 2 : i64, sequence = 3 : i64, heads = 2 : i64, groups = 1 : i64,
           rank = 1 : i64, head_dim = 5 : i64, state = 4 : i64, angles = 0 : i64, chunk = 4 : i64, window = 64 : i64, eps = 1.0e-5 : f64,
           operandSegmentSizes = array<i32: 1, 6, 0>}
           : (tensor<6x34xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2x1x4xf32>, tensor<2x1x4xf32>, tensor<4xf32>, tensor<4xf32>)
           -> (tensor<6x9xf32>, tensor<2x2x1x4x5xf32>)
}

// -----

step.func @f {
  %x = step.input "x" : tensor<6x34xf32>
  %h = step.input "h" : tensor<2xf32>
  %b = step.input "b" : tensor<2x1x4xf32>
  %n = step.input "n" : tensor<4xf32>
  %d = step.input "d" : tensor<2x4xi32>
  // expected-error @+1 {{has documents of 'tensor<2x4xi32>' for 6 rows}}
  %y, %s = step.mamba3_scan %x, %h, %h, %b, %b, %n, %n, %d {batch = 2 : i64, sequence = 3 : i64, heads = 2 : i64, groups = 1 : i64,
           rank = 1 : i64, head_dim = 5 : i64, state = 4 : i64, angles = 0 : i64, chunk = 4 : i64, window = 64 : i64, eps = 1.0e-5 : f64,
           operandSegmentSizes = array<i32: 1, 6, 1>}
           : (tensor<6x34xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2x1x4xf32>, tensor<2x1x4xf32>, tensor<4xf32>, tensor<4xf32>, tensor<2x4xi32>)
           -> (tensor<6x10xf32>, tensor<2x2x1x4x5xf32>)
}

// -----

step.func @f {
  %x = step.input "x" : tensor<6x34xf32>
  %h = step.input "h" : tensor<2xf32>
  %b = step.input "b" : tensor<2x1x4xf32>
  %n = step.input "n" : tensor<4xf32>
  // expected-error @+1 {{caches PsiV as 'tensor<6x2x1x5xf32>', expected 6 x 10 numbers of variant mimo}}
  %y, %s, %p = step.mamba3_scan %x, %h, %h, %b, %b, %n, %n {batch = 2 : i64, sequence = 3 : i64, heads = 2 : i64, groups = 1 : i64,
               rank = 1 : i64, head_dim = 5 : i64, state = 4 : i64, angles = 0 : i64, chunk = 4 : i64, window = 64 : i64, eps = 1.0e-5 : f64,
               operandSegmentSizes = array<i32: 1, 6, 0>}
               : (tensor<6x34xf32>, tensor<2xf32>, tensor<2xf32>, tensor<2x1x4xf32>, tensor<2x1x4xf32>, tensor<4xf32>, tensor<4xf32>)
               -> (tensor<6x10xf32>, tensor<2x2x1x4x5xf32>, tensor<6x2x1x5xf32>)
}
