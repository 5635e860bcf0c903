// Token embedding: rows of a table, and the sum of gradients over equal tokens in token order.
#include "runtime/core/Launch.h"
#include "runtime/core/Scratch.h"
#include "runtime/core/ThreadPool.h"

#include <algorithm>
#include <cstring>

using namespace megacc::runtime;

extern "C" {

int32_t mg_embedding(const MgLaunch *launch) {
  MG_ENTER(mg_embedding);
  int64_t rows = launch->ints[number::rows], cols = launch->ints[number::cols], vocab = launch->ints[number::vocab];
  int64_t axis = launch->ints[number::vocab_axis], first = partBegin(launch, axis, vocab), whole = vocab * partCount(launch, axis);
  float *y = output(launch, at::y);
  const float *table = input(launch, at::table);
  const int32_t *tokens = integers(launch, at::tokens);
  parallelRanges(rows, 256, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      if (int64_t row = tokens[t] - first; row >= 0 && row < vocab)
        std::memcpy(y + t * cols, table + row * cols, cols * sizeof(float));
      else
        std::memset(y + t * cols, 0, cols * sizeof(float));
    }
  });
  raiseFlag(launch, output(launch, at::invalid),
            std::any_of(tokens, tokens + rows, [&](int32_t token) { return token < 0 || token >= whole; }));
  return 0;
}

int32_t mg_embedding_grad(const MgLaunch *launch) {
  MG_ENTER(mg_embedding_grad);
  if (int32_t status = Scratch(launch, at::scratch).check("mg_embedding_grad"))
    return status;
  int64_t rows = launch->ints[number::rows], cols = launch->ints[number::cols], vocab = launch->ints[number::vocab];
  int64_t first = partBegin(launch, launch->ints[number::vocab_axis], vocab);
  bool add = addsToOutput(launch, launch->ints[number::accumulate]);
  float *d_table = output(launch, at::d_table);
  const float *d_y = input(launch, at::d_y);
  const int32_t *tokens = integers(launch, at::tokens);
  // Each tile owns a range of the vocabulary, so that equal tokens are summed by one thread in token order.
  parallelRanges(vocab, std::max<int64_t>(16, (vocab + 7) / 8), [&](int64_t begin, int64_t end) {
    if (!add)
      std::memset(d_table + begin * cols, 0, (end - begin) * cols * sizeof(float));
    for (int64_t t = 0; t < rows; ++t) {
      int64_t token = tokens[t] - first;
      if (token < begin || token >= end)
        continue;
      float *row = d_table + token * cols;
      for (int64_t j = 0; j < cols; ++j)
        row[j] += d_y[t * cols + j];
    }
  });
  return 0;
}
}
