// Linear layers of experts on Hopper: rows sorted by expert, each group times its own weight, and the two gradients. Shapes that the bulk
// copy engine cannot serve (rows not of a multiple of 16 bytes) go to a plain kernel.
#include "runtime/cuda/TensorMap.h"
#include "runtime/kernels/grouped_linear/GroupedProduct.cuh"

using namespace megacc::runtime;
using namespace megacc::runtime::cuda;

namespace {

// The plain kernel: one thread per element of the result.

struct PlainProblem {
  const bf16 *a, *b;
  void *result;
  const int32_t *offsets;
  int64_t rows, in, out;
  int experts;
  bool add;
};

__device__ int findExpert(const int32_t *offsets, int experts, int64_t row) {
  int expert = 0;
  while (expert < experts && row >= offsets[expert + 1])
    ++expert;
  return expert;
}

template <Product product> __global__ void multiplyPlainly(PlainProblem p) {
  const int64_t width = product == Product::forward ? p.out : p.in, index = int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
  const int64_t row = index / width, column = index % width;
  float sum = 0;
  if constexpr (product == Product::grad_weight) {
    const int64_t expert = row / p.out, o = row % p.out;
    if (expert >= p.experts)
      return;
    for (int64_t t = p.offsets[expert]; t < p.offsets[expert + 1]; ++t)
      sum += __bfloat162float(p.a[t * p.out + o]) * __bfloat162float(p.b[t * p.in + column]);
    float *result = static_cast<float *>(p.result) + index;
    *result = p.add ? *result + sum : sum;
  } else {
    if (row >= p.rows)
      return;
    if (int64_t expert = findExpert(p.offsets, p.experts, row); expert < p.experts) {
      const bf16 *weight = p.b + expert * p.out * p.in;
      if constexpr (product == Product::forward)
        for (int64_t i = 0; i < p.in; ++i)
          sum += __bfloat162float(p.a[row * p.in + i]) * __bfloat162float(weight[column * p.in + i]);
      else
        for (int64_t o = 0; o < p.out; ++o)
          sum += __bfloat162float(p.a[row * p.out + o]) * __bfloat162float(weight[o * p.in + column]);
    }
    static_cast<bf16 *>(p.result)[index] = __float2bfloat16(sum);
  }
}

/// Elements of a result that a tiling with tiles of 256 x n computes, weighed by what a narrower tile costs.
double costOf(int64_t height, int64_t width, int n) {
  return double(blocksOf(height, pair_height) * pair_height * blocksOf(width, n) * n) * (n == 128 ? 1.25 : n == 224 ? 1.02 : 1.0);
}

int bestWidth(int64_t height, int64_t width) {
  int best = 256;
  for (int n : {224, 128})
    if (costOf(height, width, n) < costOf(height, width, best))
      best = n;
  return best;
}

/// Pairs of blocks that the device holds at once, 0 if none.
template <Product product, int n> int countResident() {
  using T = GroupedTile<product, n>;
  cudaLaunchConfig_t config = {};
  config.gridDim = dim3(multiprocessors() / 2 * 2), config.blockDim = dim3(block_threads), config.dynamicSmemBytes = T::shared_bytes;
  int pairs = 0;
  if (cudaFuncSetAttribute(multiplyGroups<product, n>, cudaFuncAttributeMaxDynamicSharedMemorySize, T::shared_bytes) != cudaSuccess ||
      cudaOccupancyMaxActiveClusters(&pairs, multiplyGroups<product, n>, &config) != cudaSuccess)
    return 0;
  return std::min(pairs, multiprocessors() / 2);
}

template <Product product, int n>
int32_t launchTiles(const char *kernel, const MgLaunch *launch, const GroupedProblem &problem, const void *a, const void *b) {
  using T = GroupedTile<product, n>;
  static const int resident = countResident<product, n>();
  if (resident < 1)
    return mg_fail("%s: the device holds no pair of blocks with %d bytes of shared memory each; fix: run on compute capability 9.0", kernel,
                   T::shared_bytes);
  CUtensorMap a_map, b_map;
  if constexpr (product == Product::grad_weight) {
    int64_t a_sizes[] = {problem.height, problem.rows}, b_sizes[] = {problem.width, problem.rows}, box[] = {64, tile_depth};
    if (int32_t status = describeTensor(&a_map, a, 2, a_sizes, box))
      return status;
    if (int32_t status = describeTensor(&b_map, b, 2, b_sizes, box))
      return status;
  } else {
    int64_t a_sizes[] = {problem.depth, problem.rows}, a_box[] = {tile_depth, tile_height};
    int64_t forward_sizes[] = {problem.depth, problem.width, problem.experts},
            backward_sizes[] = {problem.width, problem.depth, problem.experts};
    int64_t b_box[] = {64, product == Product::forward ? n / 2 : tile_depth};
    if (int32_t status = describeTensor(&a_map, a, 2, a_sizes, a_box))
      return status;
    if (int32_t status = describeTensor(&b_map, b, 3, product == Product::forward ? forward_sizes : backward_sizes, b_box))
      return status;
  }
  int64_t heights = product == Product::grad_weight ? problem.experts * blocksOf(problem.height, pair_height)
                                                    : blocksOf(problem.rows, pair_height) + problem.experts;
  int64_t pairs = std::min<int64_t>(resident, heights * blocksOf(problem.width, n));
  multiplyGroups<product, n><<<unsigned(2 * pairs), block_threads, T::shared_bytes, streamOf(launch)>>>(a_map, b_map, problem);
  return launched(kernel);
}

template <Product product>
int32_t launchProduct(const char *kernel, const MgLaunch *launch, const void *a, const void *b, void *result, const int32_t *offsets,
                      int64_t rows, int64_t in, int64_t out, int64_t experts, bool add) {
  if (rows == 0 && product != Product::grad_weight)
    return 0;
  if (in % 8 || out % 8 || rows == 0) {
    PlainProblem problem = {static_cast<const bf16 *>(a), static_cast<const bf16 *>(b), result, offsets, rows, in, out, int(experts), add};
    int64_t count = product == Product::forward ? rows * out : product == Product::grad_input ? rows * in : experts * out * in;
    multiplyPlainly<product><<<unsigned(blocksOf(count, 256)), 256, 0, streamOf(launch)>>>(problem);
    return launched(kernel);
  }
  GroupedProblem problem = {offsets, result, rows, int(experts), 0, 0, 0, add, false};
  int64_t height = rows; // for the choice of tiles
  if (product == Product::grad_weight) {
    // Either operand may be the left one; the result is then stored transposed.
    problem.transposed = costOf(in, out, bestWidth(in, out)) < costOf(out, in, bestWidth(out, in));
    if (problem.transposed)
      std::swap(a, b);
    problem.height = int(problem.transposed ? in : out), problem.width = int(problem.transposed ? out : in);
    height = problem.height;
  } else {
    problem.width = int(product == Product::forward ? out : in), problem.depth = int(product == Product::forward ? in : out);
  }
  switch (bestWidth(height, problem.width)) {
  case 256:
    return launchTiles<product, 256>(kernel, launch, problem, a, b);
  case 224:
    return launchTiles<product, 224>(kernel, launch, problem, a, b);
  default:
    return launchTiles<product, 128>(kernel, launch, problem, a, b);
  }
}

} // namespace

extern "C" {

int32_t mg_grouped_linear(const MgLaunch *launch) {
  MG_ENTER(mg_grouped_linear);
  MG_TYPE("mg_grouped_linear", y, MG_BF16);
  MG_TYPE("mg_grouped_linear", x, MG_BF16);
  MG_TYPE("mg_grouped_linear", weight, MG_BF16);
  return launchProduct<Product::forward>("mg_grouped_linear", launch, launch->operands[at::x], launch->operands[at::weight],
                                         launch->operands[at::y], integers(launch, at::offsets), launch->ints[number::rows],
                                         launch->ints[number::in], launch->ints[number::out], launch->ints[number::experts], false);
}

int32_t mg_grouped_linear_grad_input(const MgLaunch *launch) {
  MG_ENTER(mg_grouped_linear_grad_input);
  MG_TYPE("mg_grouped_linear_grad_input", d_x, MG_BF16);
  MG_TYPE("mg_grouped_linear_grad_input", d_y, MG_BF16);
  MG_TYPE("mg_grouped_linear_grad_input", weight, MG_BF16);
  return launchProduct<Product::grad_input>("mg_grouped_linear_grad_input", launch, launch->operands[at::d_y], launch->operands[at::weight],
                                            launch->operands[at::d_x], integers(launch, at::offsets), launch->ints[number::rows],
                                            launch->ints[number::in], launch->ints[number::out], launch->ints[number::experts], false);
}

int32_t mg_grouped_linear_grad_weight(const MgLaunch *launch) {
  MG_ENTER(mg_grouped_linear_grad_weight);
  MG_TYPE("mg_grouped_linear_grad_weight", d_y, MG_BF16);
  MG_TYPE("mg_grouped_linear_grad_weight", x, MG_BF16);
  return launchProduct<Product::grad_weight>("mg_grouped_linear_grad_weight", launch, launch->operands[at::d_y], launch->operands[at::x],
                                             launch->operands[at::d_weight], integers(launch, at::offsets), launch->ints[number::rows],
                                             launch->ints[number::in], launch->ints[number::out], launch->ints[number::experts],
                                             addsToOutput(launch, launch->ints[number::accumulate]));
}
}
