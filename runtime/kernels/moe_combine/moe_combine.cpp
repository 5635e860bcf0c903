// Between tokens and rows sorted by expert: copies of the tokens, sums of what the experts make of them, and the weights of picks.
#include "runtime/core/ClearTail.h"
#include "runtime/core/Launch.h"
#include "runtime/core/ThreadPool.h"

#include <cstring>

using namespace megacc::runtime;

static constexpr int64_t tile_rows = 64, tile_picks = 16384;

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
  const float *rows = input(launch, at::rows), *addend = input(launch, at::addend);
  const int32_t *position = integers(launch, at::position);
  parallelRanges(tokens, tile_rows, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      float *y = output(launch, at::y) + t * cols;
      if (addend)
        std::memmove(y, addend + t * cols, cols * sizeof(float));
      else
        std::memset(y, 0, cols * sizeof(float));
      for (int64_t k = 0; k < kept; ++k)
        if (int64_t row = position[t * kept + k]; row >= 0)
          for (int64_t j = 0; j < cols; ++j)
            y[j] += rows[row * cols + j];
    }
  });
  return 0;
}

int32_t mg_moe_dispatch_weights(const MgLaunch *launch) {
  MG_ENTER(mg_moe_dispatch_weights);
  int64_t picks = launch->ints[number::picks];
  float *rows = output(launch, at::rows);
  const float *weights = input(launch, at::weights);
  const int32_t *position = integers(launch, at::position);
  parallelRanges(picks, tile_picks, [&](int64_t begin, int64_t end) {
    for (int64_t pick = begin; pick < end; ++pick)
      if (position[pick] >= 0)
        rows[position[pick]] = weights[pick];
  });
  clearTail(rows, integers(launch, at::offsets)[launch->ints[number::experts]], picks, 1);
  return 0;
}

int32_t mg_moe_dispatch_weights_grad(const MgLaunch *launch) {
  MG_ENTER(mg_moe_dispatch_weights_grad);
  float *d_weights = output(launch, at::d_weights);
  const float *d_rows = input(launch, at::d_rows);
  const int32_t *position = integers(launch, at::position);
  parallelRanges(launch->ints[number::picks], tile_picks, [&](int64_t begin, int64_t end) {
    for (int64_t pick = begin; pick < end; ++pick)
      d_weights[pick] = position[pick] < 0 ? 0.0f : d_rows[position[pick]];
  });
  return 0;
}
}
