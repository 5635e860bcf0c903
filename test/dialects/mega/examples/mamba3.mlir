// RUN: megacc %s -o %t.so
mega.model @example hidden 64 vocab 256 sequence 32 {
  mega.pattern "M" depth 2
  mega.family "M" = mamba3<head_dim = 32, state = 32, groups = 2, rank = 2, chunk = 16>
}

mega.train @step of @example {
  micro_batch = 2, optimizer = adamw<lr = 1.0e-3>
}
