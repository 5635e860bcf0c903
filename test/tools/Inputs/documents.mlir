mega.model @m hidden 32 vocab 256 sequence 32 {
  mega.pattern "F" depth 1
  mega.family "F" = KIND
}
mega.train @step of @m {
  micro_batch = 2, optimizer = adamw<lr = 1.0e-3>
}
