#include "runtime/kernels/GpuBench.h"

using namespace megacc::gpu;

int main() {
  Bench bench;
  struct Shape {
    int64_t batch, sequence, heads, kv_heads, qk_dim, v_dim, documents;
  };
  for (auto [batch, sequence, heads, kv_heads, qk_dim, v_dim, documents] : {Shape{4, 4096, 28, 28, 128, 64, 0},
                                                                            {4, 4096, 28, 28, 128, 64, 4},
                                                                            {1, 16384, 28, 28, 128, 64, 0},
                                                                            {4, 4096, 32, 8, 128, 128, 0},
                                                                            {4, 4096, 32, 32, 64, 64, 0},
                                                                            {2, 4096, 32, 32, 192, 128, 0},
                                                                            {1, 4096, 16, 16, 256, 256, 0},
                                                                            {4, 4096, 28, 28, 96, 64, 0}}) {
    int64_t tokens = batch * sequence, q = tokens * heads * qk_dim, k = tokens * kv_heads * qk_dim, v = tokens * kv_heads * v_dim;
    int64_t y = tokens * heads * v_dim;
    std::string title = "B" + std::to_string(batch) + " S" + std::to_string(sequence) + " h" + std::to_string(heads) + "/" +
                        std::to_string(kv_heads) + " " + std::to_string(qk_dim) + "/" + std::to_string(v_dim);
    if (documents)
      title += " " + std::to_string(documents) + " documents";
    auto give = [&](Call &call) {
      call.randomized("q", MG_BF16, q, 1).randomized("k", MG_BF16, k, 2).randomized("v", MG_BF16, v, 3);
      if (documents) {
        Values ids(tokens);
        for (int64_t t = 0; t < tokens; ++t)
          ids[t] = double(int64_t(t % sequence * documents / sequence));
        call.give("documents", MG_I32, ids);
      }
      call.set("batch", batch)
          .set("sequence", sequence)
          .set("heads", heads)
          .set("kv_heads", kv_heads)
          .set("qk_dim", qk_dim)
          .set("v_dim", v_dim)
          .set("shared_dim", 0);
      call.setReal("scale", 1 / std::sqrt(double(qk_dim)));
    };
    double forward = MG_BENCH(bench, title.c_str(), mg_attention, [&](Call &call) {
      give(call);
      call.poisoned("y", MG_BF16, y).poisoned("lse", MG_F32, tokens * heads);
    });
    double backward = MG_BENCH(bench, (title + " grad").c_str(), mg_attention_grad, [&](Call &call) {
      give(call);
      call.randomized("d_y", MG_BF16, y, 4).randomized("y", MG_BF16, y, 5).randomized("lse", MG_F32, tokens * heads, 6);
      call.poisoned("d_q", MG_BF16, q).poisoned("d_k", MG_BF16, k).poisoned("d_v", MG_BF16, v);
    });
    // Two products forward, five backward, half of the scores, within documents.
    double scores = double(tokens) * double(heads) * double(sequence) / 2 / double(documents ? documents : 1);
    std::printf("%-34s %9.0f TFLOP/s forward, %.0f backward\n", "", 2 * scores * double(qk_dim + v_dim) / forward / 1e9,
                2 * scores * double(3 * qk_dim + 2 * v_dim) / backward / 1e9);
  }
}
