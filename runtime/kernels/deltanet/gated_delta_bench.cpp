// Times of the gated delta rule at the sizes of a model of 2048 columns: heads 32, key heads 16, key and value 128.
#include "runtime/kernels/GpuBench.h"

using namespace megacc::gpu;

int main() {
  Bench bench;
  constexpr int64_t sequence = 4096, heads = 32, groups = 16, key = 128, value = 128, chunk = 64;
  for (int64_t batch : {1, 4}) {
    int64_t rows = batch * sequence, states = batch * heads * (sequence / chunk) * key * value;
    auto give = [&](Call &call) {
      call.randomized("q", MG_BF16, rows * groups * key, 1).randomized("k", MG_BF16, rows * groups * key, 2);
      call.randomized("v", MG_BF16, rows * heads * value, 3).randomized("b", MG_BF16, rows * heads, 4);
      call.randomized("a", MG_BF16, rows * heads, 5).randomized("a_log", MG_F32, heads, 6).randomized("dt_bias", MG_F32, heads, 7);
      call.set("batch", batch).set("sequence", sequence).set("heads", heads).set("key_heads", groups);
      call.set("key", key).set("value", value).set("chunk", chunk).set("neg_eigval", 0);
    };
    std::string title = "delta B" + std::to_string(batch);
    double forward = MG_BENCH(bench, title.c_str(), mg_gated_delta, [&](Call &call) {
      give(call);
      call.poisoned("y", MG_BF16, rows * heads * value).poisoned("states", MG_BF16, states);
    });
    title += " grad";
    double backward = MG_BENCH(bench, title.c_str(), mg_gated_delta_grad, [&](Call &call) {
      give(call);
      call.randomized("d_y", MG_BF16, rows * heads * value, 8).randomized("states", MG_BF16, states, 9, 0.3);
      call.poisoned("d_q", MG_BF16, rows * groups * key).poisoned("d_k", MG_BF16, rows * groups * key);
      call.poisoned("d_v", MG_BF16, rows * heads * value).poisoned("d_b", MG_BF16, rows * heads).poisoned("d_a", MG_BF16, rows * heads);
      call.poisoned("d_a_log", MG_F32, heads).poisoned("d_dt_bias", MG_F32, heads);
    });
    std::printf("B%lld: forward %.3f ms, forward + backward %.3f ms, %.1f GFLOP/s forward\n", (long long)batch, forward, forward + backward,
                double(rows * heads) * (4 * chunk * (key + value) + 6 * key * value) / forward / 1e6);
  }
}
