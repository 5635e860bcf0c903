// Embeddings of several ids of a token, conventions 11.5: rows of their tables, and the weighted sum of what lies there.
#include "runtime/core/Dot.h"
#include "runtime/core/Launch.h"
#include "runtime/core/Scratch.h"
#include "runtime/core/SumTiles.h"
#include "runtime/core/ThreadPool.h"

#include <algorithm>

using namespace megacc::runtime;

static constexpr int64_t tile_rows = 64;

extern "C" {

int32_t mg_component_rows(const MgLaunch *launch) {
  MG_ENTER(mg_component_rows);
  int64_t rows = launch->ints[number::rows], parts = launch->ints[number::parts];
  const int64_t *sizes = static_cast<const int64_t *>(launch->operands[at::table]);
  int32_t *ids = static_cast<int32_t *>(launch->operands[at::ids]);
  int64_t first = 0;
  for (int64_t part = 0; part < parts; first += sizes[part++]) {
    const int32_t *component = integers(launch, at::component + part);
    for (int64_t row = 0; row < rows; ++row)
      ids[row * parts + part] = int32_t(first + std::clamp<int64_t>(component[row], 0, sizes[part] - 1));
  }
  return 0;
}

int32_t mg_weighted_parts(const MgLaunch *launch) {
  MG_ENTER(mg_weighted_parts);
  int64_t rows = launch->ints[number::rows], parts = launch->ints[number::parts], cols = launch->ints[number::cols];
  const float *all = input(launch, at::x), *weight = input(launch, at::weight);
  parallelRanges(rows, tile_rows, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const float *x = all + row * parts * cols;
      float *y = output(launch, at::y) + row * cols;
      for (int64_t i = 0; i < cols; ++i)
        y[i] = weight[0] * x[i];
      for (int64_t part = 1; part < parts; ++part)
        for (int64_t i = 0; i < cols; ++i)
          y[i] += weight[part] * x[part * cols + i];
    }
  });
  return 0;
}

int32_t mg_weighted_parts_grad(const MgLaunch *launch) {
  MG_ENTER(mg_weighted_parts_grad);
  int64_t rows = launch->ints[number::rows], parts = launch->ints[number::parts], cols = launch->ints[number::cols];
  int64_t tiles = (rows + tile_rows - 1) / tile_rows;
  const float *all = input(launch, at::x), *weight = input(launch, at::weight);
  Scratch scratch(launch, at::scratch);
  float *partial = scratch.take<float>(tiles * parts);
  if (int32_t status = scratch.check("mg_weighted_parts_grad"))
    return status;
  parallelRanges(rows, tile_rows, [&](int64_t begin, int64_t end) {
    float *sums = partial + begin / tile_rows * parts;
    std::fill(sums, sums + parts, 0.0f);
    for (int64_t row = begin; row < end; ++row) {
      const float *x = all + row * parts * cols, *d_y = input(launch, at::d_y) + row * cols;
      float *d_x = output(launch, at::d_x) + row * parts * cols;
      for (int64_t part = 0; part < parts; ++part) {
        sums[part] += dot(d_y, x + part * cols, cols);
        for (int64_t i = 0; i < cols; ++i)
          d_x[part * cols + i] = weight[part] * d_y[i];
      }
    }
  });
  sumTiles(partial, tiles, parts, addsToOutput(launch, launch->ints[number::accumulate]), output(launch, at::d_weight));
  return 0;
}
}
