// A stack has one block per slot; the pattern may end mid-tile, keys that follow from others are written out.
// RUN: megacc-opt %s -mega-check -mega-expand-pattern --verify-roundtrip | FileCheck %s --check-prefixes=CHECK,EXPANDED
// RUN: megacc-opt %s -model-pipeline --verify-roundtrip | FileCheck %s --check-prefixes=CHECK,PLACED

// CHECK: mega.stack @hybrid hidden 64 vocab 72 sequence 32 {
// EXPANDED-NEXT: mega.block 0 "A" rank 0 = attention<head_dim = 16, heads = 4, kv_heads = 4, rope = 16, theta = 1.0e+04>{{$}}
// PLACED-NEXT: mega.block 0 "A" rank 0 = attention<{{.*}}> with [engram<{{.*}}dim = 16{{.*}}, order = 0, {{.*}}>]{{$}}
// CHECK-NEXT: mega.block 1 "M" rank 0 = mamba3<angles = 4, chunk = 16, decay = softplus, expand = 2, groups = 1, head_dim = 32, heads = 4, inner = 128,
// CHECK-NEXT: mega.block 2 "A" rank 1 = attention<{{.*}}>{{$}}
// CHECK-NEXT: mega.block 3 "M" rank 1
// EXPANDED-NEXT: mega.block 4 "A" rank 2 = attention<{{.*}}>{{$}}
// PLACED-NEXT: mega.block 4 "A" rank 2 = attention<{{.*}}> with [engram<{{.*}}, order = 1, {{.*}}>]{{$}}
// CHECK-NEXT: mega.family "A" = attention<
// CHECK-NEXT: mega.family "M" = mamba3<
// EXPANDED-NEXT: mega.place engram<{{.*}}> on "A" ranks [2, 0]
// CHECK-NEXT: mega.place structure<components = "structure,dep_level", dim = 64, sizes = [9, 16]> on input
// CHECK-NEXT: }
// CHECK: mega.train @step of @hybrid {micro_batch = 2, accumulate = 1, seed = 0, precision = fp32, clip = 1.0, documents = false, optimizer = adamw<lr = 0.001, beta1 = 0.9, beta2 = 0.95, eps = 1.0e-08, decay = 0.1, schedule = constant>, memory = "132GiB"}
mega.model @hybrid hidden 64 vocab 72 sequence 32 {
  mega.pattern "am" depth 5
  mega.family "A" = attention<heads = 4, head_dim = 16>
  mega.family "m" = mamba3<head_dim = 32, state = 16, rank = 4>
  mega.place engram<orders = [2, 3]> on "A" ranks [2, 0]
  mega.place structure<components = "core"> on input
}
mega.train @step of @hybrid { micro_batch = 2, memory = "132GiB", optimizer = adamw<lr = 1.0e-3> }

// The cuts of pipeline stages are recorded.
// CHECK: mega.stack @staged hidden 64 vocab 72 sequence 32 cuts [2] {
mega.model @staged hidden 64 vocab 72 sequence 32 {
  mega.pattern "AA | A" depth 3
  mega.family "A" = attention<heads = 4, head_dim = 16>
}
