// Declared, checked and counted; it cannot be lowered yet.
// RUN: megacc %s --emit=plan
// RUN: not megacc %s -o %t.so 2>&1 | FileCheck %s
// CHECK: concept is not supported yet
mega.model @example hidden 64 vocab 256 sequence 32 {
  mega.pattern "C" depth 2
  mega.family "C" = concept<concepts = 32, heads = 4>
}

mega.train @step of @example {
  micro_batch = 2, optimizer = adamw<lr = 1.0e-3>
}
