// The convolution and the skip gate of an M2RNN block of nam56r: 832 channels of which 704 pass the gate.
#include "runtime/kernels/GpuBench.h"

using namespace megacc::gpu;

int main() {
  Bench bench;
  constexpr int64_t batch = 4, sequence = 4096, rows = batch * sequence, channels = 832, cols = 704, taps = 4;
  auto give = [&](Call &call) {
    call.randomized("x", MG_BF16, rows * channels, 1)
        .randomized("weight", MG_BF16, channels * taps, 2)
        .randomized("bias", MG_BF16, channels, 3);
    call.set("batch", batch).set("sequence", sequence).set("channels", channels).set("taps", taps).set("silu", 1).set("accumulate", 0);
  };
  MG_BENCH(bench, "causal_conv", mg_causal_conv, [&](Call &call) {
    give(call);
    call.poisoned("y", MG_BF16, rows * channels);
  });
  MG_BENCH(bench, "causal_conv grad", mg_causal_conv_grad, [&](Call &call) {
    give(call);
    call.randomized("d_y", MG_BF16, rows * channels, 4).poisoned("d_x", MG_BF16, rows * channels);
    call.poisoned("d_weight", MG_F32, channels * taps).poisoned("d_bias", MG_F32, channels);
  });
  auto giveGate = [&](Call &call) {
    call.randomized("x", MG_BF16, rows * cols, 1).randomized("v", MG_BF16, rows * cols, 2).randomized("gate", MG_BF16, rows * cols, 3);
    call.randomized("skip", MG_BF16, cols, 4).set("rows", rows).set("cols", cols).set("accumulate", 0);
  };
  MG_BENCH(bench, "skip_gate", mg_skip_gate, [&](Call &call) {
    giveGate(call);
    call.poisoned("y", MG_BF16, rows * cols);
  });
  MG_BENCH(bench, "skip_gate grad", mg_skip_gate_grad, [&](Call &call) {
    giveGate(call);
    call.randomized("d_y", MG_BF16, rows * cols, 5).poisoned("d_x", MG_BF16, rows * cols).poisoned("d_v", MG_BF16, rows * cols);
    call.poisoned("d_gate", MG_BF16, rows * cols).poisoned("d_skip", MG_F32, cols);
  });
}
