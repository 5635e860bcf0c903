/* The contract between a compiled step (step.so), the kernel libraries and the runtime. Plain C, versioned.
 *
 * step.so exports
 *   const char megacc_descriptor[]                    NUL-terminated JSON, see docs/descriptor.md
 *   const unsigned char megacc_constants[]            the first contents of MG_CONSTANTS, as many bytes as that segment has
 *   int32_t megacc_NAME(struct MgContext *)           one for each function that the descriptor lists:
 *     micro_batch                                     forward, loss and backward of micro-batch context->micro_batch
 *     update                                          gradient norm, clip, optimizer
 *     intervene.K                                     what some steps do after their update; one for each that is declared
 *     evaluate                                        forward only: loss sum and valid count per row, logits at one position per row
 * and imports the kernels (mg_*) of libmegacc_cpu.so or libmegacc_cuda.so, nothing else. The file ends, after the ELF image,
 * in the 16 bytes of the XXH3-128 hash (canonical form) of everything before it and the 8 bytes of MEGACC_TRAILER.
 *
 * A kernel library exports mg_target() beside its kernels; everything the runtime does with memory goes through that table.
 * Generated code mirrors the layout of MgLaunch and MgContext: passes/rt/ToLLVM.cpp pins both with static_asserts.
 */
#ifndef MEGACC_STEPABI_H
#define MEGACC_STEPABI_H

#include <stdint.h>

#define MEGACC_ABI_VERSION 4
#define MEGACC_TRAILER "MEGACC01"

#ifdef __cplusplus
extern "C" {
#endif

/* The segments of the arena, in the order of the descriptor's "segments". State segments (weights, optimizer, gradients) start as zeros. */
enum MgSegment {
  MG_WEIGHTS = 0,     /* parameters */
  MG_OPTIMIZER = 1,   /* masters, first moments, second moments, each in the order of the weights */
  MG_GRADIENTS = 2,   /* fp32 gradients, in the order of the weights */
  MG_TEMPORARIES = 3, /* activations, their gradients and workspaces; shared by all functions */
  MG_IO = 4,          /* inputs, then metrics, then outputs: one copy each way a step */
  MG_CONSTANTS = 5,   /* tables that kernels need, from step.so */
  MG_SEGMENT_COUNT = 6
};

/* Element types of operands. MG_RAW: bytes without a type (scratch); MG_ABSENT: an optional operand that is not there. */
enum MgType { MG_F32 = 0, MG_BF16 = 1, MG_I32 = 2, MG_F64 = 3, MG_I64 = 4, MG_RAW = 5, MG_ABSENT = 6 };

/* Axes of the mesh. */
enum MgAxisName { MG_DP = 0, MG_TP = 1, MG_EP = 2, MG_AXIS_COUNT = 3 };

/* A rank's place on one axis; size 1 and no communicator without that axis. */
typedef struct MgAxis {
  int64_t rank;
  int64_t size;
  void *communicator;
} MgAxis;

/* Streams of a target: work of different streams is ordered by events alone. */
enum MgStreamName { MG_COMPUTE = 0, MG_COMMUNICATE = 1, MG_STREAM_COUNT = 2 };

struct MgContext;

/* One kernel call. Operands are in the order of kernels.def. */
typedef struct MgLaunch {
  void *const *operands; /* NULL where an optional one is absent */
  const int64_t *bytes;  /* of every operand; 0 where absent */
  const uint8_t *types;  /* enum MgType of every operand */
  int64_t operand_count;
  const int64_t *ints; /* the integer parameters, in the order of kernels.def */
  int64_t int_count;
  const double *doubles; /* the floating point parameters, likewise */
  int64_t double_count;
  int64_t micro_batch; /* m of this call: see `accumulate` in kernels.def */
  int64_t call_index;  /* position of the call in its function, from 0 */
  int64_t stream;      /* index into context->streams */
  struct MgContext *context;
} MgLaunch;

/* Returns 0, or a non-zero status after recording a message that MgTarget::last_error returns. */
typedef int32_t (*MgKernel)(const MgLaunch *launch);

/* Filled by the runtime and by MgTarget::open, read by generated code and kernels. Generated code calls context->launch(context, kernel,
 * &launch) for every kernel and returns the first non-zero status. */
typedef struct MgContext {
  void *segments[MG_SEGMENT_COUNT];
  int64_t micro_batch;
  int32_t (*launch)(struct MgContext *context, MgKernel kernel, const MgLaunch *launch);
  int32_t (*record)(struct MgContext *context, int64_t event, int64_t stream); /* notes all work of `stream` so far */
  int32_t (*wait)(struct MgContext *context, int64_t event, int64_t stream);   /* `stream` goes on after that work */
  MgAxis axes[MG_AXIS_COUNT];
  void *streams[MG_STREAM_COUNT]; /* CUDA streams; NULL on a CPU */
  void *library;                  /* the kernel library's own: handles of cuBLASLt and cuDNN, events */
  void *user;                     /* the runtime's own */
} MgContext;

/* A function of step.so. */
typedef int32_t (*MgStepFunction)(MgContext *context);

/* A kernel as its library knows it; `signature` is "operands | integers | doubles" of kernels.def. */
typedef struct MgKernelEntry {
  const char *name;
  const char *signature;
  MgKernel function;
} MgKernelEntry;

/* Everything the runtime asks of a target. Pointers into the arena are opaque to the runtime: it never reads or writes through them. Calls
 * that return int32_t return 0, or non-zero after recording a message. write, read, copy and fill are ordered after all work given before
 * and are done when they return. */
typedef struct MgTarget {
  int32_t abi; /* MEGACC_ABI_VERSION the library was built with */
  const char *name;
  const MgKernelEntry *kernels;
  int64_t kernel_count;
  /* Reserves the segments at 256-byte starts, state and constants as zeros; sizes are multiples of 256. */
  int32_t (*reserve)(const int64_t *sizes, void **segments);
  void (*release)(void **segments);
  /* Bytes in use on the device of the segments, whoever took them. NULL where that is the host's memory. */
  int32_t (*bytes_in_use)(int64_t *bytes);
  /* Fills streams, record, wait and library of a context whose segments are set; close undoes it. */
  int32_t (*open)(MgContext *context);
  void (*close)(MgContext *context);
  int32_t (*write)(MgContext *context, void *to, const void *host, int64_t bytes);
  int32_t (*read)(MgContext *context, void *host, const void *from, int64_t bytes);
  int32_t (*copy)(MgContext *context, void *to, const void *from, int64_t bytes);
  int32_t (*fill)(MgContext *context, void *to, int32_t byte, int64_t bytes);
  /* Waits for all work, and reports what went wrong in it. */
  int32_t (*synchronize)(MgContext *context);
  /* Between begin_capture and end_capture calls are noted instead of run; replay runs them. A target that cannot capture has NULL in all
   * four. */
  int32_t (*begin_capture)(MgContext *context);
  int32_t (*end_capture)(MgContext *context, void **captured);
  int32_t (*replay)(MgContext *context, void *captured);
  void (*discard)(void *captured);
  /* Notes a moment in the work of a stream. elapsed waits for both moments and gives the seconds between them; unmark frees one. */
  int32_t (*mark)(MgContext *context, int64_t stream, void **mark);
  int32_t (*elapsed)(void *begin, void *end, double *seconds);
  void (*unmark)(void *mark);
  /* Names the work that is given from now on, for the tools of the target (NVTX on a card); NULL ends the last name. NULL where there are
   * no such tools. */
  void (*annotate)(const char *name);
  /* Kernels that can do the same in several ways. calibrate: from now on all ways are tried at the first launch of a shape, on its own
   * operands, and the fastest is kept; for runs whose numbers nobody needs. choices: what was chosen so far, lines of text of which the
   * first names the machine. set_choices: takes such a text before the first launch. All three NULL where there is nothing to choose. */
  void (*calibrate)(void);
  const char *(*choices)(void);
  int32_t (*set_choices)(const char *text);
  /* What besides shapes decides the bits of a result, for example "oneDNN 2.6.3 avx2", and which choices were set; never NULL. */
  const char *(*variant)(void);
  /* The last message recorded on this thread, or "". */
  const char *(*last_error)(void);
  /* Host threads that kernels may use, at least 1. Results do not depend on it. */
  int32_t (*set_threads)(int32_t count);
} MgTarget;

/* Exported by every kernel library. */
const MgTarget *mg_target(void);

#ifdef __cplusplus
}
#endif
#endif
