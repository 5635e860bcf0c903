/* The contract between a compiled step (step.so), the kernel libraries and the runtime. Plain C, versioned.
 *
 * step.so exports
 *   const char megacc_descriptor[]                    NUL-terminated JSON, see docs/descriptor.md
 *   int32_t megacc_micro_batch(struct MgContext *)    forward, loss and backward of micro-batch context->micro_batch
 *   int32_t megacc_update(struct MgContext *)         gradient norm, clip, optimizer
 *   int32_t megacc_evaluate(struct MgContext *)       forward only: loss sum and valid count a row, logits at one position a row
 * and imports the kernels (mg_*) of libmegacc_cpu.so or libmegacc_cuda.so, nothing else. The file ends, after the ELF image,
 * in the 16 bytes of the XXH3-128 hash (canonical form) of everything before it and the 8 bytes of MEGACC_TRAILER.
 */
#ifndef MEGACC_STEPABI_H
#define MEGACC_STEPABI_H

#include <stdint.h>

#define MEGACC_ABI_VERSION 1
#define MEGACC_TRAILER "MEGACC01"

#ifdef __cplusplus
extern "C" {
#endif

/* The segments of the arena, in the order of the descriptor's "segments". */
enum MgSegment {
  MG_WEIGHTS = 0,     /* parameters */
  MG_OPTIMIZER = 1,   /* first moments, then second moments, each in the order of the weights */
  MG_GRADIENTS = 2,   /* fp32 gradients, in the order of the weights */
  MG_TEMPORARIES = 3, /* activations, their gradients and workspaces; shared by the three functions */
  MG_IO = 4,          /* inputs, scalars, metrics, outputs */
  MG_SEGMENT_COUNT = 5
};

struct MgContext;

/* One kernel call. Operands are in the order of kernels.def: outputs first, then inputs, then the workspace.
 * An optional operand that is absent is NULL. */
typedef struct MgLaunch {
  void *const *operands;
  int64_t operand_count;
  const int64_t *ints;   /* the integer parameters, in the order of kernels.def */
  int64_t int_count;
  const double *doubles; /* the floating point parameters, likewise */
  int64_t double_count;
  int64_t micro_batch;   /* m of this call; a kernel with `accumulate` = 1 overwrites at m = 0 and adds later */
  int64_t call_index;    /* position of the call in its function, from 0 */
  void *stream;          /* CUDA stream; NULL on a CPU */
} MgLaunch;

/* Returns 0, or a non-zero status after recording a message with mg_fail (runtime/core/Status.h). */
typedef int32_t (*MgKernel)(const MgLaunch *launch);

/* Filled by the runtime, read by generated code: it calls context->launch(context, kernel, &launch) for every kernel and
 * returns the first non-zero status. */
typedef struct MgContext {
  void *segments[MG_SEGMENT_COUNT];
  int64_t micro_batch;
  void *stream;
  int32_t (*launch)(struct MgContext *context, MgKernel kernel, const MgLaunch *launch);
  void *user; /* the runtime's own */
} MgContext;

typedef int32_t (*MgStepFunction)(MgContext *context);

#ifdef __cplusplus
}
#endif
#endif
