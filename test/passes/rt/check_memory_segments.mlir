// Every segment counts, constants too; empty ones are not listed.
// RUN: not megacc-opt %s -rt-check-memory 2>&1 | FileCheck %s
// RUN: sed "s/memory = 1023/memory = 1024/" %s | megacc-opt -rt-check-memory
// CHECK: error: the step needs 1024 bytes, memory allows 1023: weights 256, temporaries 512 (the peak is in @update), constants 256; fix: memory = "1MiB"
module attributes {megacc.config = {memory = 1023 : i64}} {
  rt.segment "weights" bytes 256
  rt.segment "gradients" bytes 0
  rt.segment "temporaries" bytes 512 {live_bytes = 512 : i64, peak = "update"}
  rt.segment "constants" bytes 256
}
