// Linear layers through cuBLASLt: y = x W^T and its two gradients, of bf16 tensors with fp32 sums.
//
// Where a tensor is fp32 (routers: W and y) it is cut into bf16 terms, each the rounded rest of those before, which stand side by side in
// one bf16 product: three carry all of an fp32 number, two as much as a bf16 result can show. The terms of `out` rows or columns take up
// `out` rounded up to 8, padded with zeros, so that every row starts at a multiple of 16 bytes.
#include "runtime/core/Scratch.h"
#include "runtime/cuda/CublasLt.h"
#include "runtime/cuda/Launching.cuh"

using namespace megacc::runtime;
using namespace megacc::runtime::cuda;

namespace {

constexpr int threads = 256;

/// Term `index` of a value: 0 the value as bf16, 1 the rest as bf16, 2 the rest of that.
__device__ bf16 termOf(float value, int index) {
  bf16 term = __float2bfloat16(value);
  for (int i = 0; i < index; ++i) {
    value -= __bfloat162float(term);
    term = __float2bfloat16(value);
  }
  return term;
}

/// Which term stands in each of the three places.
struct Terms {
  int first, second, third;
  __device__ int at(int64_t place) const { return place == 0 ? first : place == 1 ? second : third; }
};

/// terms[3 * padded, cols]: row place * padded + r holds a term of row r of source[rows, cols].
template <typename T> __global__ void splitRows(bf16 *terms, const T *source, int64_t rows, int64_t padded, int64_t cols, Terms places) {
  int64_t index = int64_t(blockIdx.x) * threads + threadIdx.x, row = index / cols % padded;
  int place = int(index / cols / padded);
  if (place < 3)
    terms[index] = row < rows ? termOf(toFloat(source[row * cols + index % cols]), places.at(place)) : bf16(0.0f);
}

/// terms[rows, 3 * padded]: column place * padded + c holds a term of column c of source[rows, cols].
template <typename T> __global__ void splitColumns(bf16 *terms, const T *source, int64_t rows, int64_t cols, int64_t padded, Terms places) {
  int64_t index = int64_t(blockIdx.x) * threads + threadIdx.x, row = index / (3 * padded), column = index % padded;
  int place = int(index / padded % 3);
  if (row < rows)
    terms[index] = column < cols ? termOf(toFloat(source[row * cols + column]), places.at(place)) : bf16(0.0f);
}

/// y[rows, cols] = sums of the three places of terms[rows, 3 * padded], the smallest first.
template <typename T> __global__ void joinColumns(T *y, const float *terms, int64_t rows, int64_t cols, int64_t padded) {
  int64_t index = int64_t(blockIdx.x) * threads + threadIdx.x, row = index / cols, column = index % cols;
  if (row >= rows)
    return;
  const float *term = terms + row * 3 * padded + column;
  y[index] = T(term[2 * padded] + term[padded] + term[0]);
}

/// The same of terms[3 * padded, cols], added to what is there with `add`.
__global__ void joinRows(float *y, const float *terms, int64_t rows, int64_t cols, int64_t padded, bool add) {
  int64_t index = int64_t(blockIdx.x) * threads + threadIdx.x;
  if (index >= rows * cols)
    return;
  float sum = terms[index + 2 * padded * cols] + terms[index + padded * cols] + terms[index];
  y[index] = add ? y[index] + sum : sum;
}

unsigned blocksFor(int64_t count) { return unsigned(blocksOf(count, threads)); }

int32_t splitRows(const MgLaunch *launch, const char *kernel, bf16 *terms, int source, int64_t rows, int64_t padded, int64_t cols,
                  Terms places) {
  unsigned blocks = blocksFor(3 * padded * cols);
  if (launch->types[source] == MG_F32)
    splitRows<<<blocks, threads, 0, streamOf(launch)>>>(terms, operand<float>(launch, source), rows, padded, cols, places);
  else
    splitRows<<<blocks, threads, 0, streamOf(launch)>>>(terms, operand<bf16>(launch, source), rows, padded, cols, places);
  return launched(kernel);
}

int32_t splitColumns(const MgLaunch *launch, const char *kernel, bf16 *terms, int source, int64_t rows, int64_t cols, int64_t padded,
                     Terms places) {
  unsigned blocks = blocksFor(rows * 3 * padded);
  if (launch->types[source] == MG_F32)
    splitColumns<<<blocks, threads, 0, streamOf(launch)>>>(terms, operand<float>(launch, source), rows, cols, padded, places);
  else
    splitColumns<<<blocks, threads, 0, streamOf(launch)>>>(terms, operand<bf16>(launch, source), rows, cols, padded, places);
  return launched(kernel);
}

int32_t checkFloat(const MgLaunch *launch, int index, const char *kernel, const char *name) {
  int type = launch->types[index];
  return type == MG_F32 || type == MG_BF16 ? 0 : mg_fail("%s: %s is %s, this kernel takes bf16 and f32", kernel, name, typeName(type));
}

constexpr Terms all_terms = {0, 1, 2};

} // namespace

extern "C" {

int32_t mg_linear(const MgLaunch *launch) {
  MG_ENTER(mg_linear);
  const char *kernel = "mg_linear";
  MG_TYPE(kernel, x, MG_BF16);
  if (int32_t status = checkFloat(launch, at::weight, kernel, "weight"))
    return status;
  if (int32_t status = checkFloat(launch, at::y, kernel, "y"))
    return status;
  void *addend = launch->operands[at::addend];
  if (addend && (launch->types[at::addend] != launch->types[at::y] || launch->types[at::weight] != MG_BF16))
    return mg_fail("%s: addend is %s, y %s and weight %s; an addend has y's type and a bf16 weight", kernel,
                   typeName(launch->types[at::addend]), typeName(launch->types[at::y]), typeName(launch->types[at::weight]));
  const int64_t rows = launch->ints[number::rows], in = launch->ints[number::in], out = launch->ints[number::out],
                padded = blocksOf(out, 8) * 8;
  void *y = launch->operands[at::y];
  Scratch scratch(launch, at::scratch);
  void *workspace = scratch.take<char>(cublas_workspace_bytes);
  if (launch->types[at::weight] == MG_BF16) {
    if (int32_t status = scratch.check(kernel))
      return status;
    return multiplyMatrices(launch, {rows, out, in, false, true, MgType(launch->types[at::y])}, launch->operands[at::x],
                            launch->operands[at::weight], addend, y, workspace);
  }
  auto *terms = scratch.take<bf16>(3 * padded * in);
  auto *parts = scratch.take<float>(rows * 3 * padded);
  if (int32_t status = scratch.check(kernel))
    return status;
  if (int32_t status = splitRows(launch, kernel, terms, at::weight, out, padded, in, all_terms))
    return status;
  if (int32_t status =
          multiplyMatrices(launch, {rows, 3 * padded, in, false, true, MG_F32}, launch->operands[at::x], terms, nullptr, parts, workspace))
    return status;
  if (launch->types[at::y] == MG_F32)
    joinColumns<<<blocksFor(rows * out), threads, 0, streamOf(launch)>>>(static_cast<float *>(y), parts, rows, out, padded);
  else
    joinColumns<<<blocksFor(rows * out), threads, 0, streamOf(launch)>>>(static_cast<bf16 *>(y), parts, rows, out, padded);
  return launched(kernel);
}

int32_t mg_linear_grad_input(const MgLaunch *launch) {
  MG_ENTER(mg_linear_grad_input);
  const char *kernel = "mg_linear_grad_input";
  // The gradient of a parameter is f32; it is a product of bf16 without an addend.
  bool is_parameter = launch->types[at::d_x] == MG_F32;
  if (is_parameter) {
    MG_TYPE(kernel, d_y, MG_BF16);
    MG_TYPE(kernel, weight, MG_BF16);
  } else {
    MG_TYPE(kernel, d_x, MG_BF16);
  }
  void *addend = launch->operands[at::addend];
  if (addend)
    MG_TYPE(kernel, addend, MG_BF16);
  if (int32_t status = checkFloat(launch, at::d_y, kernel, "d_y"))
    return status;
  if (int32_t status = checkFloat(launch, at::weight, kernel, "weight"))
    return status;
  const int64_t rows = launch->ints[number::rows], in = launch->ints[number::in], out = launch->ints[number::out],
                padded = blocksOf(out, 8) * 8;
  Scratch scratch(launch, at::scratch);
  void *workspace = scratch.take<char>(cublas_workspace_bytes);
  if (launch->types[at::d_y] == MG_BF16 && launch->types[at::weight] == MG_BF16) {
    if (int32_t status = scratch.check(kernel))
      return status;
    return multiplyMatrices(launch, {rows, in, out, false, false, is_parameter ? MG_F32 : MG_BF16}, launch->operands[at::d_y],
                            launch->operands[at::weight], addend, launch->operands[at::d_x], workspace);
  }
  // d_y W without the product of the second terms, which a bf16 result does not show.
  auto *left = scratch.take<bf16>(rows * 3 * padded);
  auto *right = scratch.take<bf16>(3 * padded * in);
  if (int32_t status = scratch.check(kernel))
    return status;
  if (int32_t status = splitColumns(launch, kernel, left, at::d_y, rows, out, padded, {0, 0, 1}))
    return status;
  if (int32_t status = splitRows(launch, kernel, right, at::weight, out, padded, in, {0, 1, 0}))
    return status;
  return multiplyMatrices(launch, {rows, in, 3 * padded, false, false, MG_BF16}, left, right, addend, launch->operands[at::d_x], workspace);
}

int32_t mg_linear_grad_weight(const MgLaunch *launch) {
  MG_ENTER(mg_linear_grad_weight);
  const char *kernel = "mg_linear_grad_weight";
  MG_TYPE(kernel, x, MG_BF16);
  if (int32_t status = checkFloat(launch, at::d_y, kernel, "d_y"))
    return status;
  const int64_t rows = launch->ints[number::rows], in = launch->ints[number::in], out = launch->ints[number::out],
                padded = blocksOf(out, 8) * 8;
  const bool add = addsToOutput(launch, launch->ints[number::accumulate]);
  Scratch scratch(launch, at::scratch);
  void *workspace = scratch.take<char>(cublas_workspace_bytes);
  if (launch->types[at::d_y] == MG_BF16) {
    if (int32_t status = scratch.check(kernel))
      return status;
    void *d_weight = launch->operands[at::d_weight];
    return multiplyMatrices(launch, {out, in, rows, true, false, MG_F32}, launch->operands[at::d_y], launch->operands[at::x],
                            add ? d_weight : nullptr, d_weight, workspace);
  }
  auto *terms = scratch.take<bf16>(rows * 3 * padded);
  auto *parts = scratch.take<float>(3 * padded * in);
  if (int32_t status = scratch.check(kernel))
    return status;
  if (int32_t status = splitColumns(launch, kernel, terms, at::d_y, rows, out, padded, all_terms))
    return status;
  if (int32_t status =
          multiplyMatrices(launch, {3 * padded, in, rows, true, false, MG_F32}, terms, launch->operands[at::x], nullptr, parts, workspace))
    return status;
  joinRows<<<blocksFor(out * in), threads, 0, streamOf(launch)>>>(operand<float>(launch, at::d_weight), parts, out, in, padded, add);
  return launched(kernel);
}
}
