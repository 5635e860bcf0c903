#include "runtime/kernels/GpuBench.h"

using namespace megacc::gpu;

int main() {
  Bench bench;
  for (auto [rows, cols] : {std::pair<int64_t, int64_t>(16384, 3584), {16384, 4096}, {16384, 704}, {16384, 64}, {16384, 45}}) {
    std::string title = "rms_norm " + std::to_string(rows) + " x " + std::to_string(cols);
    auto give = [&](Call &call) {
      call.randomized("x", MG_BF16, rows * cols, 1)
          .randomized("weight", MG_BF16, cols, 2)
          .set("rows", rows)
          .set("cols", cols)
          .setReal("eps", 1e-5);
    };
    MG_BENCH(bench, title.c_str(), mg_rms_norm, [&](Call &call) {
      give(call);
      call.poisoned("y", MG_BF16, rows * cols).poisoned("rstd", MG_F32, rows);
    });
    title += " grad";
    MG_BENCH(bench, title.c_str(), mg_rms_norm_grad, [&](Call &call) {
      give(call);
      call.randomized("d_y", MG_BF16, rows * cols, 3).randomized("rstd", MG_F32, rows, 4).poisoned("d_x", MG_BF16, rows * cols);
      call.poisoned("d_weight", MG_F32, cols).set("accumulate", 0);
    });
  }
}
