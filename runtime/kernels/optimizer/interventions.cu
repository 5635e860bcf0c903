// What happens to matrices at some steps only, conventions section 20: FIRE, DASH, ReDo and the activity that ReDo judges by. They run
// seldom, so products are plain fp32 tiles, without the rounding of TF32.
#include "runtime/core/Scratch.h"
#include "runtime/cuda/Device.cuh"
#include "runtime/kernels/optimizer/Optimizer.h"

#include <algorithm>
#include <cmath>
#include <utility>

using namespace megacc::runtime;
using namespace megacc::runtime::cuda;

namespace {

constexpr int threads = 256, side_of_tile = 16;

/// Pieces of a matrix: where row `row` of piece `index` begins, the pieces of an expert after one another.
struct Pieces {
  int64_t rows, cols, first, run, stride, count, spacing;
  __device__ int64_t at(int64_t index, int64_t row) const {
    return (index / count * rows + first + index % count * spacing + row / run * stride + row % run) * cols;
  }
};

/// Moments that become zero, of one type, whose zero is zero bits; null: absent.
struct Moments {
  char *m, *v;
  int64_t width; // bytes of an element
  __device__ void clear(int64_t i) const {
    for (char *moments : {m, v})
      if (moments && width == 2)
        reinterpret_cast<uint16_t *>(moments)[i] = 0;
      else if (moments)
        reinterpret_cast<uint32_t *>(moments)[i] = 0;
  }
};

struct Polynomial {
  float a, b, c;
};
/// The first lifts singular values, the second converges to 1 with third order.
constexpr Polynomial lift = {3.4445f, -4.7750f, 2.0315f}, polish = {15 / 8.0f, -10 / 8.0f, 3 / 8.0f};
constexpr int64_t polishes = 4;

/// c[m,n] = op(a) op(b), row-major; element (i, j) of op(a) is a[i * a_row + j * a_column], of op(b) likewise.
__global__ void productKernel(float *c, const float *a, const float *b, int64_t m, int64_t n, int64_t k, int64_t a_row, int64_t a_column,
                              int64_t b_row, int64_t b_column) {
  __shared__ float left[side_of_tile][side_of_tile + 1], right[side_of_tile][side_of_tile + 1];
  int x = threadIdx.x, y = threadIdx.y;
  int64_t tiles = (n + side_of_tile - 1) / side_of_tile;
  int64_t row = blockIdx.x / tiles * side_of_tile + y, column = blockIdx.x % tiles * side_of_tile + x;
  float sum = 0;
  for (int64_t from = 0; from < k; from += side_of_tile) {
    left[y][x] = row < m && from + x < k ? a[row * a_row + (from + x) * a_column] : 0.0f;
    right[y][x] = column < n && from + y < k ? b[(from + y) * b_row + column * b_column] : 0.0f;
    __syncthreads();
#pragma unroll
    for (int i = 0; i < side_of_tile; ++i)
      sum += left[y][i] * right[i][x];
    __syncthreads();
  }
  if (row < m && column < n)
    c[row * n + column] = sum;
}

__global__ void polynomialKernel(float *squares, const float *product, int64_t side, Polynomial p) {
  int64_t i = int64_t(blockIdx.x) * threads + threadIdx.x;
  if (i < side * side)
    squares[i] = p.b * product[i] + p.c * squares[i] + (i / side == i % side ? p.a : 0.0f);
}

/// A block copies a row to x and takes its square sum; the moments of the row become zero.
__global__ void __launch_bounds__(threads)
    takeKernel(float *x, double *sums, const float *value, Pieces pieces, int64_t index, Moments moments) {
  __shared__ double shared[threads / 32];
  int64_t row = blockIdx.x, from = pieces.at(index, row);
  double sum = 0;
  for (int64_t column = threadIdx.x; column < pieces.cols; column += threads) {
    float w = value[from + column];
    x[row * pieces.cols + column] = w, sum += double(w) * w;
    moments.clear(from + column);
  }
  sum = blockSum<threads>(sum, shared);
  if (threadIdx.x == 0)
    sums[row] = sum;
}

__global__ void totalKernel(double *total, const double *sums, int64_t count) {
  __shared__ double shared[threads / 32];
  double sum = blockSumOf<threads>(sums, count, shared);
  if (threadIdx.x == 0)
    *total = sum;
}

__global__ void normalizeKernel(float *x, const double *total, int64_t count) {
  int64_t i = int64_t(blockIdx.x) * threads + threadIdx.x;
  if (i < count)
    x[i] *= *total > 0 ? float(1 / sqrt(*total)) : 0.0f;
}

/// A block writes a row of scale * x and takes the square sum of the change; a zero piece stays.
template <typename T>
__global__ void __launch_bounds__(threads) putKernel(T *weight, float *value, double *sums, const float *x, const double *total,
                                                     Pieces pieces, int64_t index, double scale, bool keeps_norm) {
  __shared__ double shared[threads / 32];
  int64_t row = blockIdx.x, to = pieces.at(index, row);
  float factor = float(keeps_norm ? sqrt(*total) * scale : scale);
  double sum = 0;
  for (int64_t column = threadIdx.x; *total > 0 && column < pieces.cols; column += threads) {
    float now = factor * x[row * pieces.cols + column], change = now - value[to + column];
    value[to + column] = now, sum += double(change) * change;
    if constexpr (sizeof(T) == 2)
      weight[to + column] = fromFloat<T>(now);
  }
  sum = blockSum<threads>(sum, shared);
  if (threadIdx.x == 0)
    sums[row] = sum;
}

/// pieces, |W' - W|^2, |W|^2 and the largest |X X^T - 1|, by one block.
__global__ void __launch_bounds__(threads)
    reportFireKernel(float *report, bool adds, const double *sums, int64_t rows, const double *total, const float *product, int64_t side) {
  __shared__ double shared[threads / 32];
  __shared__ float largest[threads / 32];
  double moved = blockSumOf<threads>(sums, rows, shared);
  float residual = 0;
  for (int64_t i = threadIdx.x; *total > 0 && i < side * side; i += threads)
    residual = fmaxf(residual, fabsf(product[i] - (i / side == i % side)));
  residual = blockMax<threads>(residual, largest);
  if (threadIdx.x != 0)
    return;
  report[0] = (adds ? report[0] : 0.0f) + 1, report[1] = (adds ? report[1] : 0.0f) + float(moved);
  report[2] = (adds ? report[2] : 0.0f) + float(*total), report[3] = fmaxf(adds ? report[3] : 0.0f, residual);
}

/// A block has a row.
template <typename T, typename M>
__global__ void __launch_bounds__(threads)
    dashKernel(T *weight, float *value, const M *m, const float *gradient, double *factors, Pieces pieces, int64_t piece_rows, bool gentle,
               double floor, double rate, double margin, Moments moments) {
  __shared__ double shared[threads / 32];
  int64_t from = pieces.at(blockIdx.x / piece_rows, blockIdx.x % piece_rows);
  double wd = 0, ww = 0, dd = 0;
  for (int64_t i = from + threadIdx.x; i < from + pieces.cols; i += threads) {
    double w = value[i], d = -(gradient ? gradient[i] : toFloat(m[i]));
    wd += w * d, ww += w * w, dd += d * d;
  }
  wd = blockSum<threads>(wd, shared), ww = blockSum<threads>(ww, shared), dd = blockSum<threads>(dd, shared);
  double factor = 1;
  if (ww > 0 && dd > 0) {
    double cosine = wd / (sqrt(ww) * sqrt(dd));
    factor = gentle ? 1 - rate * fmax(-cosine - margin, 0.0) : fmin(fmax(cosine, floor), 1.0);
  }
  for (int64_t i = from + threadIdx.x; i < from + pieces.cols; i += threads) {
    if (factor != 1) {
      float now = value[i] * float(factor);
      value[i] = now;
      if constexpr (sizeof(T) == 2)
        weight[i] = fromFloat<T>(now);
    }
    moments.clear(i);
  }
  if (threadIdx.x == 0)
    factors[blockIdx.x] = factor;
}

__global__ void __launch_bounds__(threads) reportDashKernel(float *report, bool adds, const double *factors, int64_t count) {
  __shared__ double shared[threads / 32];
  double sum = 0, shrunk = 0;
  for (int64_t i = threadIdx.x; i < count; i += threads)
    sum += factors[i], shrunk += factors[i] < 1;
  sum = blockSum<threads>(sum, shared), shrunk = blockSum<threads>(shrunk, shared);
  if (threadIdx.x != 0)
    return;
  report[0] = (adds ? report[0] : 0.0f) + float(count), report[1] = (adds ? report[1] : 0.0f) + float(shrunk);
  report[2] = (adds ? report[2] : 0.0f) + float(sum);
}

struct Layer {
  int64_t width, cols, halves, seen, least;
  double tau, deviation;
};

template <typename T> __device__ void put(T *weight, float *value, int64_t i, float number) {
  value[i] = number;
  if constexpr (sizeof(T) == 2)
    weight[i] = fromFloat<T>(number);
}

/// A standard normal number, the n-th of a key. Apart from its kernel, whose registers would be spilled around it.
__device__ __noinline__ double normalOf(uint64_t key, uint64_t n) {
  return sqrt(-2 * log1p(-megacc::unit(key, 2 * n))) * cospi(2 * megacc::unit(key, 2 * n + 1));
}

/// A block has unit blockIdx.x of expert blockIdx.y; that of unit 0 reports.
template <typename T>
__global__ void __launch_bounds__(threads)
    redoKernel(T *up, float *up_value, T *down, float *down_value, Moments up_moments, Moments down_moments, const float *activity,
               const float *picks, const int32_t *step, const int64_t *table, float *report, Layer layer, Ranks ranks) {
  __shared__ double shared[threads / 32];
  int64_t expert = blockIdx.y, unit = blockIdx.x;
  const float *fired = activity + expert * layer.width;
  double mean = 0, dormant = 0;
  for (int64_t i = threadIdx.x; i < layer.width; i += threads)
    mean += fired[i];
  mean = blockSum<threads>(mean, shared) / double(layer.width);
  bool is_judged = (picks ? double(picks[expert]) : double(layer.seen)) >= double(layer.least) && mean > 0;
  if (unit == 0) {
    for (int64_t i = threadIdx.x; i < layer.width; i += threads)
      dormant += fired[i] <= layer.tau * mean;
    dormant = blockSum<threads>(dormant, shared);
    if (threadIdx.x == 0)
      report[expert] = is_judged ? float(dormant) : -1.0f;
  }
  if (!is_judged || !(fired[unit] <= layer.tau * mean))
    return;
  RoundingStream stream = roundingStream(table, table, *step);
  for (int64_t half = 0; half < layer.halves; ++half) {
    int64_t from = ((expert * layer.halves + half) * layer.width + unit) * layer.cols;
    for (int64_t i = from + threadIdx.x; i < from + layer.cols; i += threads) {
      uint64_t n = uint64_t(stream.part ? indexInWhole(stream.part, i, ranks) : i);
      put(up, up_value, i, float(layer.deviation * normalOf(stream.key, n)));
      up_moments.clear(i);
    }
  }
  for (int64_t row = threadIdx.x; row < layer.cols; row += threads) {
    int64_t i = (expert * layer.cols + row) * layer.width + unit;
    put(down, down_value, i, 0.0f);
    down_moments.clear(i);
  }
}

/// A thread has a column of an expert.
template <typename T> __global__ void absKernel(float *sum, const T *x, const int32_t *offsets, int64_t rows, int64_t cols, bool adds) {
  int64_t column = int64_t(blockIdx.x) * threads + threadIdx.x, expert = blockIdx.y;
  if (column >= cols)
    return;
  int64_t first = offsets ? offsets[expert] : 0, last = offsets ? offsets[expert + 1] : rows;
  double total = 0;
  for (int64_t row = first; row < last; ++row)
    total += fabsf(toFloat(x[row * cols + column]));
  float &to = sum[expert * cols + column];
  to = (adds ? to : 0.0f) + float(total);
}

/// Where the fp32 numbers of a weight are.
float *valueOf(const MgLaunch *launch, int weight, int master) {
  return launch->operands[master] ? operand<float>(launch, master) : operand<float>(launch, weight);
}

Moments momentsOf(const MgLaunch *launch, int m, int v, bool wanted = true) {
  if (!wanted)
    return {nullptr, nullptr, 4};
  int type = launch->operands[m] ? launch->types[m] : launch->types[v];
  return {operand<char>(launch, m), operand<char>(launch, v), type == MG_BF16 ? 2 : 4};
}

/// c[m,n] = op(a) op(b): transpose_a: a is stored as [k,m]; transpose_b: b as [n,k].
void multiply(const MgLaunch *launch, float *c, const float *a, const float *b, int64_t m, int64_t n, int64_t k, bool transpose_a,
              bool transpose_b) {
  int64_t tiles = blocksOf(m, side_of_tile) * blocksOf(n, side_of_tile);
  productKernel<<<unsigned(tiles), dim3(side_of_tile, side_of_tile), 0, streamOf(launch)>>>(
      c, a, b, m, n, k, transpose_a ? 1 : k, transpose_a ? m : 1, transpose_b ? 1 : n, transpose_b ? k : 1);
}

} // namespace

extern "C" {

int32_t mg_fire(const MgLaunch *launch) {
  MG_ENTER(mg_fire);
  const int64_t *ints = launch->ints;
  int64_t cols = ints[number::cols], rows = ints[number::piece_rows], side = std::min(rows, cols), longer = std::max(rows, cols);
  Scratch scratch(launch, at::scratch);
  float *x = scratch.take<float>(rows * cols), *other = scratch.take<float>(rows * cols);
  float *product = scratch.take<float>(side * side), *squares = scratch.take<float>(side * side);
  double *sums = scratch.take<double>(rows + 1);
  if (int32_t status = scratch.check("mg_fire"))
    return status;
  float *value = valueOf(launch, at::weight, at::master), *report = operand<float>(launch, at::report);
  if (int32_t status = checkMaster("mg_fire", launch->types[at::weight], launch->operands[at::master]))
    return status;
  const Pieces pieces = {ints[number::rows],   cols, ints[number::first], ints[number::run], ints[number::stride], ints[number::pieces],
                         ints[number::spacing]};
  const Moments moments = momentsOf(launch, at::m, at::v);
  bool adds = addsToOutput(launch, ints[number::accumulate]), shape = ints[number::shape], tall = rows > cols;
  double scale = shape ? std::sqrt(double(rows) / double(cols)) : 1 / std::sqrt(double(side));
  cudaStream_t stream = streamOf(launch);
  auto square = [&] { multiply(launch, product, x, x, side, side, longer, tall, !tall); };
  for (int64_t index = 0; index < ints[number::experts] * pieces.count; ++index) {
    takeKernel<<<unsigned(rows), threads, 0, stream>>>(x, sums, value, pieces, index, moments);
    totalKernel<<<1, threads, 0, stream>>>(sums + rows, sums, rows);
    normalizeKernel<<<unsigned(blocksOf(rows * cols, threads)), threads, 0, stream>>>(x, sums + rows, rows * cols);
    for (int64_t i = 0; i < ints[number::iterations] + polishes; ++i, std::swap(x, other)) {
      square();
      multiply(launch, squares, product, product, side, side, side, false, false);
      polynomialKernel<<<unsigned(blocksOf(side * side, threads)), threads, 0, stream>>>(squares, product, side,
                                                                                         i < ints[number::iterations] ? lift : polish);
      multiply(launch, other, tall ? x : squares, tall ? squares : x, rows, cols, side, false, false);
    }
    square();
    int32_t status = withElement(launch, "mg_fire", {at::weight}, [&](auto element) {
      using T = decltype(element);
      putKernel<<<unsigned(rows), threads, 0, stream>>>(operand<T>(launch, at::weight), value, sums, x, sums + rows, pieces, index, scale,
                                                        !shape);
      return launched("mg_fire");
    });
    if (status)
      return status;
    reportFireKernel<<<1, threads, 0, stream>>>(report, adds || index > 0, sums, rows, sums + rows, product, side);
  }
  return launched("mg_fire");
}

int32_t mg_dash(const MgLaunch *launch) {
  MG_ENTER(mg_dash);
  const int64_t *ints = launch->ints;
  int64_t rows = ints[number::piece_rows], all = ints[number::experts] * ints[number::pieces] * rows;
  Scratch scratch(launch, at::scratch);
  double *factors = scratch.take<double>(all);
  if (int32_t status = scratch.check("mg_dash"))
    return status;
  if (int32_t status = checkMaster("mg_dash", launch->types[at::weight], launch->operands[at::master]))
    return status;
  const Pieces pieces = {ints[number::rows],   ints[number::cols],   ints[number::first],  ints[number::run],
                         ints[number::stride], ints[number::pieces], ints[number::spacing]};
  float *value = valueOf(launch, at::weight, at::master);
  const float *gradient = operand<float>(launch, at::gradient);
  const Moments moments = momentsOf(launch, at::m, at::v, ints[number::resets]);
  int32_t status = withElement(launch, "mg_dash", {at::weight}, [&](auto weight) {
    using T = decltype(weight);
    auto run = [&](auto moment) {
      dashKernel<<<unsigned(all), threads, 0, streamOf(launch)>>>(
          operand<T>(launch, at::weight), value, operand<decltype(moment)>(launch, at::m), gradient, factors, pieces, rows,
          ints[number::gentle] != 0, launch->doubles[real::floor], launch->doubles[real::rate], launch->doubles[real::margin], moments);
      return launched("mg_dash");
    };
    return launch->types[at::m] == MG_BF16 ? run(bf16()) : run(float());
  });
  if (status)
    return status;
  reportDashKernel<<<1, threads, 0, streamOf(launch)>>>(operand<float>(launch, at::report), addsToOutput(launch, ints[number::accumulate]),
                                                        factors, all);
  return launched("mg_dash");
}

int32_t mg_redo(const MgLaunch *launch) {
  MG_ENTER(mg_redo);
  const int64_t *ints = launch->ints;
  const Layer layer = {ints[number::width],
                       ints[number::cols],
                       ints[number::halves],
                       ints[number::seen],
                       ints[number::least],
                       launch->doubles[real::tau],
                       launch->doubles[real::deviation]};
  return withElement(launch, "mg_redo", {at::up, at::down}, [&](auto element) {
    using T = decltype(element);
    redoKernel<<<dim3(unsigned(layer.width), unsigned(ints[number::experts])), threads, 0, streamOf(launch)>>>(
        operand<T>(launch, at::up), valueOf(launch, at::up, at::up_master), operand<T>(launch, at::down),
        valueOf(launch, at::down, at::down_master), momentsOf(launch, at::up_m, at::up_v), momentsOf(launch, at::down_m, at::down_v),
        operand<float>(launch, at::activity), operand<float>(launch, at::picks), operand<int32_t>(launch, at::step),
        operand<int64_t>(launch, at::table), operand<float>(launch, at::report), layer, ranksOf(launch));
    return launched("mg_redo");
  });
}

int32_t mg_abs_column_sum(const MgLaunch *launch) {
  MG_ENTER(mg_abs_column_sum);
  const int64_t *ints = launch->ints;
  int64_t cols = ints[number::cols];
  return withElement(launch, "mg_abs_column_sum", {at::x}, [&](auto element) {
    using T = decltype(element);
    absKernel<<<dim3(unsigned(blocksOf(cols, threads)), unsigned(ints[number::experts])), threads, 0, streamOf(launch)>>>(
        operand<float>(launch, at::sum), operand<T>(launch, at::x), operand<int32_t>(launch, at::offsets), ints[number::rows], cols,
        addsToOutput(launch, ints[number::accumulate]));
    return launched("mg_abs_column_sum");
  });
}
}
