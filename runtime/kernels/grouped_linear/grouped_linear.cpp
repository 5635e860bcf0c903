// Linear layers of experts: rows sorted by expert, each group times its own weight, and the two gradients.
#include "runtime/core/ClearTail.h"
#include "runtime/core/Gemm.h"
#include "runtime/core/Launch.h"
#include "runtime/core/Scratch.h"
#include "runtime/core/ThreadPool.h"

#include <algorithm>
#include <cstring>

using namespace megacc::runtime;

namespace {

constexpr int64_t block_rows = 128, block_columns = 128;

/// Calls body(expert, begin, end) for blocks of rows of one expert.
template <typename Body> void forEachRowBlock(const int32_t *offsets, int64_t experts, Body &&body) {
  auto countBlocks = [&](int64_t expert) { return (offsets[expert + 1] - offsets[expert] + block_rows - 1) / block_rows; };
  int64_t blocks = 0;
  for (int64_t expert = 0; expert < experts; ++expert)
    blocks += countBlocks(expert);
  parallelFor(blocks, [&](int64_t block) {
    int64_t expert = 0;
    for (; block >= countBlocks(expert); ++expert)
      block -= countBlocks(expert);
    int64_t begin = offsets[expert] + block * block_rows;
    body(expert, begin, std::min<int64_t>(begin + block_rows, offsets[expert + 1]));
  });
}

} // namespace

extern "C" {

int32_t mg_grouped_linear(const MgLaunch *launch) {
  MG_ENTER(mg_grouped_linear);
  if (int32_t status = Scratch(launch, at::scratch).check("mg_grouped_linear"))
    return status;
  int64_t rows = launch->ints[number::rows], in = launch->ints[number::in], out = launch->ints[number::out];
  int64_t experts = launch->ints[number::experts];
  float *y = output(launch, at::y);
  const float *x = input(launch, at::x), *weight = input(launch, at::weight);
  const int32_t *offsets = integers(launch, at::offsets);
  forEachRowBlock(offsets, experts, [&](int64_t expert, int64_t begin, int64_t end) {
    gemm(Transpose::right, end - begin, out, in, 1.0f, x + begin * in, in, weight + expert * out * in, in, 0.0f, y + begin * out, out);
  });
  clearTail(y, offsets[experts], rows, out);
  return productStatus("mg_grouped_linear");
}

int32_t mg_grouped_linear_grad_input(const MgLaunch *launch) {
  MG_ENTER(mg_grouped_linear_grad_input);
  if (int32_t status = Scratch(launch, at::scratch).check("mg_grouped_linear_grad_input"))
    return status;
  int64_t rows = launch->ints[number::rows], in = launch->ints[number::in], out = launch->ints[number::out];
  int64_t experts = launch->ints[number::experts];
  float *d_x = output(launch, at::d_x);
  const float *d_y = input(launch, at::d_y), *weight = input(launch, at::weight);
  const int32_t *offsets = integers(launch, at::offsets);
  forEachRowBlock(offsets, experts, [&](int64_t expert, int64_t begin, int64_t end) {
    gemm(Transpose::none, end - begin, in, out, 1.0f, d_y + begin * out, out, weight + expert * out * in, in, 0.0f, d_x + begin * in, in);
  });
  clearTail(d_x, offsets[experts], rows, in);
  return productStatus("mg_grouped_linear_grad_input");
}

int32_t mg_grouped_linear_grad_weight(const MgLaunch *launch) {
  MG_ENTER(mg_grouped_linear_grad_weight);
  if (int32_t status = Scratch(launch, at::scratch).check("mg_grouped_linear_grad_weight"))
    return status;
  int64_t in = launch->ints[number::in], out = launch->ints[number::out], experts = launch->ints[number::experts];
  int64_t blocks = (out + block_columns - 1) / block_columns;
  bool add = addsToOutput(launch, launch->ints[number::accumulate]);
  const float *d_y = input(launch, at::d_y), *x = input(launch, at::x);
  const int32_t *offsets = integers(launch, at::offsets);
  parallelFor(experts * blocks, [&](int64_t tile) {
    int64_t expert = tile / blocks, first = tile % blocks * block_columns, columns = std::min(block_columns, out - first);
    int64_t begin = offsets[expert], count = offsets[expert + 1] - begin;
    float *d_weight = output(launch, at::d_weight) + (expert * out + first) * in;
    if (count > 0)
      gemm(Transpose::left, columns, in, count, 1.0f, d_y + begin * out + first, out, x + begin * in, in, add ? 1.0f : 0.0f, d_weight, in);
    else if (!add)
      std::memset(d_weight, 0, columns * in * sizeof(float));
  });
  return productStatus("mg_grouped_linear_grad_weight");
}
}
