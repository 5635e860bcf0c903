// Token embedding: rows of a table, and the sum of gradients over equal tokens in token order.
#include "runtime/core/Launch.h"
#include "runtime/core/Status.h"
#include "runtime/core/ThreadPool.h"

#include <algorithm>
#include <cstring>

using namespace megacc::runtime;

static int32_t checkTokens(const int32_t *tokens, int64_t rows, int64_t vocab) {
  for (int64_t t = 0; t < rows; ++t)
    if (tokens[t] < 0 || tokens[t] >= vocab)
      return mg_fail("token id %d at position %ld of the micro-batch is outside the vocabulary of %ld; fix: tokenize with that vocabulary",
                     tokens[t], long(t), long(vocab));
  return 0;
}

extern "C" {

int32_t mg_embedding(const MgLaunch *launch) {
  int64_t rows = launch->ints[0], cols = launch->ints[1], vocab = launch->ints[2];
  float *y = output(launch, 0);
  const float *table = input(launch, 1);
  const int32_t *tokens = integers(launch, 2);
  if (int32_t status = checkTokens(tokens, rows, vocab))
    return status;
  parallelRanges(rows, 256, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t)
      std::memcpy(y + t * cols, table + tokens[t] * cols, cols * sizeof(float));
  });
  return 0;
}

int32_t mg_embedding_grad(const MgLaunch *launch) {
  int64_t rows = launch->ints[0], cols = launch->ints[1], vocab = launch->ints[2];
  bool add = addsToOutput(launch, launch->ints[3]);
  float *d_table = output(launch, 0);
  const float *d_y = input(launch, 1);
  const int32_t *tokens = integers(launch, 2);
  // Each tile owns a range of the vocabulary, so that equal tokens are summed by one thread in token order.
  parallelRanges(vocab, std::max<int64_t>(16, (vocab + 7) / 8), [&](int64_t begin, int64_t end) {
    if (!add)
      std::memset(d_table + begin * cols, 0, (end - begin) * cols * sizeof(float));
    for (int64_t t = 0; t < rows; ++t) {
      if (tokens[t] < begin || tokens[t] >= end)
        continue;
      float *row = d_table + tokens[t] * cols;
      for (int64_t j = 0; j < cols; ++j)
        row[j] += d_y[t * cols + j];
    }
  });
  return 0;
}
}
