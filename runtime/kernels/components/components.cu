// Embeddings of several ids of a token, conventions 11.5: rows of their tables, and the weighted sum of what lies there.
#include "runtime/cuda/SumPartials.cuh"

using namespace megacc::runtime;
using namespace megacc::runtime::cuda;

namespace {

constexpr int threads = 128;
/// Rows of a partial sum; lib/Kernels knows the same number.
constexpr int64_t tile_rows = 64;

/// Ids of one component, which stand `parts` apart.
__global__ void componentKernel(int32_t *ids, const int32_t *component, const int64_t *sizes, int64_t rows, int64_t part, int64_t parts) {
  int64_t row = int64_t(blockIdx.x) * threads + threadIdx.x, first = 0;
  if (row >= rows)
    return;
  for (int64_t before = 0; before < part; ++before)
    first += sizes[before];
  int64_t id = component[row], last = sizes[part] - 1;
  ids[row * parts + part] = int32_t(first + (id < 0 ? 0 : id > last ? last : id));
}

template <typename T> __global__ void weightedPartsKernel(T *y, const T *x, const T *weight, int64_t parts, int64_t cols) {
  int64_t row = blockIdx.x;
  for (int64_t i = threadIdx.x; i < cols; i += threads) {
    float sum = 0;
    for (int64_t part = 0; part < parts; ++part)
      sum += toFloat(weight[part]) * toFloat(x[(row * parts + part) * cols + i]);
    y[row * cols + i] = fromFloat<T>(sum);
  }
}

/// A block has a tile of rows and one part.
template <typename T>
__global__ void weightedPartsGradKernel(T *d_x, float *partial, const T *d_y, const T *x, const T *weight, int64_t rows, int64_t parts,
                                        int64_t cols) {
  __shared__ float shared[threads / 32];
  int64_t part = blockIdx.y, begin = blockIdx.x * tile_rows, end = min(begin + tile_rows, rows);
  float factor = toFloat(weight[part]), sum = 0;
  for (int64_t row = begin; row < end; ++row)
    for (int64_t i = threadIdx.x; i < cols; i += threads) {
      int64_t at = (row * parts + part) * cols + i;
      float gradient = toFloat(d_y[row * cols + i]);
      sum += gradient * toFloat(x[at]);
      d_x[at] = fromFloat<T>(factor * gradient);
    }
  sum = blockSum<threads>(sum, shared);
  if (threadIdx.x == 0)
    partial[blockIdx.x * parts + part] = sum;
}

} // namespace

extern "C" {

int32_t mg_component_rows(const MgLaunch *launch) {
  MG_ENTER(mg_component_rows);
  int64_t rows = launch->ints[number::rows], parts = launch->ints[number::parts];
  for (int64_t part = 0; part < parts; ++part) {
    componentKernel<<<unsigned(blocksOf(rows, threads)), threads, 0, streamOf(launch)>>>(
        operand<int32_t>(launch, at::ids), operand<int32_t>(launch, at::component + part), operand<int64_t>(launch, at::table), rows, part,
        parts);
    if (int32_t status = launched("mg_component_rows"))
      return status;
  }
  return 0;
}

int32_t mg_weighted_parts(const MgLaunch *launch) {
  MG_ENTER(mg_weighted_parts);
  return withElement(launch, "mg_weighted_parts", {at::y, at::x, at::weight}, [&](auto element) {
    using T = decltype(element);
    weightedPartsKernel<<<unsigned(launch->ints[number::rows]), threads, 0, streamOf(launch)>>>(
        operand<T>(launch, at::y), operand<T>(launch, at::x), operand<T>(launch, at::weight), launch->ints[number::parts],
        launch->ints[number::cols]);
    return launched("mg_weighted_parts");
  });
}

int32_t mg_weighted_parts_grad(const MgLaunch *launch) {
  MG_ENTER(mg_weighted_parts_grad);
  int64_t rows = launch->ints[number::rows], parts = launch->ints[number::parts], tiles = blocksOf(rows, tile_rows);
  bool add = addsToOutput(launch, launch->ints[number::accumulate]);
  Scratch scratch(launch, at::scratch);
  float *partial = scratch.take<float>(tiles * parts);
  if (int32_t status = scratch.check("mg_weighted_parts_grad"))
    return status;
  return withElement(launch, "mg_weighted_parts_grad", {at::d_x, at::d_y, at::x, at::weight}, [&](auto element) {
    using T = decltype(element);
    weightedPartsGradKernel<<<dim3(unsigned(tiles), unsigned(parts)), threads, 0, streamOf(launch)>>>(
        operand<T>(launch, at::d_x), partial, operand<T>(launch, at::d_y), operand<T>(launch, at::x), operand<T>(launch, at::weight), rows,
        parts, launch->ints[number::cols]);
    if (int32_t status = launched("mg_weighted_parts_grad"))
      return status;
    return sumPartials(launch, "mg_weighted_parts_grad", partial, tiles, parts, add, operand<float>(launch, at::d_weight));
  });
}
}
