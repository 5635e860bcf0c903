// Times of the M2RNN recurrence at the sizes of nam56r: heads 44, key 64, value 16.
#include "runtime/kernels/GpuBench.h"

using namespace megacc::gpu;

int main() {
  Bench bench;
  constexpr int64_t sequence = 4096, heads = 44, key = 64, value = 16;
  for (int64_t batch : {1, 2, 4, 8}) {
    int64_t rows = batch * sequence, states = batch * heads * (sequence / 16) * key * value;
    auto give = [&](Call &call) {
      call.randomized("q", MG_BF16, rows * key, 1)
          .randomized("k", MG_BF16, rows * key, 2, 0.3)
          .randomized("v", MG_BF16, rows * heads * value, 3);
      call.randomized("f", MG_BF16, rows * heads, 4).randomized("a_log", MG_F32, heads, 5).randomized("dt_bias", MG_F32, heads, 6);
      call.randomized("state_weight", MG_BF16, heads * value * value, 7, 0.25).set("batch", batch).set("sequence", sequence);
      call.set("heads", heads).set("key", key).set("value", value).set("interval", 16).set("accumulate", 0);
    };
    std::string title = "scan B" + std::to_string(batch);
    double forward = MG_BENCH(bench, title.c_str(), mg_m2rnn_scan, [&](Call &call) {
      give(call);
      call.poisoned("y", MG_BF16, rows * heads * value).poisoned("states", MG_BF16, states);
    });
    title += " grad";
    double backward = MG_BENCH(bench, title.c_str(), mg_m2rnn_scan_grad, [&](Call &call) {
      give(call);
      call.randomized("d_y", MG_BF16, rows * heads * value, 8).randomized("states", MG_BF16, states, 9, 0.3);
      call.poisoned("d_q", MG_BF16, rows * key).poisoned("d_k", MG_BF16, rows * key).poisoned("d_v", MG_BF16, rows * heads * value);
      call.poisoned("d_f", MG_BF16, rows * heads).poisoned("d_a_log", MG_F32, heads).poisoned("d_dt_bias", MG_F32, heads);
      call.poisoned("d_state_weight", MG_F32, heads * value * value);
    });
    std::printf("B%lld: forward %.3f ms, forward + backward %.3f ms, %.1f GFLOP/s forward\n", (long long)batch, forward, forward + backward,
                double(rows * heads) * (2 * key * value * value + 7 * key * value) / forward / 1e6);
  }
}
