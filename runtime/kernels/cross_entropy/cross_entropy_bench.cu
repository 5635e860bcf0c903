// Times of the head beside the card's ceilings: whole, and its products alone.
#include "runtime/cuda/Bench.cuh"

#include <random>

using namespace megacc::bench;
using megacc::runtime::cublas_workspace_bytes;

static constexpr int64_t rows = 16384, cols = 3584, vocab = 65536;

static int64_t scratchBytes(int64_t logit_rows) {
  return cublas_workspace_bytes + (logit_rows * vocab * 2 + 63) / 64 * 64 + (rows * 4 + 63) / 64 * 64;
}

int main() {
  printCeilings();
  Buffer x(MG_BF16, rows * cols, 1), weight(MG_BF16, vocab * cols, 2, 0.03f), d_x(MG_BF16, rows * cols), d_weight(MG_F32, vocab * cols);
  Buffer loss(MG_F32, 1), invalid(MG_F32, 1), valid(MG_F32, 1), targets(MG_I32, rows);
  std::vector<int32_t> words(rows);
  std::mt19937 generator(3);
  for (int32_t &word : words)
    word = int32_t(generator() % vocab);
  float count = rows;
  check(cudaMemcpy(targets.data, words.data(), targets.bytes, cudaMemcpyHostToDevice));
  check(cudaMemcpy(valid.data, &count, sizeof count, cudaMemcpyHostToDevice));
  std::printf("%lld rows, %lld columns, vocabulary %lld\n", (long long)rows, (long long)cols, (long long)vocab);
  const double product_flops = 2.0 * rows * cols * vocab;
  for (int64_t logit_rows : {2048, 4096, 8192, 16384}) {
    std::printf("%lld rows of logits at a time\n", (long long)logit_rows);
    Buffer scratch(MG_RAW, scratchBytes(logit_rows)), workspace(MG_RAW, cublas_workspace_bytes),
        logits(MG_BF16, logit_rows * vocab, 5, 1e-5f);
    auto timeProduct = [&](const char *name, megacc::runtime::MatrixProduct product, const Buffer &a, const Buffer &b, const Buffer &d,
                           bool add = false) {
      MgContext context = {};
      MgLaunch call = {};
      call.context = &context;
      double ms = medianMs([&](int) {
        check(megacc::runtime::multiplyMatrices(&call, product, a.data, b.data, add ? d.data : nullptr, d.data, workspace.data));
      });
      printRate(name, ms * double(rows / logit_rows), product_flops, 0);
      return ms * double(rows / logit_rows);
    };
    double products = timeProduct("  d_x alone", {logit_rows, cols, vocab, false, false, MG_BF16}, logits, weight, d_x);
    products += timeProduct("  d_weight alone, added", {vocab, cols, logit_rows, true, false, MG_F32}, logits, x, d_weight, true);
    products += timeProduct("  logits alone", {logit_rows, vocab, cols, false, true, MG_BF16}, x, weight, logits);
    double ms = medianMs([&](int) {
      launch(mg_linear_cross_entropy, {loss, d_x, d_weight, invalid, x, weight, targets, valid, scratch},
             {rows, cols, vocab, logit_rows, 2}, {1.0});
    });
    printRate("  forward and backward", ms, 3 * product_flops, 0);
    printRate("  less its products", ms - products, 0, 4.0 * rows * vocab);
    printRate("  evaluation", medianMs([&](int) {
                launch(mg_linear_cross_entropy_evaluate, {loss, valid, x, weight, targets, scratch}, {1, rows, cols, vocab, logit_rows});
              }),
              product_flops, 0);
    check(cudaMemcpy(valid.data, &count, sizeof count, cudaMemcpyHostToDevice));
    for (const Buffer &buffer : {scratch, workspace, logits})
      check(cudaFree(buffer.data));
  }
  Buffer logits(MG_F32, 4 * vocab), positions(MG_I32, 4), scratch(MG_RAW, cublas_workspace_bytes + 4 * cols * 2);
  check(cudaMemset(positions.data, 0, positions.bytes));
  printRate("logits of 4 rows",
            medianMs([&](int) { launch(mg_logits_at, {logits, x, weight, positions, scratch}, {4, rows / 4, cols, vocab}); }), 0,
            double(weight.bytes));
  return 0;
}
