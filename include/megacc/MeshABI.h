/* What connects the ranks of a mesh, in memory of the host, where a step has more than one rank. Plain C.
 *
 * libmegacc_mpi.so, beside the kernels, exports mg_mesh(); ranks that MPI did not start are connected by TCP, which megacc-run has itself.
 * A target with collectives of its own (NCCL on cards) makes its communicators through these.
 * Ranks stand dp first, then ep, then tp: rank = (dp * size of ep + ep) * size of tp + tp.
 */
#ifndef MEGACC_MESHABI_H
#define MEGACC_MESHABI_H

#include "megacc/StepABI.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Some ranks in an order, what MgAxis::communicator points to. Calls return 0, or non-zero after recording a message (MgMesh::last_error);
 * all of its ranks make them in the same order. */
typedef struct MgCommunicator {
  /* Gives `bytes` to each of the ranks, in their order, and takes as many of each. */
  int32_t (*exchange)(struct MgCommunicator *self, const void *give, void *take, int64_t bytes);
  /* Takes the `bytes` that every rank gives, in their order. */
  int32_t (*gather)(struct MgCommunicator *self, const void *give, void *take, int64_t bytes);
  int64_t rank, size;
  void *handle; /* the library's own */
  /* Non-zero where one of the ranks has ended, as far as the library can see; waits for nothing. */
  int32_t (*check)(struct MgCommunicator *self);
  /* The last message of these calls. */
  const char *(*last_error)(void);
} MgCommunicator;

typedef struct MgMesh {
  int32_t abi; /* MEGACC_ABI_VERSION the library was built with */
  /* Joins the ranks that the launcher started and gives the communicator of all. */
  int32_t (*join)(MgCommunicator **world);
  /* Fills the axes of this rank; the product of `sizes` is the size of the world. */
  int32_t (*split)(const int64_t *sizes, MgAxis *axes);
  /* Waits for all ranks and parts from them. */
  void (*leave)(void);
  const char *(*last_error)(void);
} MgMesh;

/* Exported by every library that connects ranks. */
const MgMesh *mg_mesh(void);

#ifdef __cplusplus
}
#endif
#endif
