// dyt stands for the norms of the residual, those of prediction too, and lifts the embedding; what a block adds is scaled after everything
// that joins it. Norms inside mixers stay.
// RUN: megacc-opt %s -model-pipeline -mega-to-step -step-differentiate -step-add-optimizer -step-check-global | FileCheck %s
// RUN: megacc-opt %s -model-pipeline -mega-to-step=target=sm_90a | FileCheck %s --check-prefix=TYPES

mega.model @variants hidden 16 vocab 61 sequence 12 norm dyt<alpha = 0.4, attention_alpha = 0.9> layer_scale 0.1 {
  mega.pattern "AE" depth 2
  mega.family "A" = mla<heads = 2, q_rank = 8, kv_rank = 8, nope = 4, rope = 4, value = 4>
  mega.family "E" = moe<experts = 2, top_k = 1, width = 8>
  mega.place engram<orders = [2]> on "A" ranks [0]
  mega.place mhc<streams = 2> on "A" ranks [0]
  mega.place mod<capacity = 0.5> on "E" ranks [0]
  mega.place mtp<depth = 1, width = 16> on objective
}

mega.train @step of @variants { micro_batch = 2, precision = bf16, optimizer = adamw<lr = 3.0e-3> }

// TYPES: step.parameter @embedding.scale : tensor<1xf32> init constant {{.*}}init_a = 4.000000e+00
// TYPES: step.parameter @blocks.0.norm.weight : tensor<16xbf16>
// TYPES: step.parameter @blocks.0.norm.bias : tensor<16xbf16> init constant {{.*}}init_a = 0.0
// TYPES: step.parameter @blocks.0.norm.alpha : tensor<1xf32> init constant {{.*}}init_a = 9.0
// TYPES: step.parameter @blocks.0.layer_scale : tensor<16xbf16> init constant {{.*}}init_a = 1.0
// TYPES: step.parameter @blocks.1.norm.alpha : tensor<1xf32> init constant {{.*}}init_a = 4.0
// TYPES: step.parameter @mtp.0.hidden_norm.alpha : tensor<1xf32> init constant {{.*}}init_a = 4.0
// TYPES: step.parameter @mtp.0.blocks.0.norm.alpha : tensor<1xf32> init constant {{.*}}init_a = 9.0
// TYPES: step.parameter @mtp.0.blocks.1.layer_scale : tensor<16xbf16>
// TYPES: step.parameter @mtp.0.final_norm.bias : tensor<16xbf16>

// CHECK-LABEL: step.func @micro_batch
// CHECK: %[[LIFT:.*]] = step.read @embedding.scale
// CHECK: %[[E:.*]] = step.scale %{{.*}}, %[[LIFT]]
// CHECK: step.mhc_read
// CHECK: step.dyt {{.*}}nonfinite = "nonfinite.embedding"
// CHECK: step.rms_norm
// CHECK: %[[SUM:.*]] = step.add
// CHECK: step.mhc_write
// CHECK: step.mod_take
// CHECK: step.dyt
// CHECK: %[[PUT:.*]] = step.mod_put
// CHECK: step.scale %[[PUT]]
// CHECK: step.shift %[[E]]
// CHECK-COUNT-5: step.dyt{{ }}
// CHECK: step.dyt_grad
// CHECK: step.accumulate @mtp.0.final_norm.alpha
// CHECK: step.scale_grad
// CHECK: step.accumulate @mtp.0.blocks.1.layer_scale
// CHECK: step.accumulate @embedding.scale
