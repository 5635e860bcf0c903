// Hashed n-grams add to the embedding, in training and evaluation; documents bound the n-grams.
// RUN: megacc-opt %s -model-pipeline -mega-to-step -step-differentiate -step-add-optimizer -step-check-global | FileCheck %s
// RUN: megacc %s --documents --emit=rt | megacc-opt --verify-roundtrip | FileCheck %s --check-prefix=RT

mega.model @hashed hidden 16 vocab 61 sequence 12 {
  mega.pattern "F" depth 1
  mega.family "F" = mlp<width = 24>
  mega.place ngram_hash<orders = [2, 4], heads = 2, rows = 101, dim = 3, seed = 7> on input
}

mega.train @step of @hashed { micro_batch = 2, optimizer = adamw<lr = 3.0e-3> }

// CHECK: megacc.declaration = {{{.*}}placements = [{dim = 3 : i64, heads = 2 : i64, kind = "ngram_hash", orders = [2, 4], rows = 101 : i64, seed = 7 : i64}]}
// CHECK: step.parameter @ngram_hash.table.weight : tensor<420x3xf32>
// CHECK: step.parameter @ngram_hash.proj.weight : tensor<16x12xf32> init constant {{.*}}init_a = 0.0
// CHECK-LABEL: step.func @micro_batch
// CHECK: %[[TOKENS:.*]] = step.input "tokens"
// CHECK: %[[E:.*]] = step.embedding {{.*}}, %[[TOKENS]]
// CHECK: %[[ROWS:.*]] = step.ngram_rows %[[TOKENS]] {{.*}}orders = array<i64: 2, 2, 4, 4>, {{.*}}seed = 7 : i64, sizes = array<i64: 101, 103, 107, 109>
// CHECK: %[[FOUND:.*]] = step.embedding %{{.*}}, %[[ROWS]] {{.*}} -> tensor<24x12xf32>
// CHECK: %[[PROJ:.*]] = step.linear %[[FOUND]]
// CHECK: step.add %[[E]], %[[PROJ]]
// CHECK: %[[D:.*]] = step.embedding_grad %{{.*}}, %[[ROWS]] {{.*}} -> tensor<420x3xf32>
// CHECK: step.accumulate @ngram_hash.table.weight, %[[D]]
// CHECK-LABEL: step.func @evaluate
// CHECK: step.ngram_rows

// RT-LABEL: rt.func @micro_batch
// RT: rt.call @mg_ngram_rows(out temporaries{{.*}}, in io{{.*}}, in io{{.*}}, table constants[0 : 224] i64) {batch = 2, sequence = 12, count = 4, longest = 4}
// RT: rt.call @mg_embedding_grad(sum gradients{{.*}} {rows = 96, cols = 3, vocab = 420, vocab_axis = -1, accumulate = 1}
