#include "runtime/cuda/TensorMap.h"
#include "runtime/core/Status.h"

#include <cuda_runtime.h>

namespace megacc::runtime {

using Encode = CUresult (*)(CUtensorMap *, CUtensorMapDataType, cuuint32_t, void *, const cuuint64_t *, const cuuint64_t *,
                            const cuuint32_t *, const cuuint32_t *, CUtensorMapInterleave, CUtensorMapSwizzle, CUtensorMapL2promotion,
                            CUtensorMapFloatOOBfill);

/// Taken from the driver at first use, so that the library loads without one.
static Encode findEncode() {
  void *function = nullptr;
  cudaDriverEntryPointQueryResult found;
  cudaError_t error = cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &function, 12000, cudaEnableDefault, &found);
  return error == cudaSuccess && found == cudaDriverEntryPointSuccess ? reinterpret_cast<Encode>(function) : nullptr;
}

/// strides: bytes between neighbours in dimension i + 1.
static int32_t describe(CUtensorMap *map, const void *base, int rank, const cuuint64_t *sizes, const cuuint64_t *strides,
                        const cuuint32_t *box) {
  static const Encode encode = findEncode();
  if (!encode)
    return mg_fail("the CUDA driver has no cuTensorMapEncodeTiled; fix: install a driver of CUDA 12 or later");
  const cuuint32_t steps[4] = {1, 1, 1, 1};
  CUresult result = encode(map, CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, rank, const_cast<void *>(base), sizes, strides, box, steps,
                           CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B, CU_TENSOR_MAP_L2_PROMOTION_L2_256B,
                           CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  if (result == CUDA_SUCCESS)
    return 0;
  return mg_fail("cuTensorMapEncodeTiled: error %d for %lld x %lld elements in boxes of %lld x %lld", int(result), (long long)sizes[1],
                 (long long)sizes[0], (long long)box[1], (long long)box[0]);
}

int32_t describeTensor(CUtensorMap *map, const void *base, int rank, const int64_t *sizes, const int64_t *box) {
  cuuint64_t dimensions[3], strides[2];
  for (int i = 0; i < rank; ++i) {
    dimensions[i] = sizes[i];
    if (i + 1 < rank)
      strides[i] = (i ? strides[i - 1] : 2) * sizes[i];
  }
  const cuuint32_t boxes[3] = {cuuint32_t(box[0]), cuuint32_t(box[1]), 1};
  return describe(map, base, rank, dimensions, strides, boxes);
}

int32_t describeHeads(CUtensorMap *map, const void *base, int64_t batch, int64_t sequence, int64_t heads, int64_t dim, int64_t stride,
                      int64_t rows) {
  const cuuint64_t sizes[4] = {cuuint64_t(dim), cuuint64_t(heads), cuuint64_t(sequence), cuuint64_t(batch)};
  const cuuint64_t strides[3] = {cuuint64_t(stride * 2), cuuint64_t(heads * stride * 2), cuuint64_t(sequence * heads * stride * 2)};
  const cuuint32_t box[4] = {64, 1, cuuint32_t(rows), 1};
  return describe(map, base, 4, sizes, strides, box);
}

} // namespace megacc::runtime
