// RUN: not megacc %s -o %t 2>&1 | FileCheck %s
// RUN: not ls %t
mega.model @caret hidden 8 vocab 8 sequence 8 {
  // CHECK: pattern-caret.mlir:[[#@LINE+3]]:18: error: unknown letter '1' in the pattern
  // CHECK: pattern-caret.mlir:[[#@LINE+2]]:22: error: '|' inside a group
  // CHECK: pattern-caret.mlir:[[#@LINE+1]]:25: error: a repeat of 0 leaves nothing
  mega.pattern "A1F(B|C)x0" depth 4
  mega.family "A" = mlp<width = 8>
}
