// Kernels that move rows: embedding, rotation, splits and row gates at the sizes of nam56r.
#include "runtime/kernels/GpuBench.h"

using namespace megacc::gpu;

int main() {
  Bench bench;
  constexpr int64_t batch = 4, sequence = 4096, rows = batch * sequence, cols = 3584, vocab = 65536;
  Values tokens;
  for (int64_t t = 0; t < rows; ++t)
    tokens.push_back(double(int64_t(std::pow(65536.0, double(t * 2654435761 % 1000003) / 1000003.0)) - 1)); // like words: few are frequent
  MG_BENCH(
      bench, "embedding", mg_embedding,
      [&](Call &call) {
        call.randomized("table", MG_BF16, vocab * cols, 1).give("tokens", MG_I32, tokens).poisoned("y", MG_BF16, rows * cols);
        call.set("rows", rows).set("cols", cols).set("vocab", vocab).set("vocab_axis", -1);
      },
      4.0 * rows * cols);
  MG_BENCH(
      bench, "embedding grad", mg_embedding_grad,
      [&](Call &call) {
        call.randomized("d_y", MG_BF16, rows * cols, 1).give("tokens", MG_I32, tokens).poisoned("d_table", MG_F32, vocab * cols);
        call.set("rows", rows).set("cols", cols).set("vocab", vocab).set("vocab_axis", -1).set("accumulate", 0);
      },
      4.0 * vocab * cols + 2.0 * rows * cols);
  for (auto [heads, head_dim, offset, width] : {std::array<int64_t, 4>{28, 128, 64, 64}, {1, 64, 0, 64}, {28, 128, 0, 128}}) {
    std::string title = "rope heads " + std::to_string(heads) + " of " + std::to_string(head_dim);
    MG_BENCH(bench, title.c_str(), mg_rope, [&](Call &call) {
      call.randomized("x", MG_BF16, rows * heads * head_dim, 1).poisoned("y", MG_BF16, rows * heads * head_dim).set("rows", rows);
      call.set("sequence", sequence).set("heads", heads).set("head_dim", head_dim).set("offset", offset).set("width", width);
      call.set("inverse", 0).setReal("theta", 10000);
    });
  }
  MG_BENCH(bench, "split 64 64 704 748", mg_split, [&](Call &call) {
    call.randomized("x", MG_BF16, rows * 1580, 1).set("rows", rows).set("groups", 1).set("parts", 4);
    int64_t widths[] = {64, 64, 704, 748};
    for (int p = 0; p < 4; ++p)
      call.poisoned("part", MG_BF16, rows * widths[p]).set("width" + std::to_string(p), widths[p]);
  });
  MG_BENCH(bench, "split 28 x (64, 64)", mg_split, [&](Call &call) {
    call.randomized("x", MG_BF16, rows * 28 * 128, 1).set("rows", rows).set("groups", 28).set("parts", 2);
    for (int p = 0; p < 4; ++p)
      call.set("width" + std::to_string(p), p < 2 ? 64 : 0);
    call.poisoned("part", MG_BF16, rows * 28 * 64).poisoned("part", MG_BF16, rows * 28 * 64);
  });
  MG_BENCH(bench, "repeat_groups 28 x 64", mg_repeat_groups, [&](Call &call) {
    call.randomized("x", MG_BF16, rows * 64, 1).poisoned("y", MG_BF16, rows * 28 * 64);
    call.set("rows", rows).set("groups", 28).set("width", 64).setReal("scale", 1.0);
  });
  MG_BENCH(bench, "sum_groups 28 x 64", mg_sum_groups, [&](Call &call) {
    call.randomized("x", MG_BF16, rows * 28 * 64, 1).poisoned("y", MG_BF16, rows * 64);
    call.set("rows", rows).set("groups", 28).set("width", 64).setReal("scale", 1.0);
  });
  MG_BENCH(bench, "row_gate", mg_row_gate, [&](Call &call) {
    call.randomized("x", MG_BF16, rows * cols, 1).randomized("gate", MG_BF16, rows, 2).poisoned("y", MG_BF16, rows * cols);
    call.set("rows", rows).set("cols", cols);
  });
  MG_BENCH(bench, "row_gate grad", mg_row_gate_grad, [&](Call &call) {
    call.randomized("x", MG_BF16, rows * cols, 1).randomized("gate", MG_BF16, rows, 2).randomized("d_y", MG_BF16, rows * cols, 3);
    call.poisoned("d_x", MG_BF16, rows * cols).poisoned("d_gate", MG_BF16, rows).set("rows", rows).set("cols", cols);
  });
  MG_BENCH(bench, "shift", mg_shift, [&](Call &call) {
    call.randomized("x", MG_BF16, rows * cols, 1).poisoned("y", MG_BF16, rows * cols).set("batch", batch).set("sequence", sequence);
    call.set("cols", cols).set("distance", 1);
  });
}
