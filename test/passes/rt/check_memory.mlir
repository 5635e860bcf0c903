// RUN: not megacc %s --model tight --emit=rt --recompute=none 2>&1 | FileCheck %s
// RUN: not megacc %s --model tight --emit=rt 2>&1 | FileCheck %s --check-prefix=AUTO
// RUN: megacc %s --model roomy -o %t.so
// RUN: not megacc %s --model tight --emit=plan 2>&1 | FileCheck %s --check-prefix=AUTO
// RUN: not megacc %s --model tight --emit=rt --recompute=none --memory=41728B 2>&1 | FileCheck %s --check-prefix=CHANGES
// RUN: megacc %s --model tight --emit=rt --memory=41728B -o %t.rt
// RUN: megacc %s --model tight --emit=rt --recompute=none --memory=41472B --micro-batch 1 --accumulate 2 -o %t.rt
// RUN: megacc %s --model tight --emit=rt --recompute=none --memory=36608B --mesh tp=2 -o %t.rt
// CHANGES: error: the step needs 46080 bytes, memory allows 41728: {{.*}}; fix: memory = "1MiB", or a smaller micro_batch
// CHANGES-NEXT: note: alive at the peak of a micro-batch, head (linear_cross_entropy): 10,376 bytes
// CHANGES-NEXT: 1 x 2.000 KiB linear_cross_entropy (scratch): head
// CHANGES: note: one of these changes would do, by planning again:
// CHANGES-NEXT: --recompute=auto: 41,728 bytes, {{[0-9.]+}} ms a step
// CHANGES-NEXT: --mesh tp=2: 31,744 bytes, {{[0-9.]+}} ms a step
// CHECK: error: the step needs [[BYTES:[0-9]+]] bytes, memory allows 16384: weights 8192, optimizer 16384, gradients 8192, temporaries {{[0-9]+}} (the peak is in @micro_batch), io {{[0-9]+}}; fix: memory = "1MiB", or a smaller micro_batch
// AUTO: error: the step needs 41728 bytes (46080 where everything is kept), memory allows 16384: weights 8192, optimizer 16384,
// AUTO-SAME: gradients 8192, temporaries 6912 (the peak is in @micro_batch), io 2048; fix: memory = "1MiB", or a smaller micro_batch
// AUTO-NEXT: note: alive at the peak of a micro-batch, head (linear_cross_entropy): 6,216 bytes
// AUTO: note: no single change would do, by planning again:
// AUTO-NEXT: --mesh tp=8: needs 20,736 bytes
// AUTO-NEXT: --micro-batch 1 --accumulate 2: needs 39,168 bytes
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
