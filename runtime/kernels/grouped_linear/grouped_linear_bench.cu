// Times of the grouped products beside the card's ceilings, experts of uneven sizes.
#include "runtime/cuda/Bench.cuh"

using namespace megacc::bench;

/// Offsets of `experts` experts that share `rows` rows; the sizes differ by up to half of their mean, the last `tail` rows hold nothing.
static std::vector<int32_t> unevenOffsets(int64_t rows, int64_t experts, int64_t tail) {
  std::vector<int32_t> offsets = {0};
  for (int64_t e = 1; e < experts; ++e)
    offsets.push_back(int32_t((rows - tail) * e / experts + (e * 7919 % 17 - 8) * (rows / experts) / 32));
  offsets.push_back(int32_t(rows - tail));
  return offsets;
}

static void bench(const char *name, int64_t rows, int64_t in, int64_t out, int64_t experts) {
  std::vector<int32_t> host = unevenOffsets(rows, experts, 0);
  Buffer offsets(MG_I32, experts + 1), x(MG_BF16, rows * in, 1), y(MG_BF16, rows * out, 2), weight(MG_BF16, experts * out * in, 3, 0.02f);
  Buffer d_y(MG_BF16, rows * out, 4), d_x(MG_BF16, rows * in), d_weight(MG_F32, experts * out * in), none(MG_RAW, 0);
  check(cudaMemcpy(offsets.data, host.data(), host.size() * 4, cudaMemcpyHostToDevice));
  none.data = nullptr;
  double flops = 2.0 * rows * in * out;
  std::printf("%s: %lld rows, %lld experts, in %lld, out %lld\n", name, (long long)rows, (long long)experts, (long long)in, (long long)out);
  std::vector<int64_t> ints = {rows, in, out, experts}, sum_ints = {rows, in, out, experts, 0}, add_ints = {rows, in, out, experts, 2};
  for (int round = 0; round < 2; ++round) {
    printRate("  forward", medianMs([&](int) { launch(mg_grouped_linear, {y, x, weight, offsets, none}, ints); }), flops, 0);
    printRate("  grad_input", medianMs([&](int) { launch(mg_grouped_linear_grad_input, {d_x, d_y, weight, offsets, none}, ints); }), flops,
              0);
    printRate("  grad_weight", medianMs([&](int) { launch(mg_grouped_linear_grad_weight, {d_weight, d_y, x, offsets, none}, sum_ints); }),
              flops, 0);
    printRate("  grad_weight, added",
              medianMs([&](int) { launch(mg_grouped_linear_grad_weight, {d_weight, d_y, x, offsets, none}, add_ints); }), flops, 0);
  }
  for (const Buffer &buffer : {offsets, x, y, d_y, d_x, weight, d_weight})
    check(cudaFree(buffer.data));
}

int main() {
  printCeilings();
  bench("up", 65536, 3584, 896, 16);
  bench("down", 65536, 896, 3584, 16);
  bench("square", 65536, 2048, 2048, 16);
  bench("many experts", 65536, 2048, 768, 128);
  printCeilings(); // of the card when warm
  return 0;
}
