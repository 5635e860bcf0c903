mega.model @m hidden 32 vocab 256 sequence 32 {
  mega.pattern "F" depth 1
  mega.family "F" = mlp<width = 64>
  mega.place structure<components = "LIST"> on input
}
