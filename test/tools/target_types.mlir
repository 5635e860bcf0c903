// On sm_90a activations and weights are bf16. f32 stay: the parameters of conventions 3.1, router logits and weights, caches, losses, and the
// gradients of all parameters.
// RUN: megacc %s --target=sm_90a --emit=step > %t
// RUN: FileCheck %s < %t
// RUN: FileCheck %s --check-prefix=STATE < %t
// On the cpu everything is f32.
// RUN: megacc %s --emit=step | FileCheck %s --check-prefix=CPU
// CPU: megacc.target = "cpu"
// CPU-NOT: xbf16>

mega.model @families hidden 64 vocab 80 sequence 32 {
  mega.pattern "AFLEMSR" depth 7
  mega.family "A" = attention<heads = 4, head_dim = 16>
  mega.family "F" = mlp<width = 48, activation = gelu>
  mega.family "L" = mla<heads = 4, q_rank = 12, kv_rank = 20, nope = 8, rope = 4, value = 6>
  mega.family "E" = moe<experts = 4, top_k = 2, width = 16, shared = 24, router = sigmoid, aux = 1.0e-2, z = 1.0e-3, shared_gate = true>
  mega.family "M" = mamba3<head_dim = 16, state = 16, rank = 2, chunk = 8, out_norm = true>
  mega.family "S" = mamba3<head_dim = 16, state = 16, rank = 1, chunk = 8, variant = siso>
  mega.family "R" = m2rnn<key = 9, value = 5, heads = 3, conv = 4>
  mega.place ngram_hash<orders = [2], heads = 1, rows = 101, dim = 8> on input
  mega.place mtp<depth = 1, width = 40, weight = 0.5> on objective
}
mega.train @step of @families { micro_batch = 2, precision = bf16, optimizer = adamw<lr = 1.0e-3> }
