// Packed projections: parts side by side within each group of columns, and one group repeated for many.
#include "runtime/core/Launch.h"
#include "runtime/core/ThreadPool.h"

#include <cstring>

using namespace megacc::runtime;

static constexpr int64_t tile_rows = 64;

// Calls move(offset of the part's group in the packed row, offset in the part, width, part) for every row and group. Both kernels have the
// same parameters.
template <typename Move> static void forEachPiece(const MgLaunch *launch, Move &&move) {
  namespace number = number_mg_split;
  int64_t rows = launch->ints[number::rows], groups = launch->ints[number::groups], parts = launch->ints[number::parts];
  const int64_t *widths = launch->ints + number::width0;
  int64_t stride = 0;
  for (int64_t part = 0; part < parts; ++part)
    stride += widths[part];
  parallelRanges(rows, tile_rows, [&](int64_t begin, int64_t end) {
    for (int64_t group = begin * groups; group < end * groups; ++group)
      for (int64_t part = 0, offset = 0; part < parts; offset += widths[part++])
        move(group * stride + offset, group * widths[part], widths[part], part);
  });
}

extern "C" {

int32_t mg_split(const MgLaunch *launch) {
  MG_ENTER(mg_split);
  const float *x = input(launch, at::x);
  forEachPiece(launch, [&](int64_t packed, int64_t piece, int64_t width, int64_t part) {
    std::memcpy(output(launch, at::part + part) + piece, x + packed, width * sizeof(float));
  });
  return 0;
}

int32_t mg_concat(const MgLaunch *launch) {
  MG_ENTER(mg_concat);
  float *y = output(launch, at::y);
  forEachPiece(launch, [&](int64_t packed, int64_t piece, int64_t width, int64_t part) {
    std::memcpy(y + packed, input(launch, at::part + part) + piece, width * sizeof(float));
  });
  return 0;
}

int32_t mg_repeat_groups(const MgLaunch *launch) {
  MG_ENTER(mg_repeat_groups);
  int64_t rows = launch->ints[number::rows], groups = launch->ints[number::groups], width = launch->ints[number::width];
  float scale = float(launch->doubles[real::scale]);
  const float *addend = input(launch, at::addend);
  parallelRanges(rows, tile_rows, [&](int64_t begin, int64_t end) {
    for (int64_t group = begin * groups; group < end * groups; ++group) {
      float *y = output(launch, at::y) + group * width;
      const float *x = input(launch, at::x) + group / groups * width;
      for (int64_t j = 0; j < width; ++j)
        y[j] = x[j] * scale + (addend ? addend[group * width + j] : 0.0f);
    }
  });
  return 0;
}

int32_t mg_sum_groups(const MgLaunch *launch) {
  MG_ENTER(mg_sum_groups);
  int64_t rows = launch->ints[number::rows], groups = launch->ints[number::groups], width = launch->ints[number::width];
  float scale = float(launch->doubles[real::scale]);
  parallelRanges(rows, tile_rows, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t)
      for (int64_t j = 0; j < width; ++j) {
        float sum = 0;
        for (int64_t g = 0; g < groups; ++g)
          sum += input(launch, at::x)[(t * groups + g) * width + j];
        output(launch, at::y)[t * width + j] = sum * scale;
      }
  });
  return 0;
}
}
