// Between tokens and rows sorted by expert: copies of the tokens, and weighted sums of what the experts make of them.
#include "runtime/core/ClearTail.h"
#include "runtime/core/Dot.h"
#include "runtime/core/Launch.h"
#include "runtime/core/ThreadPool.h"

#include <cstring>

using namespace megacc::runtime;

static constexpr int64_t tile_rows = 64;

extern "C" {

int32_t mg_moe_dispatch(const MgLaunch *launch) {
  MG_ENTER(mg_moe_dispatch);
  int64_t tokens = launch->ints[number::tokens], cols = launch->ints[number::cols], kept = launch->ints[number::kept];
  float *rows = output(launch, at::rows);
  const float *x = input(launch, at::x);
  const int32_t *position = integers(launch, at::position);
  parallelRanges(tokens, tile_rows, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t)
      for (int64_t k = 0; k < kept; ++k)
        if (int64_t row = position[t * kept + k]; row >= 0)
          std::memcpy(rows + row * cols, x + t * cols, cols * sizeof(float));
  });
  clearTail(rows, integers(launch, at::offsets)[launch->ints[number::experts]], tokens * kept, cols);
  return 0;
}

int32_t mg_moe_combine(const MgLaunch *launch) {
  MG_ENTER(mg_moe_combine);
  int64_t tokens = launch->ints[number::tokens], cols = launch->ints[number::cols], kept = launch->ints[number::kept];
  const float *rows = input(launch, at::rows), *weights = input(launch, at::weights), *addend = input(launch, at::addend);
  const int32_t *position = integers(launch, at::position);
  parallelRanges(tokens, tile_rows, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      float *y = output(launch, at::y) + t * cols;
      if (addend)
        std::memmove(y, addend + t * cols, cols * sizeof(float));
      else
        std::memset(y, 0, cols * sizeof(float));
      for (int64_t k = 0; k < kept; ++k) {
        int64_t pick = t * kept + k;
        if (position[pick] < 0)
          continue;
        const float *row = rows + position[pick] * cols;
        float weight = weights ? weights[pick] : 1.0f;
        for (int64_t j = 0; j < cols; ++j)
          y[j] += weight * row[j];
      }
    }
  });
  return 0;
}

int32_t mg_moe_combine_grad(const MgLaunch *launch) {
  MG_ENTER(mg_moe_combine_grad);
  int64_t tokens = launch->ints[number::tokens], cols = launch->ints[number::cols], kept = launch->ints[number::kept];
  float *d_rows = output(launch, at::d_rows), *d_weights = output(launch, at::d_weights);
  const float *d_y = input(launch, at::d_y), *rows = input(launch, at::rows), *weights = input(launch, at::weights);
  const int32_t *position = integers(launch, at::position);
  parallelRanges(tokens, tile_rows, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t)
      for (int64_t k = 0; k < kept; ++k) {
        int64_t pick = t * kept + k, row = position[pick];
        d_weights[pick] = 0.0f;
        if (row < 0)
          continue;
        const float *g = d_y + t * cols;
        d_weights[pick] = dot(g, rows + row * cols, cols); // before d_rows takes its place
        float *d_row = d_rows + row * cols, weight = weights[pick];
        for (int64_t j = 0; j < cols; ++j)
          d_row[j] = weight * g[j];
      }
  });
  clearTail(d_rows, integers(launch, at::offsets)[launch->ints[number::experts]], tokens * kept, cols);
  return 0;
}
}
