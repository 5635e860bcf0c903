#include "runtime/kernels/GpuBench.h"

using namespace megacc::gpu;

int main() {
  Bench bench;
  constexpr int64_t count = 100'000'000;
  auto describe = [&](Call &call, MgType type, MgType moments) {
    call.randomized("weight", type, count, 1).randomized("m", moments, count, 2).randomized("v", moments, count, 3);
    call.randomized("gradient", MG_F32, count, 4).give("norm", MG_F32, {2}).give("scalars", MG_F32, {1e-3, 0.1, 0.05});
    call.set("count", count).set("decays", 1).set("ranks", 1).set("axes", 0);
    call.setReal("beta1", 0.9).setReal("beta2", 0.95).setReal("eps", 1e-8).setReal("decay", 0.1).setReal("clip", 1);
    if (type == MG_BF16)
      call.randomized("master", MG_F32, count, 1);
  };
  for (MgType type : {MG_BF16, MG_F32}) {
    bool has_master = type == MG_BF16;
    double ms = MG_BENCH(
        bench, has_master ? "adamw bf16 + master" : "adamw f32", mg_adamw, [&](Call &call) { describe(call, type, MG_F32); },
        (has_master ? 30.0 : 28.0) * count);
    std::printf("%.2f ps a parameter\n", ms / count * 1e9);
  }
  for (MgType type : {MG_BF16, MG_F32}) {
    bool has_master = type == MG_BF16;
    double ms = MG_BENCH(
        bench, has_master ? "adamw_rounded bf16 + master" : "adamw_rounded f32", mg_adamw_rounded,
        [&](Call &call) {
          describe(call, type, MG_BF16);
          call.give("step", MG_I32, {7}).give("table", MG_I64, {1, 0, 4711, 0}).set("numbers", 4);
        },
        (has_master ? 22.0 : 20.0) * count);
    std::printf("%.2f ps a parameter\n", ms / count * 1e9);
  }
  // Against what AdamW would take for the same parameters, 30 bytes of each at the rate of a copy.
  struct {
    const char *name;
    int64_t experts, rows, cols;
  } matrices[] = {
      {"muon, z of mamba3's in_proj", 1, 7168, 3584}, {"muon, up of 16 experts", 16, 896, 3584}, {"muon, up of mtp", 1, 18944, 3584}};
  for (const auto &[name, experts, rows, cols] : matrices) {
    int64_t shorter = std::min(rows, cols), longer = std::max(rows, cols);
    double flops = double(experts) * 5 * (4.0 * shorter * shorter * longer + 2.0 * shorter * shorter * shorter);
    double ms = MG_BENCH(bench, name, mg_muon, [&](Call &call) {
      call.randomized("weight", MG_BF16, experts * rows * cols, 1).randomized("m", MG_F32, experts * rows * cols, 2);
      call.randomized("gradient", MG_F32, experts * rows * cols, 3).randomized("master", MG_F32, experts * rows * cols, 1);
      call.give("norm", MG_F32, {2}).give("scalars", MG_F32, {1e-3, 0.1, 0.05}).give("table", MG_I64, {4711, 0}).set("numbers", 2);
      call.set("experts", experts).set("rows", rows).set("cols", cols).set("first", 0).set("run", rows).set("stride", rows);
      call.set("piece_rows", rows).set("pieces", 1).set("spacing", 0).set("iterations", 5).set("nesterov", 1);
      call.setReal("momentum", 0.95).setReal("rms", 0.2).setReal("decay", 0.1).setReal("clip", 1);
    });
    double adamw = 30.0 * double(experts * rows * cols) / bench.copyRate() / 1e6;
    std::printf("%.2f TFLOP in %.3f ms, %.0f TFLOP/s; %.3f ms more than AdamW\n", flops / 1e12, ms, flops / ms / 1e9, ms - adamw);
  }
  MG_BENCH(bench, "square_sum", mg_square_sum,
           [&](Call &call) { call.randomized("x", MG_F32, count, 1).poisoned("sum", MG_F64, 1).set("count", count); });
}
