// Input of reduce.test.
// RUN: megacc %s --model second --emit=stack | FileCheck %s
// CHECK: moe
mega.model @first hidden 32 vocab 256 sequence 32 {
  mega.pattern "A" depth 1
  mega.family "A" = attention<heads = 4, head_dim = 8>
}
mega.model @second hidden 32 vocab 256 sequence 32 {
  mega.pattern "E" depth 1
  mega.family "E" = moe<experts = 4, top_k = 2, width = 16>
}
mega.model @third hidden 32 vocab 256 sequence 32 {
  mega.pattern "F" depth 1
  mega.family "F" = mlp<width = 64>
}
