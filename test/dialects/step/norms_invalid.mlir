// RUN: megacc-opt %s -split-input-file -verify-diagnostics

step.func @bias_of_other_columns {
  %x = step.zero : tensor<6x4xf32>
  %weight = step.zero : tensor<4xf32>
  %bias = step.zero : tensor<3xf32>
  %alpha = step.zero : tensor<1xf32>
  // expected-error @+1 {{'bias' is 'tensor<3xf32>', expected 4}}
  %y = step.dyt %x, %weight, %bias, %alpha : (tensor<6x4xf32>, tensor<4xf32>, tensor<3xf32>, tensor<1xf32>) -> tensor<6x4xf32>
}

// -----

step.func @alpha_for_each_column {
  %x = step.zero : tensor<6x4xf32>
  %weight = step.zero : tensor<4xf32>
  // expected-error @+1 {{'alpha' is 'tensor<4xf32>', expected 1}}
  %d:4 = step.dyt_grad %x, %x, %weight, %weight
         : (tensor<6x4xf32>, tensor<6x4xf32>, tensor<4xf32>, tensor<4xf32>)
         -> (tensor<6x4xf32>, tensor<4xf32>, tensor<4xf32>, tensor<4xf32>)
}

// -----

step.func @scale_of_other_columns {
  %x = step.zero : tensor<6x4xf32>
  %scale = step.zero : tensor<3xf32>
  // expected-error @+1 {{has a scale of 'tensor<3xf32>' for 4 columns, expected 4 numbers or one}}
  %y = step.scale %x, %scale : (tensor<6x4xf32>, tensor<3xf32>) -> tensor<6x4xf32>
}

// -----

step.func @gradient_of_another_scale {
  %x = step.zero : tensor<6x4xf32>
  %scale = step.zero : tensor<4xf32>
  // expected-error @+1 {{'d_scale' is 'tensor<1xf32>', expected 4}}
  %d:2 = step.scale_grad %x, %x, %scale : (tensor<6x4xf32>, tensor<6x4xf32>, tensor<4xf32>) -> (tensor<6x4xf32>, tensor<1xf32>)
}
