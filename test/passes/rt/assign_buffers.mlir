// Bytes for every value of a whole step: gradients written where they are kept, an output in place of an input that dies.
// RUN: megacc-opt %s -model-pipeline -train-pipeline -memory-pipeline -step-select-kernels -step-assign-buffers | FileCheck %s
// RUN: megacc-opt %s -model-pipeline -train-pipeline -launch-pipeline > %t
// RUN: megacc %s --emit=rt | diff - %t
mega.model @small hidden 16 vocab 32 sequence 8 {
  mega.pattern "F" depth 1
  mega.family "F" = mlp<width = 24, activation = relu2>
}
mega.train @step of @small { micro_batch = 2, accumulate = 2, optimizer = adamw<lr = 1.0e-3> }

// CHECK-DAG: rt.parameter "embedding.weight" : tensor<32x16xf32> at <weights[0 : 2048]> {{.*}}first_moment = #rt.range<optimizer[0 : 2048]>, gradient = #rt.range<gradients[0 : 2048]>{{.*}}second_moment = #rt.range<optimizer[8192 : 2048]>
// CHECK-DAG: rt.parameter "blocks.0.norm.weight" : tensor<16xf32> at <weights[7168 : 64]>
// CHECK-DAG: rt.parameter "final_norm.weight" : tensor<16xf32> at <weights[7680 : 64]>
// CHECK-DAG: rt.input "tokens" : tensor<2x8xi32> at <io[0 : 64 + 256 m] i32>
// CHECK-DAG: rt.segment "weights" bytes 8192
// CHECK-DAG: rt.segment "optimizer" bytes 16384
// CHECK-DAG: rt.segment "temporaries" bytes [[BYTES:[0-9]+]] {live_bytes = [[BYTES]] : i64, peak = "micro_batch"}

// CHECK-LABEL: rt.func @micro_batch
// The mixer's last product adds the residual.
// CHECK: rt.call @mg_linear(out temporaries[{{.*}}] value 5, in temporaries[{{.*}}] value 4, in weights[3584 : 1536], in temporaries[{{.*}}] value 0, scratch
// The head's gradient goes straight to the gradients, its logits are scratch.
// CHECK: rt.call @mg_linear_cross_entropy(out {{.*}}, out {{.*}}, sum gradients[5120 : 2048], {{.*}}scratch temporaries[{{.*}} : 2048] raw) {rows = 16, cols = 16, vocab = 32, logit_rows = 16, accumulate = 1, scale = 5.000000e-01}
// CHECK: rt.call @mg_linear_grad_weight(sum gradients[3584 : 1536], {{.*}}accumulate = 1}
// The gradient before the activation takes the place of the one after it.
// CHECK: rt.call @mg_activation_grad(out temporaries[[[PLACE:.*]]] value 13, null, in temporaries[[[PLACE]]] value 12,
// CHECK-NOT: mg_accumulate(
// CHECK-LABEL: rt.func @update
// CHECK: rt.call @mg_adamw(inout weights[0 : 7168], null, inout optimizer[0 : 7168], inout optimizer[8192 : 7168], in gradients[0 : 7168], {{.*}}decays = 1
// Seven times 1792 numbers.
// CHECK-SAME: cost 0 50192
// CHECK: rt.call @mg_adamw(inout weights[7168 : 1024], null, {{.*}}decays = 0
