// What follows the sizes of a model: any order is read, one is printed, and not the defaults. A stack has every key.
// RUN: megacc-opt %s -mega-check --verify-roundtrip | FileCheck %s
// RUN: megacc-opt %s -model-pipeline --verify-roundtrip | FileCheck %s --check-prefix=STACK
// RUN: megacc %s --model both --emit=stack | FileCheck %s --check-prefix=TEXT
// TEXT: model @both hidden 16 vocab 61 sequence 8 depth 1 norm dyt layer_scale 0.1

// CHECK: mega.model @both hidden 16 vocab 61 sequence 8 norm dyt<attention_alpha = 0.8> layer_scale 0.1 {
// STACK: mega.stack @both hidden 16 vocab 61 sequence 8 norm dyt<alpha = 0.5, attention_alpha = 0.8> layer_scale 0.1 {
mega.model @both hidden 16 vocab 61 sequence 8 layer_scale 1.0e-1 norm dyt<attention_alpha = 0.8> {
  mega.pattern "F" depth 1
  mega.family "F" = mlp<width = 16>
}

// CHECK: mega.model @alike hidden 16 vocab 61 sequence 8 norm dyt<alpha = 0.25> {
// STACK: mega.stack @alike hidden 16 vocab 61 sequence 8 norm dyt<alpha = 0.25, attention_alpha = 0.25> cuts [1] {
mega.model @alike hidden 16 vocab 61 sequence 8 norm dyt<alpha = 0.25> {
  mega.pattern "F|F" depth 2
  mega.family "F" = mlp<width = 16>
}

// CHECK: mega.model @neither hidden 16 vocab 61 sequence 8 {
// STACK: mega.stack @neither hidden 16 vocab 61 sequence 8 {
mega.model @neither hidden 16 vocab 61 sequence 8 norm rms layer_scale 0.0 {
  mega.pattern "F" depth 1
  mega.family "F" = mlp<width = 16>
}
