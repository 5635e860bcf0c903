// RUN: not megacc %s --model tight --emit=rt --recompute=none 2>&1 | FileCheck %s
// RUN: not megacc %s --model tight --emit=rt 2>&1 | FileCheck %s --check-prefix=AUTO
// RUN: megacc %s --model roomy -o %t.so
// RUN: not megacc %s --model tight --emit=plan 2>&1 | FileCheck %s --check-prefix=AUTO
// CHECK: error: the step needs [[BYTES:[0-9]+]] bytes, memory allows 16384: weights 8192, optimizer 16384, gradients 8192, temporaries {{[0-9]+}} (the peak is in @micro_batch), io {{[0-9]+}}; fix: memory = "1MiB", or a smaller micro_batch
// AUTO: error: the step needs 41728 bytes (46080 where everything is kept), memory allows 16384: weights 8192, optimizer 16384,
// AUTO-SAME: gradients 8192, temporaries 6912 (the peak is in @micro_batch), io 2048; fix: memory = "1MiB", or a smaller micro_batch
mega.model @tight hidden 16 vocab 32 sequence 8 {
  mega.pattern "F" depth 1
  mega.family "F" = mlp<width = 24>
}
mega.model @roomy hidden 16 vocab 32 sequence 8 {
  mega.pattern "F" depth 1
  mega.family "F" = mlp<width = 24>
}
mega.train @tight_step of @tight { micro_batch = 2, memory = "16KiB", optimizer = adamw<lr = 1.0e-3> }
mega.train @roomy_step of @roomy { micro_batch = 2, memory = "1MiB", optimizer = adamw<lr = 1.0e-3> }
