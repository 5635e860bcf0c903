#include "runtime/kernels/GpuBench.h"

using namespace megacc::gpu;

int main() {
  Bench bench;
  constexpr int64_t rows = 16384, width = 3584, count = rows * width;
  MG_BENCH(bench, "add", mg_add, [&](Call &call) {
    call.randomized("a", MG_BF16, count, 1).randomized("b", MG_BF16, count, 2).poisoned("y", MG_BF16, count).set("count", count);
  });
  MG_BENCH(bench, "copy", mg_copy,
           [&](Call &call) { call.randomized("x", MG_BF16, count, 1).poisoned("y", MG_BF16, count).set("count", count); });
  MG_BENCH(
      bench, "accumulate f32", mg_accumulate,
      [&](Call &call) {
        call.randomized("x", MG_F32, count, 1)
            .randomized("sum", MG_F32, count, 2)
            .set("count", count)
            .set("accumulate", 2)
            .setReal("scale", 1);
      },
      12.0 * count);
  MG_BENCH(bench, "fill_zero f32", mg_fill_zero,
           [&](Call &call) { call.poisoned("y", MG_F32, count).set("count", count).set("accumulate", 0); });
  const char *names[] = {"gelu", "gelu_tanh", "relu2", "swiglu"};
  for (int64_t kind = 0; kind < 4; ++kind) {
    int64_t wide = count * (kind == 3 ? 2 : 1);
    std::string title = names[kind];
    MG_BENCH(bench, title.c_str(), mg_activation, [&](Call &call) {
      call.randomized("x", MG_BF16, wide, 1).poisoned("y", MG_BF16, count).set("rows", rows).set("width", width).set("kind", kind);
    });
    title += " grad";
    MG_BENCH(bench, title.c_str(), mg_activation_grad, [&](Call &call) {
      call.randomized("x", MG_BF16, wide, 1).randomized("d_y", MG_BF16, count, 2).poisoned("d_x", MG_BF16, wide);
      call.set("rows", rows).set("width", width).set("kind", kind);
    });
  }
}
