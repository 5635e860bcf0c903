// Packed projections: parts side by side within each group of columns, and one group repeated for many.
#include "runtime/core/Launch.h"
#include "runtime/core/ThreadPool.h"

#include <cstring>

using namespace megacc::runtime;

static constexpr int64_t tile_rows = 64;

// Calls move(offset of the part's group in the packed row, offset in the part, width, part) for every row and group.
template <typename Move> static void forEachPiece(const MgLaunch *launch, Move &&move) {
  int64_t rows = launch->ints[0], groups = launch->ints[1], parts = launch->ints[2];
  const int64_t *widths = launch->ints + 3;
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
  const float *x = input(launch, launch->ints[2]);
  forEachPiece(launch, [&](int64_t packed, int64_t piece, int64_t width, int64_t part) {
    std::memcpy(output(launch, part) + piece, x + packed, width * sizeof(float));
  });
  return 0;
}

int32_t mg_concat(const MgLaunch *launch) {
  float *y = output(launch, 0);
  forEachPiece(launch, [&](int64_t packed, int64_t piece, int64_t width, int64_t part) {
    std::memcpy(y + packed, input(launch, part + 1) + piece, width * sizeof(float));
  });
  return 0;
}

int32_t mg_repeat_groups(const MgLaunch *launch) {
  int64_t rows = launch->ints[0], groups = launch->ints[1], width = launch->ints[2];
  parallelRanges(rows, tile_rows, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t)
      for (int64_t g = 0; g < groups; ++g)
        std::memcpy(output(launch, 0) + (t * groups + g) * width, input(launch, 1) + t * width, width * sizeof(float));
  });
  return 0;
}

int32_t mg_sum_groups(const MgLaunch *launch) {
  int64_t rows = launch->ints[0], groups = launch->ints[1], width = launch->ints[2];
  parallelRanges(rows, tile_rows, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t)
      for (int64_t j = 0; j < width; ++j) {
        float sum = 0;
        for (int64_t g = 0; g < groups; ++g)
          sum += input(launch, 1)[(t * groups + g) * width + j];
        output(launch, 0)[t * width + j] = sum;
      }
  });
  return 0;
}
}
