#include "runtime/kernels/GpuBench.h"

using namespace megacc::gpu;

int main() {
  Bench bench;
  constexpr int64_t count = 100'000'000;
  for (MgType type : {MG_BF16, MG_F32}) {
    bool has_master = type == MG_BF16;
    double ms = MG_BENCH(
        bench, has_master ? "adamw bf16 + master" : "adamw f32", mg_adamw,
        [&](Call &call) {
          call.randomized("weight", type, count, 1).randomized("m", MG_F32, count, 2).randomized("v", MG_F32, count, 3);
          call.randomized("gradient", MG_F32, count, 4).give("norm", MG_F32, {2}).give("scalars", MG_F32, {1e-3, 0.1, 0.05});
          call.set("count", count).set("decays", 1).setReal("beta1", 0.9).setReal("beta2", 0.95).setReal("eps", 1e-8);
          call.setReal("decay", 0.1).setReal("clip", 1);
          if (has_master)
            call.randomized("master", MG_F32, count, 1);
        },
        (has_master ? 30.0 : 28.0) * count);
    std::printf("%.2f ps a parameter\n", ms / count * 1e9);
  }
  MG_BENCH(bench, "square_sum", mg_square_sum,
           [&](Call &call) { call.randomized("x", MG_F32, count, 1).poisoned("sum", MG_F64, 1).set("count", count); });
}
