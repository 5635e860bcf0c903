// Segments whose sum 64 bits do not hold do not fit.
// RUN: not megacc-opt %s -rt-check-memory 2>&1 | FileCheck %s
// CHECK: error: the step needs 9223372036854775807 bytes, memory allows 1024: weights 9223372036854775000, gradients 9223372036854775000; fix: memory = "8796093022208MiB", or a smaller micro_batch
module attributes {megacc.config = {memory = 1024 : i64}} {
  rt.segment "weights" bytes 9223372036854775000
  rt.segment "gradients" bytes 9223372036854775000
}
