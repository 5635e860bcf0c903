// Muon, conventions 14.8: momentum, the orthogonalised direction of every piece by products of matrices, and the step. Pieces come
// one after the other; their sides are padded with zeros to multiples of 8, which no product of theirs changes.
#include "runtime/cuda/CublasLt.h"
#include "runtime/cuda/Device.cuh"
#include "runtime/kernels/optimizer/Optimizer.h"

#include <algorithm>
#include <cmath>
#include <utility>

using namespace megacc::runtime;
using namespace megacc::runtime::cuda;

namespace {

constexpr int threads = 256;

/// Rows of a piece, first + i / run * stride + i % run, and their place in the arrays of the launch.
struct Piece {
  int64_t base, first, run, stride, rows, cols;
  __device__ int64_t at(int64_t row, int64_t column) const { return base + (first + row / run * stride + row % run) * cols + column; }
};

struct Rule {
  float mu, rest;
  double decay, clip, step; // step: rms * sqrt(longer side)
  bool nesterov;
};

/// A block has a row: its momentum, u[row, 0..cols) with zeros up to `padded`, and its square sum.
template <typename M>
__global__ void __launch_bounds__(threads)
    momentumKernel(float *u, double *sums, M *momentum, const float *gradient, const float *norm, const int32_t *step, const int64_t *table,
                   Piece piece, int64_t padded, Rule rule, Ranks ranks) {
  __shared__ double shared[threads / 32];
  if (!isfinite(*norm))
    return;
  int64_t row = blockIdx.x;
  float scale = rule.clip > 0 ? float(min(1.0, rule.clip / (*norm + 1e-6))) : 1.0f;
  RoundingStream stream;
  if constexpr (sizeof(M) == 2)
    stream = roundingStream(table, table, *step);
  double sum = 0;
  for (int64_t column = threadIdx.x; column < padded; column += threads) {
    float value = 0;
    if (row < piece.rows && column < piece.cols) {
      int64_t i = piece.at(row, column);
      float g = gradient[i] * scale, m = rule.mu * toFloat(momentum[i]) + rule.rest * g;
      value = rule.nesterov ? rule.mu * m + rule.rest * g : m;
      if constexpr (sizeof(M) == 2)
        reinterpret_cast<uint16_t *>(momentum)[i] = roundBits(__float_as_uint(m), uint32_t(stream.draw(i, ranks)));
      else
        momentum[i] = m;
    }
    u[row * padded + column] = value;
    sum += double(value) * value;
  }
  sum = blockSum<threads>(sum, shared);
  if (threadIdx.x == 0)
    sums[row] = sum;
}

__global__ void totalKernel(double *total, const double *sums, int64_t count, const float *norm) {
  __shared__ double shared[threads / 32];
  if (!isfinite(*norm))
    return;
  double sum = blockSumOf<threads>(sums, count, shared);
  if (threadIdx.x == 0)
    *total = sum;
}

/// x = u / (|u| + 1e-7); zeros where the norm of the gradients is not finite, so that products meet numbers.
__global__ void scaleKernel(bf16 *x, const float *u, const double *total, const float *norm, int64_t count) {
  int64_t i = int64_t(blockIdx.x) * threads + threadIdx.x;
  if (i < count)
    x[i] = __float2bfloat16_rn(isfinite(*norm) ? u[i] * float(1 / (sqrt(*total) + 1e-7)) : 0.0f);
}

/// a I + b A + c A A: x <- (a I + b A + c A A) x lifts singular values into [0.68, 1.21].
__global__ void polynomialKernel(bf16 *polynomial, const bf16 *product, const float *squares, int64_t side) {
  constexpr float a = 3.4445f, b = -4.7750f, c = 2.0315f;
  int64_t i = int64_t(blockIdx.x) * threads + threadIdx.x;
  if (i < side * side)
    polynomial[i] = __float2bfloat16_rn(b * toFloat(product[i]) + c * squares[i] + (i / side == i % side ? a : 0.0f));
}

template <typename T>
__global__ void stepKernel(T *weight, float *master, const bf16 *direction, const float *norm, const float *scalars, Piece piece,
                           int64_t padded, Rule rule) {
  if (!isfinite(*norm))
    return;
  float lr = scalars[0], keep = float(1.0 - double(lr) * rule.decay), step = float(double(lr) * rule.step);
  int64_t row = blockIdx.x;
  for (int64_t column = threadIdx.x; column < piece.cols; column += threads) {
    int64_t i = piece.at(row, column);
    float value = master[i] * keep - step * toFloat(direction[row * padded + column]);
    master[i] = value;
    if constexpr (sizeof(T) == 2)
      weight[i] = fromFloat<T>(value);
  }
}

int64_t padded(int64_t size) { return (size + 7) / 8 * 8; }

/// What the pieces of a launch work in.
struct Room {
  float *squares;
  bf16 *x, *other, *product, *polynomial;
  void *workspace;
};

/// Iterates on x[rows, cols], which are padded; `result` becomes where it ends.
int32_t orthogonalise(const MgLaunch *launch, const Room &room, int64_t rows, int64_t cols, int64_t iterations, bf16 *&result) {
  bool tall = rows > cols;
  int64_t side = std::min(rows, cols), length = std::max(rows, cols);
  bf16 *x = room.x, *other = room.other;
  for (int64_t i = 0; i < iterations; ++i, std::swap(x, other)) {
    if (int32_t status = multiplyMatrices(launch, {side, side, length, tall, !tall, MG_BF16}, x, x, nullptr, room.product, room.workspace))
      return status;
    if (int32_t status = multiplyMatrices(launch, {side, side, side, false, false, MG_F32}, room.product, room.product, nullptr,
                                          room.squares, room.workspace))
      return status;
    polynomialKernel<<<unsigned(blocksOf(side * side, threads)), threads, 0, streamOf(launch)>>>(room.polynomial, room.product,
                                                                                                 room.squares, side);
    if (int32_t status = multiplyMatrices(launch, {rows, cols, side, false, false, MG_BF16}, tall ? x : room.polynomial,
                                          tall ? room.polynomial : x, nullptr, other, room.workspace))
      return status;
  }
  result = x;
  return 0;
}

} // namespace

extern "C" {

int32_t mg_muon(const MgLaunch *launch) {
  MG_ENTER(mg_muon);
  const int64_t *ints = launch->ints;
  int64_t cols = ints[number::cols], pieces = ints[number::pieces];
  int64_t rows = padded(ints[number::piece_rows]), width = padded(cols), side = std::min(rows, width);
  Scratch scratch(launch, at::scratch);
  void *workspace = scratch.take<std::byte>(cublas_workspace_bytes); // first, for its alignment
  float *u = scratch.take<float>(rows * width);
  bf16 *x = scratch.take<bf16>(rows * width), *other = scratch.take<bf16>(rows * width);
  float *squares = scratch.take<float>(side * side);
  bf16 *product = scratch.take<bf16>(side * side), *polynomial = scratch.take<bf16>(side * side);
  double *sums = scratch.take<double>(rows + 1);
  const Room room = {squares, x, other, product, polynomial, workspace};
  if (int32_t status = scratch.check("mg_muon"))
    return status;
  void *weight = launch->operands[at::weight];
  float *master = operand<float>(launch, at::master);
  if (int32_t status = checkMaster("mg_muon", launch->types[at::weight], master))
    return status;
  double mu = launch->doubles[real::momentum], longer = double(std::max(ints[number::piece_rows], cols));
  const Rule rule = {float(mu),
                     float(1 - mu),
                     launch->doubles[real::decay],
                     launch->doubles[real::clip],
                     launch->doubles[real::rms] * std::sqrt(longer),
                     ints[number::nesterov] != 0};
  const float *gradient = operand<float>(launch, at::gradient), *norm = operand<float>(launch, at::norm);
  const Ranks ranks = ranksOf(launch);
  cudaStream_t stream = streamOf(launch);
  for (int64_t index = 0; index < ints[number::experts] * pieces; ++index) {
    const Piece piece = {index / pieces * ints[number::rows] * cols,
                         ints[number::first] + index % pieces * ints[number::spacing],
                         ints[number::run],
                         ints[number::stride],
                         ints[number::piece_rows],
                         cols};
    int32_t status = withElement(launch, "mg_muon", {at::m}, [&](auto element) {
      momentumKernel<<<unsigned(rows), threads, 0, stream>>>(u, sums, operand<decltype(element)>(launch, at::m), gradient, norm,
                                                             operand<int32_t>(launch, at::step), operand<int64_t>(launch, at::table), piece,
                                                             width, rule, ranks);
      return launched("mg_muon");
    });
    if (status)
      return status;
    totalKernel<<<1, threads, 0, stream>>>(sums + rows, sums, rows, norm);
    scaleKernel<<<unsigned(blocksOf(rows * width, threads)), threads, 0, stream>>>(x, u, sums + rows, norm, rows * width);
    bf16 *direction = nullptr;
    if (int32_t failed = orthogonalise(launch, room, rows, width, ints[number::iterations], direction))
      return failed;
    status = withElement(launch, "mg_muon", {at::weight}, [&](auto element) {
      using T = decltype(element);
      stepKernel<<<unsigned(piece.rows), threads, 0, stream>>>(static_cast<T *>(weight), master ? master : static_cast<float *>(weight),
                                                               direction, norm, operand<float>(launch, at::scalars), piece, width, rule);
      return launched("mg_muon");
    });
    if (status)
      return status;
  }
  return 0;
}
}
