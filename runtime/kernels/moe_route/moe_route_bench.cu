// Times of routing and of moving rows between tokens and experts, beside the card's ceilings; inputs in as many copies as outrun its cache.
#include "runtime/cuda/Bench.cuh"

using namespace megacc::bench;

static int64_t roundUp(int64_t value) { return (value + 63) / 64 * 64; }

static void bench(int64_t tokens, int64_t cols, int64_t experts, int64_t slots, bool sigmoid) {
  const int64_t kept = slots, tiles = (tokens + 63) / 64, picks = tokens * kept, copies = 64;
  std::printf("%lld tokens of %lld channels, %lld of %lld experts, %s\n", (long long)tokens, (long long)cols, (long long)slots,
              (long long)experts, sigmoid ? "sigmoid" : "softmax");
  std::vector<Buffer> logits;
  for (int64_t i = 0; i < copies; ++i)
    logits.emplace_back(MG_F32, tokens * experts, uint32_t(i), 2.0f);
  Buffer weights(MG_F32, picks), choice(MG_I32, picks), position(MG_I32, picks), offsets(MG_I32, experts + 1),
      bias(MG_F32, experts, 99, 0.1f);
  Buffer scratch(MG_RAW, roundUp(tiles * experts * 8) + 2 * roundUp(tiles * experts * 4)), sums(MG_RAW, roundUp(tiles * (experts + 1) * 8));
  Buffer statistics(MG_F64, 2 * experts + 1), aux(MG_F32, 1), z(MG_F32, 1), d_logits(MG_F32, tokens * experts), d_weights(MG_F32, picks, 5);
  std::vector<int64_t> grad_ints = {tokens, tokens, experts, slots, kept, 0, sigmoid};
  printRate("  route", medianMs([&](int i) {
              launch(mg_moe_route, {weights, choice, position, offsets, logits[i % copies], sigmoid ? bias : Buffer(), scratch},
                     {tokens, experts, slots, kept, 0, sigmoid}, {1.0});
            }),
            0, double(tokens * experts * 4 + picks * 12));
  printRate("  statistics", medianMs([&](int i) {
              launch(mg_moe_statistics, {statistics, logits[i % copies], offsets, sums}, {tokens, experts, 0, sigmoid});
            }),
            0, double(tokens * experts * 4));
  printRate("  losses", medianMs([&](int) { launch(mg_moe_losses, {aux, z, statistics}, {tokens, experts}, {1e-4, 1e-3}); }), 0, 0);
  printRate("  route_grad", medianMs([&](int i) {
              launch(mg_moe_route_grad, {d_logits, d_weights, logits[i % copies], choice, statistics}, grad_ints, {1.0, 1e-4, 1e-3});
            }),
            0, double(tokens * experts * 8 + picks * 8));
  Buffer x(MG_BF16, tokens * cols, 1), rows(MG_BF16, picks * cols, 2), y(MG_BF16, tokens * cols, 3), d_rows(MG_BF16, picks * cols);
  const double row_bytes = 2.0 * cols;
  printRate("  dispatch", medianMs([&](int) { launch(mg_moe_dispatch, {rows, x, position, offsets}, {tokens, cols, kept, experts}); }), 0,
            row_bytes * (tokens + picks));
  printRate("  combine", medianMs([&](int) { launch(mg_moe_combine, {y, rows, position, {}}, {tokens, cols, kept}); }), 0,
            row_bytes * (tokens + picks));
  for (const Buffer &buffer : {x, rows, y, d_rows})
    check(cudaFree(buffer.data));
}

int main() {
  printCeilings();
  bench(16384, 3584, 16, 4, false);
  bench(16384, 3584, 16, 4, true);
  bench(16384, 2048, 128, 8, true);
  return 0;
}
