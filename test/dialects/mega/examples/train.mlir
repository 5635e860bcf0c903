// RUN: megacc %s -o %t.so
mega.model @example hidden 64 vocab 256 sequence 32 {
  mega.pattern "F" depth 2
  mega.family "F" = mlp<width = 128>
}

mega.train @step of @example {
  micro_batch = 4, accumulate = 2, precision = fp32, seed = 7, clip = 1.0, memory = "1GiB", mesh = <dp = 1>,
  optimizer = adamw<lr = 3.0e-3, beta2 = 0.99, decay = 0.01, schedule = cosine<warmup = 10, steps = 200, final = 3.0e-4>>
}
