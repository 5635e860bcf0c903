// Placements on letters move onto their blocks, with their rank among them; those on the input and the objective stay.
// RUN: megacc-opt %s -mega-check -mega-expand-pattern -mega-place-features | FileCheck %s

// CHECK: mega.block 0 "A" rank 0 = mlp<{{.*}}> with [engram<{{.*}}order = 0{{.*}}>]
// CHECK-NEXT: mega.block 1 "A" rank 1 = mlp<{{.*}}>{{$}}
// CHECK-NEXT: mega.block 2 "A" rank 2 = mlp<{{.*}}> with [engram<{{.*}}order = 1{{.*}}>]
// CHECK-NOT: mega.place engram
// CHECK: mega.place ngram_hash
mega.model @placed hidden 64 vocab 72 sequence 32 {
  mega.pattern "A" depth 3
  mega.family "A" = mlp<width = 32>
  mega.place engram<orders = [2, 3]> on "A" ranks [0, 2]
  mega.place ngram_hash<rows = 100> on input
}
mega.train @step of @placed { micro_batch = 2, optimizer = adamw<lr = 1.0e-3> }
