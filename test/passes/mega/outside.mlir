// What stands where it is not read is refused, not dropped.
// RUN: megacc-opt %s --mega-check -verify-diagnostics

mega.model @m hidden 32 vocab 256 sequence 32 {
  mega.pattern "F" depth 1
  mega.family "F" = mlp<width = 64>
  // expected-error @+1 {{'mega.train' stands inside of a mega.model; fix: move it out, beside the models}}
  mega.train @step of @m {micro_batch = 2, optimizer = adamw<lr = 1.0e-3>} // mega.module.c2
  // expected-error @+1 {{'mega.model' stands inside of a mega.model}}
  mega.model @inner hidden 1 vocab 1 sequence 1 {
    mega.pattern "F" depth 1
  }
}

// expected-error @+1 {{'mega.place' stands outside of a mega.model; fix: move it into the braces of one}}
mega.place mtp<depth = 1> on objective // mega.module.c1
// expected-error @+1 {{'mega.pattern' stands outside of a mega.model}}
mega.pattern "F" depth 1
// expected-error @+1 {{'mega.family' stands outside of a mega.model}}
mega.family "F" = mlp<width = 64>

module {
  // expected-error @+1 {{'mega.model' stands inside of another operation}}
  mega.model @nested hidden 1 vocab 1 sequence 1 {
  }
}
