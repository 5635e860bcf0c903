// Descriptors of bf16 tensors for the bulk copy engine.
#pragma once
#include <cstdint>
#include <cuda.h>

namespace megacc::runtime {

/// Describes a dense row-major bf16 tensor of `rank` (2 or 3) dimensions, innermost first in `sizes`, of which boxes of box[0] x box[1] (x
/// 1) elements are copied, rows of 128 bytes swizzled (so box[0] is 64). Elements outside the tensor are read as zeros. Needs a 16-byte
/// aligned base and rows of a multiple of 16 bytes. Returns 0, or records an error.
int32_t describeTensor(CUtensorMap *map, const void *base, int rank, const int64_t *sizes, const int64_t *box);

/// Describes a bf16 tensor [batch, sequence, heads, dim] whose heads are `stride` elements apart (dense: dim), of which boxes of `rows`
/// positions x 64 columns of one head are copied, else as above; coordinates are column, head, position, batch. dim and stride are
/// multiples of 8.
int32_t describeHeads(CUtensorMap *map, const void *base, int64_t batch, int64_t sequence, int64_t heads, int64_t dim, int64_t stride,
                      int64_t rows);

} // namespace megacc::runtime
