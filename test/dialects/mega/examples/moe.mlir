// RUN: megacc %s -o %t.so
mega.model @example hidden 64 vocab 256 sequence 32 {
  mega.pattern "E" depth 2
  mega.family "E" = moe<experts = 8, top_k = 2, width = 32, shared = 64, router = sigmoid, bias_rate = 1.0e-3>
}

mega.train @step of @example {
  micro_batch = 2, optimizer = adamw<lr = 1.0e-3>
}
