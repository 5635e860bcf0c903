// What psi_v takes is batch * sequence * heads * rank * head_dim numbers of the activations' type, whatever decides on it; a kernel that does
// not keep it refuses to, with the names of the setting and of the gate.
// RUN: megacc %s --model unit --target=sm_90a --psiv-cache=auto --emit=plan | FileCheck %s --check-prefix=UNIT
// RUN: megacc %s --model unit --target=sm_90a --micro-batch 8 --psiv-cache=auto --emit=plan | FileCheck %s --check-prefix=UNIT8
// RUN: megacc %s --model wide --target=sm_90a --psiv-cache=auto --emit=plan | FileCheck %s --check-prefix=WIDE
// RUN: megacc %s --model wide --target=sm_90a --micro-batch 10 --psiv-cache=auto --emit=plan | FileCheck %s --check-prefix=WIDE10
// RUN: megacc %s --model narrow --target=sm_90a --psiv-cache=auto --emit=plan | FileCheck %s --check-prefix=NARROW
// RUN: megacc %s --model narrow --target=sm_90a --micro-batch 2 --psiv-cache=auto --emit=plan | FileCheck %s --check-prefix=NARROW2
// RUN: not megacc %s --model unit --target=sm_90a --psiv-cache=on --emit=plan 2>&1 | FileCheck %s --check-prefix=REFUSED
// RUN: rm -f %t.so
// RUN: not env CPPMEGA_MAMBA3_P2_PSIV_CACHE=1 megacc %s --model unit --target=sm_90a -o %t.so 2>&1 | FileCheck %s --check-prefix=REFUSED
// RUN: not env CPPMEGA_MAMBA3_P2_PSIV_CACHE=true megacc %s --model unit --target=sm_90a -o %t.so 2>&1 | FileCheck %s --check-prefix=REFUSED
// RUN: not env CPPMEGA_MAMBA3_P2_PSIV_CACHE=True megacc %s --model unit --target=sm_90a -o %t.so 2>&1 | FileCheck %s --check-prefix=REFUSED
// RUN: not ls %t.so
// RUN: env CPPMEGA_MAMBA3_P2_PSIV_CACHE=0 megacc %s --model unit --target=sm_90a --emit=plan | FileCheck %s --check-prefix=SILENT
// RUN: env CPPMEGA_MAMBA3_P2_PSIV_CACHE=yes megacc %s --model unit --target=sm_90a --emit=plan | FileCheck %s --check-prefix=SILENT
// RUN: env CPPMEGA_MAMBA3_P2_PSIV_CACHE=1 megacc %s --model unit --target=sm_90a --psiv-cache=off --emit=plan | FileCheck %s --check-prefix=SILENT

// UNIT: blocks.0.mixer/scan: psiv_cache = auto: off, a cache of 67108864 bytes is written and read to save one multiplication per number, in 0.033 ms; sm_90a.mamba3_scan has none
// UNIT8: psiv_cache = auto: off, a cache of 536870912 bytes
// WIDE: psiv_cache = auto: off, a cache of 2147483648 bytes
// WIDE10: psiv_cache = auto: off, a cache of 2684354560 bytes
// NARROW: psiv_cache = auto: off, a cache of 939524096 bytes
// NARROW2: psiv_cache = auto: off, a cache of 469762048 bytes
// REFUSED: psiv_cache = on, but sm_90a.mamba3_scan keeps no psi_v (67108864 bytes here; 2 ops would): x * mimo_x costs less than reading it;
// REFUSED-SAME: fix: psiv_cache = off, unset CPPMEGA_MAMBA3_P2_PSIV_CACHE (docs/plan.md)
// REFUSED-NOT: error
// SILENT-NOT: psi
mega.model @unit hidden 512 vocab 256 sequence 8192 {
  mega.pattern "M" depth 2
  mega.family "M" = mamba3<expand = 2, head_dim = 64, state = 64, rank = 4>
}
mega.train @unit_step of @unit { micro_batch = 1, precision = bf16, optimizer = adamw<lr = 1.0e-3> }

mega.model @wide hidden 4096 vocab 256 sequence 4096 {
  mega.pattern "M" depth 1
  mega.family "M" = mamba3<expand = 2, head_dim = 64, state = 64, rank = 4>
}
mega.train @wide_step of @wide { micro_batch = 8, precision = bf16, optimizer = adamw<lr = 1.0e-3> }

mega.model @narrow hidden 3584 vocab 256 sequence 4096 {
  mega.pattern "M" depth 1
  mega.family "M" = mamba3<expand = 2, head_dim = 64, state = 64, rank = 4>
}
mega.train @narrow_step of @narrow { micro_batch = 4, precision = bf16, optimizer = adamw<lr = 1.0e-3> }
