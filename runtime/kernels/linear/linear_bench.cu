// Times of the dense products beside the card's ceilings.
#include "runtime/cuda/Bench.cuh"

using namespace megacc::bench;

static int64_t scratchBytes(int64_t terms, int64_t parts) {
  return megacc::runtime::cublas_workspace_bytes + (terms * 2 + 63) / 64 * 64 + (parts + 63) / 64 * 64;
}

static void bench(const char *name, int64_t rows, int64_t in, int64_t out, MgType type) {
  const int64_t padded = (out + 7) / 8 * 8, split = type == MG_F32;
  Buffer x(MG_BF16, rows * in, 1), y(type, rows * out, 2), weight(type, out * in, 3, 0.02f), d_weight(MG_F32, out * in);
  Buffer forward(MG_RAW, scratchBytes(split * 3 * padded * in, split * rows * 3 * padded * 4));
  Buffer input(MG_RAW, scratchBytes(split * rows * 3 * padded, split * 3 * padded * in * 2));
  Buffer sums(MG_RAW, scratchBytes(split * rows * 3 * padded, split * 3 * padded * in * 4));
  double flops = 2.0 * rows * in * out, bytes = double(x.bytes + y.bytes + weight.bytes),
         sum_bytes = double(x.bytes + y.bytes + 2 * d_weight.bytes);
  std::printf("%s: %lld rows, in %lld, out %lld\n", name, (long long)rows, (long long)in, (long long)out);
  printRate("  forward", medianMs([&](int) { launch(mg_linear, {y, x, weight, {}, forward}, {rows, in, out}); }), flops, bytes);
  printRate("  grad_input", medianMs([&](int) { launch(mg_linear_grad_input, {x, y, weight, {}, input}, {rows, in, out}); }), flops, bytes);
  if (!split) {
    printRate("  forward, an addend", medianMs([&](int) { launch(mg_linear, {y, x, weight, y, forward}, {rows, in, out}); }), flops,
              bytes + double(y.bytes));
    printRate("  grad_input, an addend", medianMs([&](int) { launch(mg_linear_grad_input, {x, y, weight, x, input}, {rows, in, out}); }),
              flops, bytes + double(x.bytes));
  }
  printRate("  grad_weight, added", medianMs([&](int) { launch(mg_linear_grad_weight, {d_weight, y, x, sums}, {rows, in, out, 2}); }),
            flops, sum_bytes);
  for (const Buffer &buffer : {x, y, weight, d_weight, forward, input, sums})
    check(cudaFree(buffer.data));
}

int main() {
  printCeilings();
  bench("mamba3 in_proj", 16384, 3584, 22896, MG_BF16);
  bench("mamba3 out_proj", 16384, 7168, 3584, MG_BF16);
  bench("shared expert", 16384, 3584, 1024, MG_BF16);
  bench("router, fp32", 16384, 3584, 16, MG_F32);
  bench("router with a null expert, fp32", 16384, 3584, 17, MG_F32);
  return 0;
}
