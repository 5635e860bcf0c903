// Element types are set once: bf16 on the card but for what is declared fp32, router logits, statistics and losses; fp32 on the cpu.
// RUN: megacc-opt %s -model-pipeline -mega-to-step=target=sm_90a -mlir-print-op-generic | FileCheck %s
// RUN: megacc-opt %s -model-pipeline -mega-to-step | FileCheck %s --check-prefix=CPU

mega.model @typed hidden 64 vocab 80 sequence 32 {
  mega.pattern "EM" depth 2
  mega.family "E" = moe<experts = 4, top_k = 2, width = 16, router = sigmoid>
  mega.family "M" = mamba3<head_dim = 16, state = 16, rank = 2, chunk = 8>
}
mega.train @step of @typed { micro_batch = 2, precision = bf16, optimizer = adamw<lr = 1.0e-3> }

// CHECK: sym_name = "embedding.weight", {{.*}}type = tensor<80x64xbf16>
// CHECK: sym_name = "blocks.0.norm.weight", {{.*}}type = tensor<64xbf16>
// CHECK: sym_name = "blocks.0.mixer.router.weight", {{.*}}type = tensor<4x64xf32>
// CHECK: sym_name = "blocks.0.mixer.router.bias", {{.*}}type = tensor<4xf32>
// CHECK: sym_name = "blocks.0.mixer.experts.up.weight", {{.*}}type = tensor<4x16x64xbf16>
// CHECK: sym_name = "blocks.1.mixer.dt_bias", {{.*}}type = tensor<8xf32>
// CHECK: sym_name = "blocks.1.mixer.B_norm.weight", {{.*}}type = tensor<16xbf16>
// CHECK: "step.func"() <{sym_name = "micro_batch"}>
// CHECK: "step.embedding"({{.*}}) -> tensor<64x64xbf16>
// CHECK: "step.rms_norm"({{.*}}) -> tensor<64x64xbf16>
// CHECK: "step.linear"({{.*}} : (tensor<64x64xbf16>, tensor<4x64xf32>) -> tensor<64x4xf32>
// CHECK: "step.moe_route"({{.*}} -> (tensor<64x2xf32>, tensor<64x2xi32>, tensor<64x2xi32>, tensor<5xi32>
// CHECK: "step.moe_dispatch"({{.*}} -> tensor<128x64xbf16>
// CHECK: "step.grouped_linear"({{.*}} -> tensor<128x16xbf16>
// CHECK: "step.moe_combine"({{.*}} -> tensor<64x64xbf16>
// CHECK: "step.add"({{.*}} -> tensor<64x64xbf16>
// CHECK: "step.mamba3_scan"({{.*}} -> tensor<64x128xbf16>
// CHECK: "step.linear_cross_entropy"({{.*}} : (tensor<64x64xbf16>, tensor<80x64xbf16>, tensor<2x32xi32>, tensor<1xf32>) -> (tensor<1xf32>, tensor<64x64xbf16>, tensor<80x64xf32>)
// CHECK: "step.func"() <{sym_name = "evaluate"}>
// CHECK: "step.linear_cross_entropy_evaluate"({{.*}} -> (tensor<2xf32>, tensor<2xf32>)
// CHECK: "step.logits_at"({{.*}} -> tensor<2x80xf32>
// CHECK: megacc.target = "sm_90a"

// CPU: megacc.target = "cpu"
// CPU-NOT: bf16>
